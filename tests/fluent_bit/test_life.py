"""Starts, ends, reloads and outages of a real Fluent Bit: every record is accounted for."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fluent_bit_process import (
    FluentBit,
    Section,
    classic,
    kinesis,
    needs_fluent_bit,
    tail,
    yaml,
)
from local_stream import LocalStream
from loopback_gate import Gate
from numbered_lines import each_once, numbers_in, write_lines

pytestmark = needs_fluent_bit

SERVICE = {"flush": 0.2, "grace": 5, "scheduler.base": 1, "scheduler.cap": 2}
OUTAGE_S = 2.0


def file_input(work: Path, **more: object) -> dict[str, object]:
    """Return a tail input that stores its position."""
    return tail(work / "log", db=work / "positions.db", **more)


def write_config(
    work: Path, target: Section, write: Callable[..., Path] = classic, **options: object
) -> Path:
    """Write the configuration of these tests."""
    output = kinesis({str(k): str(v) for k, v in target.items()}, **options)
    return write(SERVICE, [file_input(work)], [output], work)


@pytest.mark.parametrize("workers", [0, 4])
def test_a_restart_goes_on_where_it_ended(
    workers: int, stream: LocalStream, tmp_path: Path
) -> None:
    config = write_config(tmp_path, stream.target, workers=workers)
    for numbers in (range(1000), range(1000, 1500)):
        write_lines(tmp_path / "log", numbers)
        with FluentBit(config, tmp_path) as fluent_bit:
            fluent_bit.wait_for_records(stream, numbers.stop)
            assert fluent_bit.stop() == 0
        (account,) = fluent_bit.accounts()
        assert account["delivered"] == len(numbers)
    assert numbers_in(stream) == each_once(range(1500))


# Hot reloads are tried without workers: Fluent Bit 5.1.1 starts those of every external output
# twice, and the ones of the first time outlive the reload and crash the process in its own code.
@pytest.mark.parametrize("concurrency", [0, 2])
@pytest.mark.parametrize("write", [classic, yaml])
def test_hot_reloads_take_new_options(
    write: Callable[..., Path], concurrency: int, stream: LocalStream, tmp_path: Path
) -> None:
    steps = [range(n, n + 200) for n in range(0, 800, 200)]
    options: dict[str, object] = {"experimental_concurrency": concurrency, "time_key": "at0"}
    config = write_config(tmp_path, stream.target, write, **options)
    with FluentBit(config, tmp_path, "-Y") as fluent_bit:
        for step, numbers in enumerate(steps):
            if step:
                options["time_key"] = f"at{step}"
                write_config(tmp_path, stream.target, write, **options)
                fluent_bit.signal(signal.SIGHUP)
                fluent_bit.wait_for_accounts(step)
                fluent_bit.wait_for_log(f"time_key=at{step}")
            write_lines(tmp_path / "log", numbers)
            fluent_bit.wait_for_records(stream, numbers.stop)
        assert fluent_bit.stop() == 0
    assert numbers_in(stream) == each_once(range(800))
    keys = Counter(list(json.loads(record.data))[-1] for record in stream.read())
    assert keys == {f"at{step}": 200 for step in range(len(steps))}
    assert [account["delivered"] for account in fluent_bit.accounts()] == [200] * len(steps)


@pytest.mark.parametrize("concurrency", [0, 2])
def test_a_reload_under_load_loses_nothing(
    concurrency: int, stream: LocalStream, tmp_path: Path
) -> None:
    steps = [range(n, n + 4000) for n in range(0, 12_000, 4000)]
    config = write_config(tmp_path, stream.target, experimental_concurrency=concurrency)
    with FluentBit(config, tmp_path, "-Y") as fluent_bit:
        for step, numbers in enumerate(steps):
            write_lines(tmp_path / "log", numbers)
            fluent_bit.wait_for_records(stream, numbers.start + 1)
            fluent_bit.signal(signal.SIGHUP)
            fluent_bit.wait_for_accounts(step + 1)
        fluent_bit.wait_for_records(stream, steps[-1].stop)
        assert fluent_bit.stop() == 0
    assert set(numbers_in(stream)) == set(range(steps[-1].stop))
    assert fluent_bit.log().count("successful reload done") == len(steps)


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("concurrency", [0, 2])
def test_terminated_during_load(
    workers: int, concurrency: int, stream: LocalStream, tmp_path: Path
) -> None:
    """Records that were not delivered are on disk, and the next start sends them."""
    service = {**SERVICE, "storage.path": tmp_path / "storage", "flush": 0.1}
    inputs = [file_input(tmp_path, **{"storage.type": "filesystem"})]
    outputs = [
        kinesis(
            stream.target,
            workers=workers,
            experimental_concurrency=concurrency,
            retry_limit="no_limits",
        )
    ]
    config = classic(service, inputs, outputs, tmp_path)
    write_lines(tmp_path / "log", numbers := range(10_000))
    with FluentBit(config, tmp_path) as fluent_bit:
        fluent_bit.wait_for_records(stream, 1)
        assert fluent_bit.stop() == 0
    (account,) = fluent_bit.accounts()
    shares = ("delivered", "skipped", "dead", "pending", "returned")
    assert account["in"] == sum(account[share] for share in shares)
    assert account["pending"] == account["dead"] == 0
    with FluentBit(config, tmp_path) as fluent_bit:
        fluent_bit.wait_for_records(stream, len(numbers))
        fluent_bit.wait_until(lambda: len(numbers_in(stream)) >= len(numbers), "all")
        assert fluent_bit.stop() == 0
    assert set(numbers_in(stream)) == set(numbers)


@pytest.mark.parametrize("workers", [0, 4])
def test_an_endpoint_that_is_down_and_comes_back(
    workers: int, stream: LocalStream, tmp_path: Path
) -> None:
    port = urlsplit(stream.local.endpoint).port
    assert port is not None
    with Gate(port) as gate:
        target = {**stream.target, "endpoint": gate.url}
        config = write_config(tmp_path, target, workers=workers, retry_limit="no_limits")
        write_lines(tmp_path / "log", range(500))
        with FluentBit(config, tmp_path) as fluent_bit:
            fluent_bit.wait_for_log("failed to flush chunk")
            gate.open()
            fluent_bit.wait_for_records(stream, 500)
            gate.shut()
            write_lines(tmp_path / "log", range(500, 1000))
            time.sleep(OUTAGE_S)
            gate.open()
            fluent_bit.wait_until(lambda: len(numbers_in(stream)) >= 1000, "the rest")
            assert fluent_bit.stop() == 0
    assert set(numbers_in(stream)) == set(range(1000))
    (account,) = fluent_bit.accounts()
    assert account["returned"] > 0
    assert account["delivered"] >= 1000
    assert account["pending"] == account["dead"] == 0


@pytest.mark.parametrize("workers", [0, 4])
def test_what_was_left_at_the_end_is_sent_by_the_next_start(
    workers: int, stream: LocalStream, tmp_path: Path
) -> None:
    port = urlsplit(stream.local.endpoint).port
    assert port is not None
    service = {**SERVICE, "grace": 1, "storage.path": tmp_path / "storage"}
    inputs = [file_input(tmp_path, **{"storage.type": "filesystem"})]
    with Gate(port) as gate:
        target = {**stream.target, "endpoint": gate.url}
        outputs = [kinesis(target, workers=workers, retry_limit="no_limits")]
        config = classic(service, inputs, outputs, tmp_path)
        write_lines(tmp_path / "log", range(1000))
        with FluentBit(config, tmp_path) as fluent_bit:
            fluent_bit.wait_for_log("failed to flush chunk")
            assert fluent_bit.stop() == 0
        assert stream.read() == []
        gate.open()
        write_lines(tmp_path / "log", range(1000, 1200))
        with FluentBit(config, tmp_path) as fluent_bit:
            fluent_bit.wait_for_records(stream, 1200)
            assert fluent_bit.stop() == 0
    assert numbers_in(stream) == each_once(range(1200))


def test_an_endpoint_that_stays_down_does_not_hold_up_the_end(
    stream: LocalStream, tmp_path: Path
) -> None:
    port = urlsplit(stream.local.endpoint).port
    assert port is not None
    with Gate(port) as gate:
        target = {**stream.target, "endpoint": gate.url}
        config = write_config(tmp_path, target, workers=1, retry_limit="no_limits")
        write_lines(tmp_path / "log", range(500))
        with FluentBit(config, tmp_path) as fluent_bit:
            fluent_bit.wait_for_log("failed to flush chunk")
            start = time.monotonic()
            assert fluent_bit.stop() == 0
    assert time.monotonic() - start < SERVICE["grace"] + 10
    (account,) = fluent_bit.accounts()
    assert (account["delivered"], account["returned"]) == (0, account["in"])
