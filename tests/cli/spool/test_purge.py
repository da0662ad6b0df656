"""`kinesis-fast spool purge`."""

import os
import pty
from pathlib import Path

import pytest
from chunks import event
from command import run_command, start_command
from spool_contents import (
    flip,
    leave,
    leave_settled,
    listed,
    numbered,
    write_letters,
)

from kinesis_fast.cli import main

TIMEOUT_S = 60


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
