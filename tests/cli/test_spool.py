"""`kinesis-fast spool`, as an operator types it."""

import base64
import errno
import json
import os
import pty
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from chunks import chunk_of, event, load_chunk, output_config
from command import COMMAND, as_arguments, run_command, start_command
from fake_transport import entries_answer
from faulty_os import FaultyOs, install
from hypothesis import given
from hypothesis import strategies as st
from local_stream import LocalStream
from raw_server import Arrived, RawServer, http
from slow_service import SlowService
from spools import as_of_version, open_spool

from kinesis_fast import RecordEncoder
from kinesis_fast.cli import main
from kinesis_fast.cli.sources import events
from kinesis_fast.cli.spool.items import Item, is_set, n_set
from kinesis_fast.cli.spool.letters import LetterSource
from kinesis_fast.errors import StorageError
from kinesis_fast.storage.dead_letters import DeadLetters

GROUP_START = event({}, -1)  # as the SDK marks the begin of a group: not a record
TIMEOUT_S = 60


def leave(root: Path, /, *payloads: bytes, **options: str) -> list[Path]:
    """Spool chunks as an output would; returns their files."""
    return leave_settled(root, b"", *payloads, **options)


def leave_settled(root: Path, progress: bytes, /, *payloads: bytes, **options: str) -> list[Path]:
    """Spool chunks with settled events, as an output would; returns their files."""
    spool = open_spool(root, **options)
    chunks = [spool.put(payload, f"tag.{number}") for number, payload in enumerate(payloads)]
    if progress:
        for chunk in chunks:
            chunk.save_progress(progress)
    spool.close()
    return [Path(chunk.path) for chunk in chunks]


def write_letters(root: Path, *letters: tuple[str, bytes], **options: str) -> None:
    """Write dead letters: reason and event."""
    dead = DeadLetters.open(output_config({"dead_letter_dir": str(root), **options}))
    for reason, payload in letters:
        assert dead.add(reason, "app.log", payload, 1_700_000_000_000_000_000, "detail")


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Return what ls --json says."""
    capsys.readouterr()
    main(["spool", "ls", "--json", *arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def encoded(payload: bytes, **options: str) -> list[bytes]:
    """Return the data of the records of a chunk, sorted."""
    return sorted(record.data for record in RecordEncoder(output_config(options)).records(payload))


def arrived(stream: LocalStream) -> list[bytes]:
    """Return the data of all records of a stream, sorted."""
    return sorted(record.data for record in stream.read())


def flip(path: Path, position: int) -> None:
    """Change a byte of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def numbered(*numbers: int) -> bytes:
    """Return a chunk with an event for each number."""
    return chunk_of({"n": number} for number in numbers)


# --- ls ---


def test_ls_of_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    leave_settled(root, b"\x05", load_chunk("access_1"), numbered(1, 2, 3))
    assert main(["spool", "ls", "--spool", str(root)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    head, first, second, total = captured.out.splitlines()
    assert head.split() == ["time", "bytes", "records", "settled", "state", "what"]
    assert first.split()[1:] == [
        f"{len(load_chunk('access_1')):,}",
        "398",
        "2",
        "waiting",
        "tag.0",
        "logs",
    ]
    assert second.split()[2:] == ["3", "2", "waiting", "tag.1", "logs"]
    assert first.split()[0] == time.strftime("%Y-%m-%dT", time.gmtime()) + first.split()[0][11:]
    assert total.startswith("2 chunks, ")
    assert total.endswith("401 records, 4 settled")


def test_ls_as_json_has_all_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    (path,) = leave(root, numbered(1), log_key="log")
    (item,) = listed(capsys, "--spool", str(root))
    assert item.pop("time").endswith("Z")
    assert item.pop("options")["log_key"] == "log"
    assert item == {
        "state": "waiting",
        "path": str(path),
        "tag": "tag.0",
        "region": "us-east-1",
        "stream": "logs",
        "bytes": len(numbered(1)),
        "records": 1,
        "settled": 0,
        "remark": "",
    }


def test_ls_shows_what_today_s_options_would_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "spool"
    leave(root, numbered(1))
    leave(root, numbered(2), log_key="log")
    target = as_arguments({"region": "us-east-1", "stream": "logs"})
    assert [item["state"] for item in listed(capsys, "--spool", str(root), *target)] == [
        "waiting",
        "other options",
    ]
    assert main(["spool", "ls", "--spool", str(root), *target]) == 0
    assert "other options  tag.0 logs (log_key)" in capsys.readouterr().out


def test_ls_tells_what_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    header, payload, version, whole = leave(root, *[numbered(1)] * 4)
    flip(header, 20)
    flip(payload, -1)
    as_of_version(version, 0)
    aside = whole.with_name(whole.name + ".damaged")
    whole.rename(aside)
    assert main(["spool", "ls", "--spool", str(root)]) == 1
    out = capsys.readouterr().out
    assert f"damaged        (the checksum of its header is wrong) {header}" in out
    assert f"(the checksum of its payload is wrong) {payload}" in out
    assert f"unreadable     (its format version is 0, only 1 can be read) {version}" in out
    assert f"damaged        (set aside as damaged) {aside}" in out


def test_ls_of_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "dead"
    write_letters(root, ("not_map", event(5)), ("refused", event({"n": 1})))
    write_letters(root, ("refused", event({"n": 2})), stream="other")
    with (root / "dead-letters.jsonl").open("ab") as file:
        file.write(b"{oops\n")
    assert main(["spool", "ls", "--dead-letters", str(root)]) == 1
    _, *lines, total = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("2023-11-14T22:13:20Z", str(len(event(5))), "1", "0", "dead"),
        *("app.log", "logs", "(not_map:", "detail)"),
    ]
    assert "damaged        (not a dead letter)" in lines[3]
    assert total.startswith("4 letters, ")
    target = as_arguments({"region": "us-east-1", "stream": "logs"})
    states = [item["state"] for item in listed(capsys, "--dead-letters", str(root), *target)]
    assert states == ["dead", "dead", "other stream", "damaged"]


def test_control_characters_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, dead = tmp_path / "spool", tmp_path / "dead"
    spool = open_spool(root)
    spool.put(numbered(1), "a\x1b]0;b\x07\n\u202e")
    spool.close()
    letters = DeadLetters.open(output_config({"dead_letter_dir": str(dead)}))
    letters.add("re\x1bason", "a\x1b[31m", event(1), None, "de\x9btail")
    for place in (["--spool", str(root)], ["--dead-letters", str(dead)]):
        for more in ([], ["--json"]):
            assert main(["spool", "ls", *place, *more]) == 0
            out = capsys.readouterr().out
            assert not set("\x1b\x07\x9b\u202e") & set(out)
    assert main(["spool", "ls", "--spool", str(root)]) == 0
    assert "a\\x1b]0;b\\x07\\n\\u202e logs" in capsys.readouterr().out


def test_what_is_meant_can_be_narrowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    leave(root, numbered(1))
    leave(root, numbered(2), stream="other")
    place = ["--spool", str(root)]
    assert len(listed(capsys, *place, "--stream", "other")) == 1
    assert len(listed(capsys, *place, "--older-than", "0s")) == 2
    assert listed(capsys, *place, "--older-than", "1h") == []
    write_letters(tmp_path / "dead", ("refused", event(1)))
    place = ["--dead-letters", str(tmp_path / "dead")]
    assert len(listed(capsys, *place, "--older-than", "365d")) == 1
    assert listed(capsys, *place, "--older-than", "999999d") == []


# --- replay ---


def test_replay_sends_and_removes(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave(root, load_chunk("access_1"), numbered(1, 2), **stream.target)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 chunks done and removed\ndelivered 400 records\n"
    assert arrived(stream) == sorted(encoded(load_chunk("access_1")) + encoded(numbered(1, 2)))
    assert list(root.glob("*/*")) == []


def test_replay_sends_what_is_not_settled_only(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    payload = numbered(0) + GROUP_START + numbered(2, 3, 4, 5, 6, 7, 8, 9)
    leave_settled(root, b"\x0b\x01", payload, **stream.target)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert done.returncode == 0
    assert arrived(stream) == encoded(numbered(2, 4, 5, 6, 7, 9))


def test_replay_leaves_other_options_unless_told(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave(root, numbered(1), append_newline="true", **stream.target)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert done.returncode == 1
    assert "1 chunk kept: other options" in done.stdout
    assert (arrived(stream), len(list(root.glob("*/*")))) == ([], 1)
    arguments = ["spool", "replay", "--spool", str(root), "--other-options"]
    done = run_command(*arguments, options=stream.target)
    assert done.returncode == 0
    assert (arrived(stream), list(root.glob("*/*"))) == ([b'{"n":1}'], [])


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
    assert arrived(stream) == [b'{"n":2}']
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
    assert arrived(stream) == encoded(numbered(1, 2))
    assert len(list(root.glob("*/*"))) == 1


def test_a_damaged_chunk_is_not_replayed(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    one, _ = leave(root, numbered(1), numbered(2), **stream.target)
    flip(one, -1)
    done = run_command("spool", "replay", "--spool", str(root), options=stream.target)
    assert done.returncode == 1
    assert "1 chunk kept: damaged" in done.stdout
    assert (arrived(stream), one.exists()) == ([b'{"n":2}'], True)


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


def test_replay_of_letters(stream: LocalStream, tmp_path: Path) -> None:
    root = tmp_path / "dead"
    write_letters(root, ("not_map", event(5)), ("refused", event({"n": 1})), **stream.target)
    write_letters(root, ("refused", event({"n": 2})), stream="other")
    write_letters(root, ("refused", event({"n": 3})), ("malformed", b"\xc1"), **stream.target)
    done = run_command("spool", "replay", "--dead-letters", str(root), options=stream.target)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "2 letters done and removed",
        "2 letters kept: skipped again",
        "1 letter kept: other stream",
        "2 records skipped",
        "delivered 2 records",
    ]
    assert arrived(stream) == [b'{"n":1}', b'{"n":3}']
    write_letters(root, ("refused", event({"n": 4})), **stream.target)  # meanwhile
    done = run_command(
        "spool", "replay", "--dead-letters", str(root), "--other-options", options=stream.target
    )
    assert "2 letters done and removed" in done.stdout
    assert arrived(stream) == [b'{"n":1}', b'{"n":2}', b'{"n":3}', b'{"n":4}']


def test_letters_that_were_cut_are_kept(
    stream: LocalStream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "dead"
    long = event({"n": "x" * 300_000})
    options = {**stream.target, "dead_letter_max_bytes": "1M"}
    write_letters(root, ("refused", long), ("refused", event({"n": 1})), **options)
    place = ["--dead-letters", str(root)]
    assert main(["spool", "replay", *place, *as_arguments(stream.target)]) == 1
    assert "1 letter kept: cut" in capsys.readouterr().out
    assert arrived(stream) == [b'{"n":1}']
    (item,) = listed(capsys, *place)
    assert (item["state"], item["bytes"]) == ("cut", len(long))


def test_letters_are_kept_when_nothing_arrives(
    stream: LocalStream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "dead"
    target = {**stream.target, "stream": "no-such-stream"}
    write_letters(root, *[("refused", event({"n": n})) for n in range(3)], **target)
    place = ["--dead-letters", str(root)]
    assert main(["spool", "replay", *place, *as_arguments(target)]) == 1
    assert "3 letters kept: not delivered" in capsys.readouterr().out
    assert len(listed(capsys, *place)) == 3
    monkeypatch.setattr("kinesis_fast.cli.awaited_output.POLL_S", 1.1)
    assert main(["spool", "replay", *place, "--patience", "1", *as_arguments(target)]) == 1
    captured = capsys.readouterr()
    assert "1 letter kept: not delivered\n2 letters kept: not tried\n" in captured.out
    assert "no record was delivered for 1 s, so sending stops" in captured.err


def test_letters_that_are_refused_again_do_not_keep_others_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def respond(request: Arrived) -> bytes:
        entries = json.loads(request.body)["Records"]
        if any(json.loads(base64.b64decode(entry["Data"]))["n"] % 2 for entry in entries):
            return http(400, b'{"__type":"ValidationException","message":"no"}')
        return http(200, entries_answer([None] * len(entries)).body)

    root = tmp_path / "dead"
    with RawServer(respond) as server:
        target = {"region": "us-east-1", "stream": "any", "endpoint": server.url}
        write_letters(root, *[("refused", event({"n": n})) for n in range(1, 6)], **target)
        place = ["--dead-letters", str(root)]
        done = run_command("spool", "replay", *place, options=target)
    assert done.returncode == 1
    assert done.stdout.startswith("2 letters done and removed\n3 letters kept: not delivered\n")
    assert done.stdout.endswith("delivered 2 records\n")
    assert len(listed(capsys, *place)) == 3


def test_letters_survive_an_interruption_and_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "dead"
    write_letters(root, *[(str(number), event(number)) for number in range(4)])
    source = LetterSource(str(root), None)

    def reasons() -> list[str]:
        return [item.remark[0] for item in source.items()]

    def first_only(item: Item) -> bool:
        write_letters(root, (str(5 + len(reasons())), event(5)))  # an output that runs
        if item.remark != "0: detail":
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        source.sift(first_only)
    assert reasons() == ["1", "2", "3", "9", "1"]
    with monkeypatch.context() as patch:
        install(patch, FaultyOs(lambda _index, name: name == "write", errno.ENOSPC))
        with pytest.raises(StorageError, match="free space"):
            source.sift(lambda item: item.remark == "1: detail")
    assert reasons() == ["1", "2", "3", "9", "1"]
    source.sift(lambda item: item.remark != "3: detail")
    assert reasons() == ["3"]


# --- export ---


def test_export_of_chunks(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave_settled(root, b"\x02", load_chunk("k8s_1"), numbered(0, 1, 2), log_key="n")
    file = tmp_path / "copy"
    arguments = ["spool", "export", "--spool", str(root)]
    done = run_command(*arguments, "-o", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "2 chunks copied\n")
    assert file.read_bytes() == load_chunk("k8s_1") + numbered(0, 1, 2)
    assert file.stat().st_mode & 0o777 == 0o600
    assert run_command(*arguments, "-o", str(file)).returncode == 2
    done = run_command(*arguments, "--format", "jsonl", "--unsettled")
    assert done.stdout == "0\n2\n"
    other = tmp_path / "other"
    assert run_command(*arguments, "--unsettled", "-o", str(other)).returncode == 0
    assert other.read_bytes() == b"".join(
        event for number, event in enumerate(events(load_chunk("k8s_1"))) if number != 1
    ) + numbered(0, 2)


def test_export_leaves_out_what_is_damaged(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    one, _ = leave(root, numbered(1), numbered(2))
    flip(one, -1)
    done = run_command("spool", "export", "--spool", str(root), "--format", "jsonl")
    assert (done.returncode, done.stdout) == (1, '{"n":2}\n')
    assert f"left out: {one}: damaged the checksum" in done.stderr
    assert done.stderr.endswith("1 chunk copied, 1 chunk left out\n")


def test_export_of_letters(tmp_path: Path) -> None:
    root = tmp_path / "dead"
    write_letters(root, ("refused", event({"n": 1})), ("refused", event({"n": 2})))
    arguments = ["spool", "export", "--dead-letters", str(root)]
    lines = run_command(*arguments, "--format", "jsonl").stdout
    assert lines.encode() == (root / "dead-letters.jsonl").read_bytes()
    file = tmp_path / "copy"
    assert run_command(*arguments, "-o", str(file)).returncode == 0
    assert file.read_bytes() == event({"n": 1}) + event({"n": 2})


# --- purge ---


def test_purge_asks_on_a_terminal(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave(root, numbered(1), numbered(2))
    for answer, code, left in ((b"\n", 1, 2), (b"y\n", 0, 0)):
        ours, theirs = pty.openpty()
        with start_command("spool", "purge", "--spool", str(root), stdin=ours) as process:
            os.close(ours)
            os.write(theirs, answer)
            out, err = process.communicate(timeout=TIMEOUT_S)
        os.close(theirs)
        assert (process.returncode, err) == (code, "")
        assert out.startswith(f"remove 2 chunks, {2 * len(numbered(1))} bytes permanently? [y/N] ")
        assert len(list(root.glob("*/*"))) == left


def test_purge_needs_permission(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave_settled(root, b"\0", numbered(1))
    done = run_command("spool", "purge", "--spool", str(root))
    assert done.returncode == 2
    assert done.stderr == (
        "kinesis-fast: purge cannot be undone: give --yes, or run it on a terminal\n"
    )
    done = run_command("spool", "purge", "--spool", str(root), "--older-than", "1h", "--yes")
    assert (done.returncode, done.stdout) == (0, "removed 0 chunks of 0\n")
    done = run_command("spool", "purge", "--spool", str(root), "--yes")
    assert (done.returncode, done.stdout) == (0, "removed 1 chunk of 1\n")
    assert list(root.glob("*/*")) == []


def test_purge_of_damaged_chunks_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    one, two, three = leave(root, *[numbered(1)] * 3)
    flip(one, 20)
    two.rename(two.with_name(two.name + ".damaged"))
    assert main(["spool", "purge", "--spool", str(root), "--damaged", "--yes"]) == 0
    assert capsys.readouterr().out == "removed 2 chunks of 2\n"
    assert list(root.glob("*/*")) == [three]


def test_purge_of_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "dead"
    write_letters(root, ("refused", event(1)), ("refused", event(2)))
    write_letters(root, ("refused", event(3)), stream="other")
    place = ["--dead-letters", str(root)]
    assert main(["spool", "purge", *place, "--stream", "other", "--yes"]) == 0
    assert capsys.readouterr().out == "removed 1 letter of 1\n"
    assert [item["stream"] for item in listed(capsys, *place)] == ["logs", "logs"]
    assert main(["spool", "purge", *place, "--yes"]) == 0
    assert listed(capsys, *place) == []
    assert [path.name for path in root.rglob("*")] == ["replay"]


# --- all of them ---


@pytest.mark.parametrize("action", ["ls", "replay", "export", "purge"])
def test_each_action_has_help(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool", action, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: kinesis-fast spool {action}")
    for word in ("--spool DIR", "--dead-letters DIR", "--older-than AGE", "-p OPTION=VALUE"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ACTION"),
        (["list"], "'list' (choose from"),
        (["ls"], "one of the arguments --spool --dead-letters is required"),
        (["ls", "--spool", "/a", "--dead-letters", "/b"], "not allowed with"),
        (["ls", "--spool", "/no/such/place"], "(ENOENT); the directory does not exist"),
        (["ls", "--spool", COMMAND], "it must be a directory"),
        (["ls", "--spool", "/", "--older-than", "3"], "'3' is not an age such as 90s"),
        (["replay", "--spool", "/"], "-p region=... -p stream=..."),
        (["replay", "--spool", "/", "-p", "region=eu-west-1"], "option stream is missing"),
        (["purge", "--dead-letters", "/no/such/place", "--yes"], "cannot open /no/such/place"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spool", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@given(st.binary(max_size=20))
def test_bits(bits: bytes) -> None:
    expected = [octet >> bit & 1 for octet in bits for bit in range(8)]
    assert [is_set(bits, number) for number in range(len(expected) + 9)] == [*expected, *[0] * 9]
    assert n_set(bits) == sum(expected)


@pytest.mark.parametrize("name", ["access_1", "fwd_weird_0", "hm_garbage", "hm_trunc", "hm_empty"])
def test_events_are_all_of_a_chunk(name: str) -> None:
    chunk = load_chunk(name)
    found = list(events(chunk))
    assert b"".join(found) == chunk
    assert all(found)
    count = RecordEncoder(output_config()).count
    if not name.startswith("hm_"):
        assert [count(event) for event in found] == [1] * len(found)
