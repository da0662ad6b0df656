"""`kinesis-fast spool replay --spool`."""

import signal
import time
from pathlib import Path

from chunks import chunk_of, event, load_chunk
from command import as_arguments, run_command, start_command
from local_stream import LocalStream, expected_data
from slow_service import SlowService
from spool_contents import flip, leave, leave_settled, numbered
from spools import open_spool

GROUP_START = event({}, -1)  # as the SDK marks the begin of a group: not a record
TIMEOUT_S = 60


def test_replay_sends_and_removes(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave(root, load_chunk("access_1"), numbered(1, 2), **stream.target)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 chunks done and removed\ndelivered 400 records\n"
    assert stream.data() == sorted(
        expected_data(load_chunk("access_1")) + expected_data(numbered(1, 2))
    )
    assert list(root.glob("*/*")) == []


def test_replay_sends_what_is_not_settled_only(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    payload = numbered(0) + GROUP_START + numbered(2, 3, 4, 5, 6, 7, 8, 9)
    leave_settled(root, b"\x0b\x01", payload, **stream.target)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert done.returncode == 0
    assert stream.data() == expected_data(numbered(2, 4, 5, 6, 7, 9))


def test_replay_leaves_other_options_unless_told(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave(root, numbered(1), append_newline="true", **stream.target)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert done.returncode == 1
    assert "1 chunk kept: other options" in done.stdout
    assert (stream.data(), len(list(root.glob("*/*")))) == ([], 1)
    arguments = ["spool", "replay", "--spool", str(root), "--other-options"]
    done = run_command(*arguments, options=stream.target)
    assert done.returncode == 0
    assert (stream.data(), list(root.glob("*/*"))) == ([b'{"n":1}'], [])


def test_replay_leaves_a_running_output_alone(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    running = open_spool(root, **stream.target)
    running.put(numbered(1), "theirs")
    other = open_spool(root, **stream.target)
    other.put(numbered(2), "left")
    other.close()
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert done.returncode == 1
    assert done.stderr.startswith(f"kinesis-fast: {running.path} is in use by a running output")
    assert stream.data() == [b'{"n":2}']
    assert len(list(Path(running.path).iterdir())) == 1
    done = run_command("spool", "purge", "--spool", str(root), "--yes")
    assert done.returncode == 1
    assert "removed 0 chunks of 1" in done.stdout
    running.close()


def test_replay_stops_when_nothing_arrives(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    target = {**stream.target, "stream": "no-such-stream"}
    leave(root, numbered(1), numbered(2), **target)
    done = run_command("spool", "replay", "--spool", str(root), "--patience", "1", options=target)
    assert done.returncode == 1
    assert "no record was delivered for 1 s, so sending stops" in done.stderr
    assert done.stdout.startswith(
        "0 chunks done and removed\n1 chunk kept: not delivered\n1 chunk kept: not tried\n"
    )
    assert len(list(root.glob("*/*"))) == 2


def test_chunks_that_are_given_up_stay(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    target = {**stream.target, "stream": "no-such-stream"}
    leave(root, numbered(1), numbered(2), **target)
    options = {**target, "experimental_concurrency_retries": "0"}
    done = run_command("spool", "replay", "--spool", str(root), options=options)
    assert done.returncode == 1
    assert "0 chunks done and removed\n2 chunks kept: refused or given up\n" in done.stdout
    assert len(list(root.glob("*/*"))) == 2


def test_a_chunk_with_a_refused_record_stays(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    options = {**stream.target, "max_record_size": str(2 * 1024 * 1024)}
    leave(root, numbered(1) + chunk_of([{"n": "x" * 1_500_000}]), numbered(2), **options)
    done = run_command("spool", "replay", "--spool", str(root), options=options)
    assert done.returncode == 1
    assert "1 chunk done and removed\n1 chunk kept: refused or given up\n" in done.stdout
    assert "1 record dead\n" in done.stdout
    assert stream.data() == expected_data(numbered(1, 2))
    assert len(list(root.glob("*/*"))) == 1


def test_a_damaged_chunk_is_not_replayed(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    one, _ = leave(root, numbered(1), numbered(2), **stream.target)
    flip(one, -1)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert done.returncode == 1
    assert "1 chunk kept: damaged" in done.stdout
    assert (stream.data(), one.exists()) == ([b'{"n":2}'], True)


def test_ctrl_c_finishes_what_is_in_flight(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    with SlowService() as service:
        leave(root, numbered(1), numbered(2), **service.target)
        arguments = ["spool", "replay", "--spool", str(root), *as_arguments(service.target)]
        with start_command(*arguments) as process:
            assert service.arrived.wait(TIMEOUT_S)
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            service.release()
            out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (130, "")
    assert out.startswith("1 chunk done and removed\n1 chunk kept: not tried\n")
    assert (service.accepted, len(list(root.glob("*/*")))) == ([b'{"n":1}'], 1)
