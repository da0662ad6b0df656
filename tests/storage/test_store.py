"""Chunks in a spool: put and read, progress, the size limit, damage."""

import hashlib
import json
import logging
import os
import stat
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spools import files_of, n_bytes_on_disk, only_file, open_spool, spool_config

from kinesis_fast.errors import SpoolFull, StorageError
from kinesis_fast.storage.spool import Spool

MB = 1_000_000


def test_a_chunk_comes_back_after_a_restart(root: Path) -> None:
    before = time.time_ns()
    spool = open_spool(root)
    spool.put(b"payload", "app.log")
    spool.close()
    spool = open_spool(root)
    (chunk,) = spool.pending()
    content = chunk.read()
    assert content[:3] == ("app.log", b"payload", b"")
    assert before <= content.time_ns <= time.time_ns()
    assert chunk.n_bytes == Path(chunk.path).stat().st_size
    spool.close()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None
)
@given(
    payload=st.binary(max_size=5000),
    tag=st.text(st.characters(exclude_categories=())),
    kind=st.sampled_from([bytes, bytearray, memoryview]),
)
def test_any_payload_and_tag(root: Path, payload: bytes, tag: str, kind: type[bytes]) -> None:
    spool = open_spool(root)
    written = spool.put(kind(payload), tag)
    content = written.read()
    assert content[:3] == (tag, payload, b"")
    spool.close()
    spool = open_spool(root)
    (chunk,) = spool.pending()
    assert chunk.read() == content
    assert chunk.remove()
    assert files_of(spool) == []
    spool.close()


def test_the_layout_is_the_documented_one(root: Path) -> None:
    spool = open_spool(root, endpoint="https://me:secret@host", data_keys="a,b")
    spool.put(b"payload", "t\u00e4g\x1b")
    file = only_file(spool).read_bytes()
    magic, version, n_fields, n_payload, digest = struct.unpack(">8sIIQ32s", file[:56])
    assert (magic, version, n_payload) == (b"kf-spool", 1, 7)
    assert digest == hashlib.sha256(b"payload").digest()
    fields = json.loads(file[56 : 56 + n_fields])
    end = 56 + n_fields
    assert file[end : end + 32] == hashlib.sha256(file[:end]).digest()
    assert file[end + 32 :] == b"payload"
    assert fields["tag"] == "t\u00e4g\x1b"
    assert fields["options"] == {
        "region": "us-east-1",
        "stream": "logs",
        "endpoint": "https://***@host",
        "profile": "",
        "role_arn": "",
        "partition_key": "",
        "data_keys": "a,b",
        "log_key": "",
        "replace_dots": "",
        "append_newline": "false",
        "time_key": "",
        "time_key_format": "%Y-%m-%dT%H:%M:%S",
        "time_zone": "local",
        "max_record_size": "1048576",
        "compression": "none",
        "aggregation": "false",
        "simple_aggregation": "false",
    }
    spool.close()


def test_modes_whatever_the_umask(root: Path) -> None:
    before = os.umask(0)
    try:
        spool = open_spool(root)
        spool.put(b"x", "tag").save_progress(b"\1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(spool.path).stat().st_mode) == 0o700
    modes = [stat.S_IMODE(path.stat().st_mode) for path in Path(spool.path).iterdir()]
    assert modes == [0o600, 0o600]
    spool.close()


def test_pending_is_in_order_of_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(root)
    for time_ns in (5, 10**18, 3, 99, 10):
        monkeypatch.setattr("time.time_ns", lambda value=time_ns: value)
        spool.put(b"x", str(time_ns))
    spool.close()
    spool = open_spool(root)
    assert [chunk.read().tag for chunk in spool.pending()] == ["3", "5", "10", "99", str(10**18)]
    spool.close()


def test_a_removed_chunk_is_no_longer_pending(root: Path) -> None:
    spool = open_spool(root)
    for number in range(3):
        spool.put(b"x", str(number)).save_progress(b"\1")
    spool.close()
    spool = open_spool(root)
    first, second, third = spool.pending()
    assert second.remove()
    assert second.remove()
    assert [chunk.is_removed for chunk in (first, second, third)] == [False, True, False]
    assert not second.save_progress(b"\3")
    assert spool.pending() == []
    assert len(files_of(spool)) == 4
    spool.close()


def test_progress_comes_back(root: Path) -> None:
    spool = open_spool(root)
    written = spool.put(b"payload", "tag")
    for bits in (b"\x01", b"\x03\x80", bytearray(b"\xff\xff\xff")):
        assert written.save_progress(bits)
        assert written.read().settled == bits
    spool.close()
    spool = open_spool(root)
    (chunk,) = spool.pending()
    assert chunk.read().settled == b"\xff\xff\xff"
    assert chunk.save_progress(b"\1")
    assert chunk.read().settled == b"\1"
    assert n_bytes_on_disk(spool) == spool.n_bytes
    spool.close()


def test_settled_events_are_remembered_though_they_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the process lives, nothing is sent twice for it."""
    spool = open_spool(root)
    chunk = spool.put(b"payload", "tag")
    assert chunk.save_progress(b"\1")

    def full(*_: object) -> None:
        raise StorageError("full")

    with monkeypatch.context() as patch:
        patch.setattr("kinesis_fast.storage.directory.Directory.replace", full)
        assert not chunk.save_progress(b"\3")
    assert chunk.read().settled == b"\3"
    spool.close()


def test_n_bytes_equals_the_size_on_disk(root: Path) -> None:
    spool = open_spool(root)
    chunks = [spool.put(b"x" * 1000, "tag") for _ in range(4)]
    assert spool.n_bytes == n_bytes_on_disk(spool) > 4000
    chunks[0].save_progress(b"\1" * 100)
    chunks[0].save_progress(b"\1" * 10)
    chunks[1].save_progress(b"\1" * 10)
    assert spool.n_bytes == n_bytes_on_disk(spool)
    chunks[0].remove()
    chunks[2].remove()
    assert spool.n_bytes == n_bytes_on_disk(spool)
    spool.close()
    spool = open_spool(root)
    assert spool.n_bytes == n_bytes_on_disk(spool)
    for chunk in spool.pending():
        chunk.remove()
    assert (spool.n_bytes, files_of(spool)) == (0, [])
    spool.close()


def test_a_full_spool_refuses_chunks_until_there_is_room(root: Path) -> None:
    spool = open_spool(root, spool_max_bytes="10M")
    first = spool.put(b"x" * 6 * MB, "tag")
    with pytest.raises(SpoolFull, match=r"exceed spool_max_bytes, 10000000$"):
        spool.put(b"x" * 5 * MB, "tag")
    spool.put(b"x" * 3 * MB, "tag")
    with pytest.raises(SpoolFull):
        spool.put(b"x" * MB, "tag")
    assert len(files_of(spool)) == 2
    first.remove()
    spool.put(b"x" * 5 * MB, "tag")
    assert n_bytes_on_disk(spool) == spool.n_bytes <= 10 * MB
    spool.close()
    smaller = open_spool(root, spool_max_bytes="10M")
    assert len(smaller.pending()) == 2
    with pytest.raises(SpoolFull):
        smaller.put(b"x" * 3 * MB, "tag")
    smaller.close()


def test_a_tag_too_long_for_a_header(root: Path) -> None:
    spool = open_spool(root)
    long = "x" * 100_000
    spool.put(b"x", long).remove()
    spool.put(b"x", long)
    with pytest.raises(StorageError, match="too much for a header"):
        spool.put(b"x", "x" * (1 << 20))
    spool.close()
    spool = open_spool(root)
    assert [chunk.read().tag for chunk in spool.pending()] == [long]
    spool.close()


def test_many_threads_at_once(root: Path) -> None:
    spool = open_spool(root)

    def work(number: int) -> None:
        for index in range(20):
            chunk = spool.put(f"{number} {index}".encode(), "tag")
            chunk.save_progress(bytes([index]))
            assert index % 2 == 0 or chunk.remove()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [None] * 8
    assert spool.n_bytes == n_bytes_on_disk(spool)
    spool.close()
    spool = open_spool(root)
    assert sorted(chunk.read().payload for chunk in spool.pending()) == sorted(
        f"{number} {index}".encode() for number in range(8) for index in range(0, 20, 2)
    )
    spool.close()


def test_after_close(root: Path) -> None:
    spool = open_spool(root)
    chunk = spool.put(b"payload", "tag")
    spool.close()
    spool.close()
    for call in (lambda: spool.put(b"x", "tag"), chunk.read):
        with pytest.raises(StorageError, match="is closed"):
            call()
    assert not chunk.save_progress(b"\1")
    assert not chunk.remove()
    assert Path(chunk.path).exists()


def test_close_waits_for_a_put(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(root)
    is_syncing, may_go_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def slow_fsync(fd: int) -> None:
        is_syncing.set()
        assert may_go_on.wait(30)
        fsync(fd)

    monkeypatch.setattr("os.fsync", slow_fsync)
    putting = threading.Thread(target=spool.put, args=(b"payload", "tag"), daemon=True)
    putting.start()
    assert is_syncing.wait(30)
    closing = threading.Thread(target=spool.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    may_go_on.set()
    putting.join()
    closing.join()
    monkeypatch.undo()
    spool = open_spool(root)
    assert [chunk.read().payload for chunk in spool.pending()] == [b"payload"]
    spool.close()


def test_errors_that_do_not_end_a_delivery_are_logged_once_a_minute(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    spool = Spool.open(spool_config(root), clock=lambda: now)
    chunks = [spool.put(b"x", "tag") for _ in range(2)]
    for chunk in chunks:
        path = Path(chunk.path)
        path.unlink()
        path.mkdir()
        assert not chunk.remove()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "Is a directory (EISDIR)" in caplog.text
    assert "will be sent again after the next start" in caplog.text
    now += 60
    assert not chunks[0].remove()
    assert len(caplog.records) == 2
    spool.close()
