"""`kinesis-fast send`, as a user types it."""

import os
import pty
import subprocess
import sys
import time
import tty
from pathlib import Path

import pytest
from chunks import DATA, load_chunk
from command import COMMAND, as_arguments, lines, log_records, rows, run_command, start_command
from local_stream import LocalStream, expected_data
from slow_service import SlowService

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.cli import main
from kinesis_fast.cli.progress import CLEAR_LINE
from kinesis_fast.errors import SendFailureTimeout
from kinesis_fast.local.kinesis import LocalKinesis

CHUNKS = DATA / "chunks"
TIMEOUT_S = 60
PATIENCE_S = 60.0


@pytest.mark.parametrize("concurrency", ["0", "4"])
def test_a_file_of_events(
    stream: LocalStream, concurrency: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {**stream.target, "experimental_concurrency": concurrency}
    file = str(CHUNKS / "k8s_1.msgpack")
    assert main(["send", file, "--format", "msgpack", *as_arguments(options)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert rows(captured.out) == {"in": 1657, "delivered": 1657}
    assert captured.out.endswith("\ndelivered 1657 of 1657\n")
    assert stream.data() == expected_data(load_chunk("k8s_1"))


def test_lines_from_a_pipe(stream: LocalStream) -> None:
    done = run_command("send", "--format", "lines", stdin=lines(2000), options=stream.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done.stdout) == {"in": 2000, "delivered": 2000}
    assert stream.data() == log_records([f"line {number}" for number in range(2000)])


@pytest.mark.slow
def test_a_slow_pipe_does_not_have_to_wait_for_a_full_chunk(stream: LocalStream) -> None:
    with start_command("send", "-", "--format", "lines", *as_arguments(stream.target)) as process:
        assert process.stdin is not None
        for number in range(3):
            process.stdin.write(f"line {number}\n")
            process.stdin.flush()
            deadline = time.monotonic() + PATIENCE_S
            while len(stream.read()) <= number:
                assert time.monotonic() < deadline, "the line does not arrive"
                time.sleep(0.1)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (0, "")
    assert rows(out) == {"in": 3, "delivered": 3}


def test_bad_lines_are_named_counted_and_left_out(stream: LocalStream) -> None:
    content = b'{"n": 1}\n{"n": \n{"n": 2}\n' + b"oops\n" * 20
    done = run_command("send", "-", "--format", "jsonl", stdin=content, options=stream.target)
    assert done.returncode == 1
    assert stream.data() == [b'{"n":1}', b'{"n":2}']
    assert rows(done.stdout) == {"in": 23, "delivered": 2, "bad lines": 21}
    complaints = done.stderr.splitlines()
    assert complaints[0].startswith("kinesis-fast: line 2: not JSON: ")
    assert len(complaints) == 11
    assert complaints[-1] == "kinesis-fast: more bad lines follow; they are counted but not shown"


def test_a_malformed_file_is_sent_up_to_there(stream: LocalStream, tmp_path: Path) -> None:
    good = load_chunk("access_1")
    file = tmp_path / "cut.msgpack"
    file.write_bytes(good + b"\xc1" + good)
    done = run_command("send", str(file), "--format", "msgpack", options=stream.target)
    assert done.returncode == 1
    assert f"malformed from byte {len(good):,} on" in done.stderr
    assert rows(done.stdout) == {"in": 399, "delivered": 398, "skipped": 1}
    assert stream.data() == expected_data(good)


def test_input_that_cannot_be_read_on_is_accounted_for(stream: LocalStream) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    arguments = ["send", "--format", "lines", *as_arguments(stream.target)]
    with start_command(*arguments, stdin=ours) as process:
        os.close(ours)
        os.write(theirs, b"one\ntwo\nunfinished")
        deadline = time.monotonic() + PATIENCE_S
        while len(stream.read()) < 2:  # they are read, the rest as well, and nothing is in flight
            assert time.monotonic() < deadline, "the lines do not arrive"
            time.sleep(0.1)
        os.write(theirs, b" no longer\nthr")
        os.close(theirs)  # reading a terminal whose other end is closed is an error
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert err == "kinesis-fast: cannot read the input from byte 32 on: Input/output error\n"
    assert process.returncode == 1
    assert rows(out) == {"in": 3, "delivered": 3}
    assert "the input was not read from byte 29 on" in out
    assert stream.data() == log_records(["one", "two", "unfinished no longer"])


def test_input_that_cannot_be_read_at_all(stream: LocalStream) -> None:
    done = run_command("send", "--format", "lines", "/proc/self/mem", options=stream.target)
    assert done.returncode == 1
    assert done.stderr == "kinesis-fast: cannot read the input from byte 0 on: Input/output error\n"
    assert rows(done.stdout) == {"in": 0, "delivered": 0}
    assert "the input was not read from byte 0 on" in done.stdout


def test_the_effective_options_are_shown_when_asked_for(
    stream: LocalStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLB_LOG_LEVEL", "info")
    options = {**stream.target, "time_key_format": "%s"}
    done = run_command("send", "--format", "lines", stdin=b"one\n", options=options)
    assert done.returncode == 0
    shown, warning = done.stderr.splitlines()
    assert "[ info]" in shown
    assert "time_key_format=%s " in shown
    assert " experimental_concurrency=1 " in shown
    assert warning.endswith("[ warn] [kinesis:0] time_key_format has no effect without time_key")


def test_debug_goes_before_the_variable(
    stream: LocalStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLB_LOG_LEVEL", "error")
    arguments = ["send", "--format", "lines", "--debug"]
    done = run_command(*arguments, stdin=b"one\n", options=stream.target)
    assert done.returncode == 0
    assert "[ info]" in done.stderr


def test_records_that_the_options_leave_out_are_told_and_no_failure(stream: LocalStream) -> None:
    options = {**stream.target, "log_key": "log"}
    file = str(CHUNKS / "fwd_weird_0.msgpack")
    done = run_command("send", file, "--format", "msgpack", options=options)
    assert done.returncode == 0
    assert rows(done.stdout) == {"in": 52, "delivered": 24, "skipped": 28}
    assert "28 no log key" in done.stdout


def test_a_record_that_the_service_refuses_is_dead_and_the_rest_arrives(
    stream: LocalStream,
) -> None:
    options = {**stream.target, "max_record_size": str(2 * 1024 * 1024)}
    content = lines(500) + b"x" * 1_500_000 + b"\n" + lines(500, "more")
    done = run_command("send", "-", "--format", "lines", stdin=content, options=options)
    assert done.returncode == 1
    assert rows(done.stdout) == {"in": 1001, "delivered": 1000, "dead": 1}
    assert len(stream.read()) == 1000


def test_an_error_of_the_output_is_told_and_all_is_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> FlushResult:
        raise SendFailureTimeout("the time is up")

    monkeypatch.setattr(KinesisOutput, "flush", fail)
    file = tmp_path / "text.log"
    file.write_bytes(lines(3))
    target = as_arguments({"region": "us-east-1", "stream": "any"})
    assert main(["send", str(file), "--format", "lines", *target]) == 1
    captured = capsys.readouterr()
    assert captured.err == "kinesis-fast: the time is up\n"
    assert rows(captured.out) == {"in": 3, "delivered": 0, "not sent": 3}


def test_what_was_changed_in_the_input_is_told(stream: LocalStream) -> None:
    content = b'{"n": 18446744073709551616}\n{"a": "\xff\xfe"}\n'
    done = run_command("send", "--format", "jsonl", stdin=content, options=stream.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert stream.data() == [
        '{"a":"\ufffd\ufffd"}'.encode(),
        b'{"n":18446744073709552000}',
    ]
    assert "\nbytes that are not UTF-8, now U+FFFD: 2\n" in done.stdout
    assert "\nintegers beyond 64 bits, now doubles: 1\n" in done.stdout


def test_what_has_arrived_of_a_chunk_is_not_sent_again() -> None:
    with SlowService(n_throttled=5) as service:
        service.release()
        done = run_command("send", "--format", "lines", stdin=lines(300), options=service.target)
    assert done.returncode == 0
    assert "failed after 4 attempts" in done.stderr
    assert rows(done.stdout) == {"in": 300, "delivered": 300}
    assert "6 requests, 4 sent again, 5 throttling responses" in done.stdout
    assert sorted(service.accepted) == log_records([f"line {number}" for number in range(300)])


def test_local_starts_a_kinesis_of_its_own_and_tells_what_arrived() -> None:
    file = str(CHUNKS / "access_1.msgpack")
    done = run_command("send", file, "--format", "msgpack", "--local")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done.stdout)["delivered"] == 398
    shards = [line.split() for line in done.stdout.splitlines() if line.startswith("shardId-")]
    assert len(shards) == 4
    assert sum(int(number) for _, number in shards) == 398
    assert done.stdout.endswith("arrived in the local Kinesis: 398 records\n")


def test_local_takes_region_stream_and_large_records() -> None:
    options = {"region": "eu-central-1", "stream": "mine", "max_record_size": "10485760"}
    content = b"x" * 9_000_000 + b"\n"
    done = run_command("send", "--format", "lines", "--local", stdin=content, options=options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("arrived in the local Kinesis: 1 record\n")


@pytest.mark.usefixtures("shared_local")
def test_local_fails_when_something_else_arrived(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read_all = LocalKinesis.read_all
    monkeypatch.setattr(LocalKinesis, "read_all", lambda self, name: read_all(self, name)[1:])
    file = str(CHUNKS / "access_1.msgpack")
    assert main(["send", file, "--format", "msgpack", "--local"]) == 1
    assert "arrived in the local Kinesis: 397 records" in capsys.readouterr().out


def test_a_terminal_gets_a_progress_bar(stream: LocalStream) -> None:
    ours, theirs = pty.openpty()
    file = str(CHUNKS / "k8s_1.msgpack")
    arguments = ["send", file, "--format", "msgpack", *as_arguments(stream.target)]
    with start_command(*arguments, stderr=theirs) as process:
        os.close(theirs)
        drawn = b""
        while part := read_terminal(ours):
            drawn += part
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    text = drawn.decode()
    assert f"{CLEAR_LINE}[#" in text
    assert " records " in text
    assert text.endswith(CLEAR_LINE)
    assert rows(out) == {"in": 1657, "delivered": 1657}
    assert "\x1b" not in out


def read_terminal(descriptor: int) -> bytes:
    """Read what a process wrote to its terminal; nothing when it has ended."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.mark.slow
def test_memory_stays_bounded() -> None:
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from kinesis_fast.cli import main, send\n"
        "def peak():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1])\n"
        "before = peak()\n"
        "code = main(sys.argv[1:])\n"
        "print('grown', peak() - before, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    content = lines(600, "x" * 99_990)
    with SlowService() as service:
        service.release()
        arguments = ["send", "-", "--format", "lines", *as_arguments(service.target)]
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, *arguments],
            input=content,
            capture_output=True,
            env=LocalKinesis.environment(),
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert len(service.accepted) == 600
    grown_kib = int(done.stderr.split()[-1])
    assert grown_kib < len(content) / 1024 / 2


def test_the_installed_script_is_what_is_tested() -> None:
    assert Path(COMMAND).is_file()
