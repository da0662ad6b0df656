"""What the metrics say agrees with the output, whatever happens to it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore
import pytest
from chunks import event, output_config, pack
from fake_transport import (
    THROTTLED,
    FakeTime,
    FakeTransport,
    Reply,
    Step,
    accept,
    error,
    fail,
    fail_all,
    raise_it,
    raw,
    refuse_if,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import new_output, numbered
from scraping import Samples, samples_of_outputs, shown, value, values
from spooled_outputs import spooling

from kinesis_fast import FlushResult, KinesisOutput, NotSentError, logs
from kinesis_fast.limits import RESUME_MAX_BYTES
from kinesis_fast.metrics.families import COUNTED, OUTCOMES
from kinesis_fast.metrics.services import Listening
from kinesis_fast.stats import COUNTERS, REMARKS, SKIP_REASONS
from kinesis_fast.transport.credentials import expiry_of
from kinesis_fast.version import VERSION

LISTEN = {"metrics_listen": "1"}  # nothing may listen there
ALONE = {counted.counter: f"{counted.name}_total" for counted in COUNTED}

STEPS = st.sampled_from(
    [
        *(accept, fail(0), fail_all(), fail_all("InternalFailure"), raw(b"hello")),
        *(error(400, THROTTLED), error(503, "x"), error(403, "AccessDeniedException")),
        *(refuse_if(lambda data: b"3" in data), raise_it(ValueError("no"))),
    ]
)
EVENTS = st.sampled_from(
    [
        *(event({"n": 1}), event({"n": 3}), event("no map"), event({"x": float("nan")})),
        *(event({"n": 2}, moment="?"), event({"log": "x"}), pack(7)),
    ]
)
CHUNKS = st.lists(EVENTS, max_size=12).map(b"".join)
OPTIONS = st.sampled_from(
    [{}, {"aggregation": "true"}, {"experimental_concurrency": "2"}, {"log_key": "n"}]
)


@pytest.fixture(autouse=True)
def no_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let outputs measure, and listen nowhere."""
    monkeypatch.setattr(Listening, "begin", lambda _: None)


def stats_in(samples: Samples) -> dict[str, float]:
    """Return the counters of stats() as the metrics tell them."""
    found: dict[str, float] = {c: value(samples, name) for c, name in ALONE.items()}
    found |= values(samples, "records_total", "outcome")
    found |= values(samples, "remarks_total", "remark")
    reasons = values(samples, "skipped_records_total", "reason")
    found |= {f"skipped_{reason}": n for reason, n in reasons.items()}
    return {**found, "pending": value(samples, "records_pending")}


def test_each_counter_is_in_one_metric() -> None:
    names = [*ALONE, *OUTCOMES, *SKIP_REASONS, *REMARKS, "pending"]
    assert sorted(names) == sorted(COUNTERS)


@given(st.lists(STEPS, max_size=8), st.lists(CHUNKS, min_size=1, max_size=4), OPTIONS)
@settings(deadline=None)
def test_metrics_are_the_counters(
    steps: list[Step], chunks: list[bytes], options: dict[str, str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Listening, "begin", lambda _: None)
        output = new_output(FakeTransport(*steps), **LISTEN, **options)
        one = shown(output)
        for chunk in chunks:
            output.flush(chunk)
        output.close()
    assert stats_in(samples_of_outputs(one)) == output.stats()


def test_a_counter_never_falls() -> None:
    """A request that turns out not to have gone out is taken back."""
    requests = []

    def look_and_fail(_: list[bytes]) -> Reply:
        requests.append(one.stats()["requests"])
        return Reply(NotSentError("no credentials"))

    with new_output(FakeTransport(then=look_and_fail), **LISTEN) as output:
        one = shown(output)
        assert output.flush(numbered([1, 2])) is FlushResult.RETRY
        samples = samples_of_outputs(output)
        assert (requests, output.stats()["requests"]) == ([1], 0)
    assert value(samples, "requests_total") == 1
    assert value(samples, "records_pending") == 0


def test_window_and_pace() -> None:
    transport = FakeTransport(accept, *[fail_all()] * 3, error(403, "AccessDeniedException"))
    with new_output(transport, FakeTime(), **LISTEN, max_in_flight="4") as output:
        assert output.flush(numbered([1])) is FlushResult.OK
        before = samples_of_outputs(output)
        assert output.flush(numbered([1])) is FlushResult.RETRY
        after = samples_of_outputs(output)
    assert (value(before, "requests_window"), value(after, "requests_window")) == (4, 0.5)
    assert value(after, "requests_window_limit") == 4
    assert (value(before, "pace_seconds"), value(after, "pace_seconds")) == (0, 0.1)
    assert value(after, "throttles_total") == 3


def test_resume_memory() -> None:
    transport = FakeTransport(fail(0), *[fail_all()] * 3)
    with new_output(transport, **LISTEN) as output:
        assert output.flush(numbered([1, 2]), tag="app") is FlushResult.RETRY
        full = samples_of_outputs(output)
        assert output.flush(numbered([1, 2]), tag="app") is FlushResult.OK
        empty = samples_of_outputs(output)
    assert value(full, "resume_memory_chunks") == 1
    assert 256 <= value(full, "resume_memory_bytes") < 300
    assert value(full, "resume_memory_limit_bytes") == RESUME_MAX_BYTES
    assert value(empty, "resume_memory_chunks") == value(empty, "resume_memory_bytes") == 0


def test_a_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [1_700_000_000.5]
    clock = _Clock(seconds)
    monkeypatch.setattr("kinesis_fast.storage.spool.store.time", clock)
    transport = FakeTransport(then=error(403, "AccessDeniedException"))
    output = spooling(transport, tmp_path, FakeTime(is_manual=True), **LISTEN)
    assert value(samples_of_outputs(output), "spool_oldest_chunk_age_seconds") == 0
    for wait_s in (0, 10, 20):
        seconds[0] += wait_s
        assert output.flush(numbered([wait_s])) is FlushResult.OK
    one = shown(output)
    samples = samples_of_outputs(output)
    output.close(0)
    files = list(tmp_path.glob("spool/*/*.chunk"))
    assert value(samples, "spool_chunks") == len(files) == 3
    assert value(samples, "spool_bytes") >= sum(file.stat().st_size for file in files)
    assert value(samples, "spool_limit_bytes") == 1_000_000_000
    assert value(samples, "spool_oldest_chunk_age_seconds") == 30.5
    assert value(samples, "output_info", mode="spooled") == 1
    assert value(samples_of_outputs(one), "spool_chunks") == 3

    transport = FakeTransport()
    with spooling(transport, tmp_path, **LISTEN) as output:
        one = shown(output)
        assert output.flush(numbered([4])) is FlushResult.OK
    samples = samples_of_outputs(one)
    assert len(transport.kept) == 4
    assert value(samples, "spool_chunks") == value(samples, "spool_oldest_chunk_age_seconds") == 0
    assert value(samples, "spool_bytes") == 0


class _Clock:
    """Stands for the module time."""

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds

    def time(self) -> float:
        return self._seconds[0]

    def time_ns(self) -> int:
        return int(self._seconds[0] * 1_000_000_000)


def test_dead_letters(tmp_path: Path) -> None:
    transport = FakeTransport(then=refuse_if(lambda data: data == b'{"n":2}'))
    with new_output(transport, **LISTEN, dead_letter_dir=str(tmp_path / "dead")) as output:
        assert output.flush(numbered([1, 2, 3])) is FlushResult.OK
        written = samples_of_outputs(output)
        (tmp_path / "dead" / "dead-letters.jsonl").unlink()
        (tmp_path / "dead").rmdir()
        (tmp_path / "dead").write_text("no directory")
        assert output.flush(numbered([4, 2])) is FlushResult.OK
        lost = samples_of_outputs(output)
    assert value(written, "dead_letters_total") == value(lost, "dead_letters_total") == 1
    assert value(written, "dead_letters_lost_total") == 0
    assert value(lost, "dead_letters_lost_total") == 1
    assert value(lost, "records_total", outcome="dead") == 2


def test_what_an_output_does_not_have_is_left_out() -> None:
    with new_output(FakeTransport(), **LISTEN) as output:
        names = {name for name, _ in samples_of_outputs(output)}
    assert not {name for name in names if name.startswith(("spool_", "dead_", "credentials_"))}


class _Renewed:
    def __init__(self, expiry: Any) -> None:
        self._expiry_time = expiry


@pytest.mark.parametrize(
    ("credentials", "seconds"),
    [
        (_Renewed(datetime(2026, 1, 1, tzinfo=UTC)), 1767225600.0),
        (_Renewed(None), None),  # not looked up yet
        (object(), None),  # they never expire
        (None, None),
    ],
)
def test_when_credentials_expire(credentials: object, seconds: float | None) -> None:
    assert expiry_of(credentials) == seconds
    transport: Any = FakeTransport()
    transport.credentials_expire_at = expiry_of(credentials)
    with new_output(transport, **LISTEN) as output:
        samples = samples_of_outputs(output)
    name = "credentials_expiry_timestamp_seconds"
    found = [value for (n, _), value in samples.items() if n == name]
    assert found == ([] if seconds is None else [seconds])


def test_about_the_build_and_the_output() -> None:
    with new_output(FakeTransport(), **LISTEN, experimental_concurrency="1") as output:
        samples = samples_of_outputs(output)
    assert value(samples, "build_info", version=VERSION, botocore=botocore.__version__) == 1
    labels = {"region": "us-east-1", "stream": "logs", "mode": "background", "protocol": "json"}
    assert value(samples, "output_info", **labels, output="0") == 1


def test_names_of_streams_are_escaped() -> None:
    stream = 'a "quoted" strëam\\ of {1,000}'
    options = {"stream": stream, "endpoint": "http://localhost:1"}
    with new_output(FakeTransport(), **LISTEN, **options) as output:
        samples = samples_of_outputs(output)
    assert value(samples, "requests_total", stream=stream) == 0


def test_no_secret_is_shown() -> None:
    secrets = ("topsecret", "external-id", "ENVKEY")
    message = f"{secrets[0]} is not valid for ENVKEY"
    options = {
        "endpoint": "http://user:topsecret@localhost:1",
        "role_arn": "arn:aws:iam::123456789012:role/writer",
        "external_id": secrets[1],
    }
    step = error(403, "UnrecognizedClientException", message)
    with new_output(FakeTransport(step), **LISTEN, **options) as output:
        output.flush(numbered([1]))
        text = str(samples_of_outputs(output))
    assert "UnrecognizedClientException" in text
    assert not [secret for secret in secrets if secret in text]


def test_outputs_have_the_numbers_of_their_log_lines() -> None:
    logs_: list[logs.Log] = [
        logs.for_instance(3),
        logs.for_instance(7),
        logging.getLogger("x"),
        logs.LOGGER,
    ]
    outputs = [KinesisOutput(output_config(LISTEN), FakeTransport(), log=log) for log in logs_]
    outputs.append(KinesisOutput(output_config(LISTEN), FakeTransport(), log=logs_[0]))
    samples = samples_of_outputs(*outputs)
    for output in outputs:
        output.close()
    numbers = values(samples, "requests_total", "output")
    assert sorted(numbers) == ["0", "1", "2", "3", "7"]
