"""`kinesis-fast send` that stops before the end: signals, outages, refusals."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import as_arguments, lines, log_records, rows, run_command, start_command
from local_stream import LocalStream
from raw_server import Arrived, RawServer, http
from slow_service import SlowService

from kinesis_fast.cli.sources import BLOCK_BYTES

TIMEOUT_S = 60
PATIENCE_S = 60.0
NO_RETRY = {"experimental_concurrency_retries": "0"}
REFUSAL = b'{"__type":"ValidationException","message":"no"}'


def test_it_stops_when_nothing_arrives(stream: LocalStream) -> None:
    options = {**stream.target, "stream": "no-such-stream"}
    content = lines(1000, "x" * 5000)
    arguments = ["send", "-", "--format", "lines", "--patience", "1"]
    done = run_command(*arguments, stdin=content, options=options)
    assert done.returncode == 1
    assert "no-such-stream" in done.stderr
    assert done.stderr.endswith(
        "kinesis-fast: no record was delivered for 1 s, so sending stops; to outlast an outage, "
        "add -p spool_dir=/absolute/path or --patience SECONDS\n"
    )
    found = rows(done.stdout)
    assert found["delivered"] == 0
    assert found["unknown"] > 0
    assert found["not sent"] > 0
    assert found["in"] == found["unknown"] + found["not sent"]
    assert "the input was not read from byte" in done.stdout


@pytest.mark.parametrize("retries", [{}, NO_RETRY])
def test_a_service_that_refuses_everything_ends_it(retries: dict[str, str]) -> None:
    def refuse(_: Arrived) -> bytes:
        time.sleep(0.01)  # so that the patience ends before the input does
        return http(400, REFUSAL)

    with RawServer(refuse) as server:
        options = {"region": "us-east-1", "stream": "any", "endpoint": server.url, **retries}
        arguments = ["send", "-", "--format", "lines", "--patience", "1"]
        done = run_command(*arguments, stdin=lines(50_000, "x" * 1000), options=options)
    assert done.returncode == 1
    found = rows(done.stdout)
    assert found["delivered"] == 0
    assert found["in"] == sum(found.get(name, 0) for name in ("unknown", "dead", "not sent"))
    assert ("dead" in found) == bool(retries)
    assert "ValidationException" in done.stderr
    assert "no record was delivered for 1 s, so sending stops" in done.stderr
    assert "the input was not read from byte" in done.stdout


def test_with_a_spool_an_outage_loses_nothing(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    with RawServer(lambda _: http(500, b"")) as server:
        target = {"region": "us-east-1", "stream": "slow", "endpoint": server.url}
        arguments = ["send", "-", "--format", "lines", "--patience", "1"]
        options = {**target, "spool_dir": str(root)}
        done = run_command(*arguments, stdin=lines(300), options=options)
    assert done.returncode == 1
    assert rows(done.stdout) == {"in": 300, "delivered": 0, "spooled": 300}
    assert f"kept in {root}; the next start sends them" in done.stdout
    assert done.stderr.endswith(
        "kinesis-fast: no record was delivered for 1 s, so sending stops; the next start, or "
        "`kinesis-fast spool replay`, sends what is in the spool\n"
    )
    with SlowService() as service:
        service.release()
        place = ["--spool", str(root), "--other-options"]
        assert run_command("spool", "replay", *place, options=service.target).returncode == 0
    assert sorted(service.accepted) == log_records([f"line {number}" for number in range(300)])


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read the standard error of a process up to a line that contains some text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"the process ended without a line about {text!r}")


def test_ctrl_c_finishes_what_is_in_flight_and_tells_what_was_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "long.log"
    file.write_bytes(lines(1500, "x" * 2000))
    with (
        SlowService() as service,
        start_command(
            "send", str(file), "--format", "lines", *as_arguments(service.target)
        ) as process,
    ):
        assert service.arrived.wait(PATIENCE_S)
        time.sleep(0.5)  # so that a second chunk is in hand as well
        process.send_signal(signal.SIGINT)
        wait_for_line(process, "interrupted: finishing the records in flight")
        service.release()
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert err == ""
    assert process.returncode == 130
    found = rows(out)
    assert found["delivered"] > 0
    assert found["in"] == found["delivered"] + found.get("not sent", 0) < 1500
    read = len(b"".join(file.read_bytes().splitlines(keepends=True)[: found["in"]]))
    assert f"the input was not read from byte {read:,} on" in out


def test_ctrl_c_at_the_last_chunk_forgets_no_record(tmp_path: Path) -> None:
    file = tmp_path / "long.log"
    content = lines(20_000, "x" * 100)[: 8 * BLOCK_BYTES]  # two chunks and an unfinished line
    file.write_bytes(content)
    arguments = ["send", str(file), "--format", "lines"]
    with (
        SlowService() as service,
        start_command(*arguments, *as_arguments(service.target)) as process,
    ):
        assert service.arrived.wait(PATIENCE_S)
        time.sleep(0.5)  # so that the second chunk is in hand as well
        process.send_signal(signal.SIGINT)
        wait_for_line(process, "interrupted: finishing the records in flight")
        service.release()
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    found = rows(out)
    assert found["in"] == content.count(b"\n") + 1
    assert found["in"] == found["delivered"] + found["not sent"]
    assert "was not read" not in out


def test_a_second_ctrl_c_stops_at_once() -> None:
    with SlowService() as service:
        process = start_command("send", "--format", "lines", *as_arguments(service.target))
        with process:
            assert process.stdin is not None
            process.stdin.write("one\ntwo\n")
            process.stdin.close()
            assert service.arrived.wait(PATIENCE_S)
            process.send_signal(signal.SIGINT)
            wait_for_line(process, "interrupted: finishing the records in flight")
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            out = process.stdout.read()
        assert process.wait(TIMEOUT_S) == 130
    assert rows(out) == {"in": 2, "delivered": 0, "unknown": 2}


def test_a_request_to_terminate_is_treated_alike(stream: LocalStream) -> None:
    with start_command("send", "--format", "lines", *as_arguments(stream.target)) as process:
        assert process.stdin is not None
        process.stdin.write("one\n")
        process.stdin.flush()
        deadline = time.monotonic() + PATIENCE_S
        while not stream.read():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 143
    assert rows(out) == {"in": 1, "delivered": 1}
