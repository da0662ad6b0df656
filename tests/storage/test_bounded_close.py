"""Closing a spool takes a bounded time, whatever its calls wait for."""

import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest
from outputs import PATIENCE_S, eventually
from spools import open_spool

from kinesis_fast.errors import StorageError
from kinesis_fast.storage.spool import store


def test_close_does_not_wait_for_a_disk_that_hangs(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The call that hangs keeps the lock, because it still writes; its end releases it."""
    monkeypatch.setattr(store, "CLOSE_S", 0.01)
    spool = open_spool(root)
    hangs, may_go_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def hanging_fsync(fd: int) -> None:
        if threading.current_thread() is putting:
            hangs.set()
            assert may_go_on.wait(PATIENCE_S)
        fsync(fd)

    monkeypatch.setattr("os.fsync", hanging_fsync)
    putting = threading.Thread(target=spool.put, args=(b"payload", "tag"), daemon=True)
    putting.start()
    assert hangs.wait(PATIENCE_S)
    spool.close()
    spool.close()
    assert f"the spool {spool.path} stays locked until the disk responds" in caplog.text
    with pytest.raises(StorageError, match="is closed"):
        spool.put(b"later", "tag")
    meanwhile = open_spool(root)
    assert meanwhile.path != spool.path
    may_go_on.set()
    putting.join(PATIENCE_S)
    meanwhile.close()
    after = open_spool(root)
    assert after.path == spool.path
    assert [chunk.read().payload for chunk in after.pending()] == [b"payload"]
    after.close()


def test_close_ends_the_wait_for_a_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put that has to claim a directory anew, while another process holds the spool."""
    monkeypatch.setattr(store, "LOCK_S", 10 * PATIENCE_S)
    spool = open_spool(root)
    shutil.rmtree(spool.path)
    other = os.open(root, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    failures: list[StorageError] = []

    def put() -> None:
        try:
            spool.put(b"payload", "tag")
        except StorageError as failure:
            failures.append(failure)

    putting = threading.Thread(target=put, daemon=True)
    putting.start()
    eventually(spool._claim_lock.locked)
    spool.close()
    putting.join(PATIENCE_S)
    assert not putting.is_alive()
    assert str(failures[0]) == f"{root} is locked by another process"
    os.close(other)
