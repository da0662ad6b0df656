"""A directory that is removed, moved or replaced while an output uses it."""

import os
import shutil
from pathlib import Path

import pytest
from fake_transport import FakeTransport
from outputs import assert_balanced, numbered, numbers
from spools import n_bytes_on_disk, open_spool, spool_config

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.errors import DamagedChunk, StorageError


def test_a_removed_spool_is_made_again(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_spool(root)
    lost = spool.put(b"lost", "tag")
    lost.save_progress(b"\1")
    shutil.rmtree(root)
    caplog.clear()
    kept = spool.put(b"kept", "tag")
    assert kept.read().payload == b"kept"
    (line,) = caplog.messages
    assert line == (
        f"the spool {root}/logs.0 was removed, moved or replaced; new chunks are kept in "
        f"{root}/logs.0"
    )
    with pytest.raises(DamagedChunk, match="is missing: it was removed from outside"):
        lost.read()
    assert spool.n_bytes == n_bytes_on_disk(spool)
    spool.put(b"second", "tag").remove()
    assert len(caplog.messages) == 1
    spool.close()
    again = open_spool(root)
    assert again.path == f"{root}/logs.0"
    assert [chunk.read().payload for chunk in again.pending()] == [b"kept"]
    again.close()


def test_only_the_directory_of_the_output_is_removed(root: Path) -> None:
    spool = open_spool(root)
    shutil.rmtree(spool.path)
    chunk = spool.put(b"kept", "tag")
    assert Path(chunk.path).parent == root / "logs.0"
    locked = open_spool(root)
    assert locked.path == f"{root}/logs.1"
    spool.close()
    locked.close()


def test_a_spool_that_was_moved_aside_is_still_delivered(root: Path, tmp_path: Path) -> None:
    spool = open_spool(root)
    before = spool.put(b"before", "tag")
    moved = tmp_path / "aside"
    Path(spool.path).rename(moved)
    after = spool.put(b"after", "tag")
    assert Path(after.path).exists()
    assert before.read().payload == b"before"
    assert before.save_progress(b"\1")
    assert before.remove()
    assert list(moved.iterdir()) == []
    spool.close()


def test_chunks_in_the_directory_that_replaces_it_are_found(root: Path, tmp_path: Path) -> None:
    spool = open_spool(root)
    spool.put(b"one", "tag")
    shutil.copytree(spool.path, tmp_path / "backup", copy_function=shutil.copy2)
    shutil.rmtree(spool.path)
    (tmp_path / "backup").chmod(0o700)
    (tmp_path / "backup").rename(spool.path)
    assert spool.pending() == []
    spool.put(b"two", "tag")
    assert [chunk.read().payload for chunk in spool.pending()] == [b"one"]
    assert spool.pending() == []
    spool.close()


def test_a_path_that_cannot_be_used_is_tried_again(root: Path) -> None:
    spool = open_spool(root)
    shutil.rmtree(root)
    root.write_text("in the way")
    for _ in range(2):
        with pytest.raises(StorageError, match="it must be a directory"):
            spool.put(b"x", "tag")
    root.unlink()
    assert spool.put(b"x", "tag").read().payload == b"x"
    spool.close()


def test_an_output_goes_on(root: Path) -> None:
    transport = FakeTransport()
    output = KinesisOutput(spool_config(root), transport)
    for number in range(3):
        shutil.rmtree(root, ignore_errors=True)  # files may vanish meanwhile
        assert output.flush(numbered([number]), "tag") is FlushResult.OK
    output.close(30)
    # A chunk whose file was removed before it was read is lost, and counted.
    stats = output.stats()
    assert_balanced(stats)
    assert stats["delivered"] + stats["dead"] == 3
    assert 2 in numbers(transport.kept)


def test_a_put_looks_at_its_path_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing more, or each flush would pay for it."""
    spool = open_spool(root)
    calls = []
    status = os.stat

    def counted(*arguments: object, **keywords: object) -> os.stat_result:
        calls.append(arguments[0])
        return status(*arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr("kinesis_fast.storage.directory.os.stat", counted)
    spool.put(b"x", "tag")
    assert calls == [spool.path]
    spool.close()
