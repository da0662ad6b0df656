"""`kinesis-fast spool replay --dead-letters`."""

import base64
import errno
import json
from pathlib import Path

import pytest
from chunks import event
from command import as_arguments, run_command
from fake_transport import entries_answer
from faulty_os import FaultyOs, install
from local_stream import LocalStream
from raw_server import Arrived, RawServer, http
from spool_contents import (
    listed,
    write_letters,
)

from kinesis_fast.cli import main
from kinesis_fast.cli.spool.items import Item
from kinesis_fast.cli.spool.letters import LetterSource
from kinesis_fast.errors import StorageError


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
    assert stream.data() == [b'{"n":1}', b'{"n":3}']
    write_letters(root, ("refused", event({"n": 4})), **stream.target)  # meanwhile
    done = run_command(
        "spool", "replay", "--dead-letters", str(root), "--other-options", options=stream.target
    )
    assert "2 letters done and removed" in done.stdout
    assert stream.data() == [b'{"n":1}', b'{"n":2}', b'{"n":3}', b'{"n":4}']


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
    assert stream.data() == [b'{"n":1}']
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
