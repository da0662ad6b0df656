"""A disk that is full or fails under load: chunks are returned with RETRY, or they arrive."""

import errno
import random
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from arrivals import arrived_numbers
from chunks import chunk_of, output_config
from faulty_os import FaultyOs, install
from outputs import assert_balanced
from raw_server import RawServer
from recording_service import Recorder
from spools import all_files, wait_until_empty

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.context import Timing
from kinesis_fast.errors import StorageError

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DISK = "4m"
N_THREADS = 3
PATIENCE_S = 30.0
BASE = 10_000  # numbers of records: of the chunk times this, and of the event
N_EVENTS = 700
FAIL_SHARE = 0.07  # of the calls of the operating system


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("needs mount(8)")
    options = f"size={DISK},mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the permission to mount a tmpfs: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def open_output(root: Path, server: RawServer) -> KinesisOutput:
    chance = random.Random(1)
    config = output_config(
        endpoint=server.url,
        spool_dir=str(root),
        experimental_concurrency="2",
    )
    return KinesisOutput(config, timing=Timing(random=lambda: chance.random() * 0.002))


def chunk(number: int) -> bytes:
    """Return a chunk of about 100 KB; no two chunks share a record."""
    pad = "x" * 100
    return chunk_of({"n": number * BASE + index, "pad": pad} for index in range(N_EVENTS))


def numbers_of(chunks: set[int]) -> set[int]:
    return {number * BASE + index for number in chunks for index in range(N_EVENTS)}


class Load:
    """Chunks from several threads, each flushed once, and the results."""

    def __init__(self) -> None:
        self.results: dict[int, FlushResult] = {}
        self._next = 0
        self._lock = threading.Lock()

    def put_on(self, output: KinesisOutput, n_chunks: int) -> None:
        """Flush n_chunks more chunks from each of N_THREADS threads."""
        with ThreadPoolExecutor(N_THREADS) as pool:
            list(pool.map(self._flush, [output] * N_THREADS, [n_chunks] * N_THREADS))

    def _flush(self, output: KinesisOutput, n_chunks: int) -> None:
        for _ in range(n_chunks):
            with self._lock:
                number = self._next
                self._next += 1
            self.results[number] = output.flush(chunk(number))

    def chunks_with(self, result: FlushResult) -> set[int]:
        """Return the chunks for which flush returned this."""
        return {number for number, found in self.results.items() if found is result}


@pytest.mark.parametrize("error_share", [1.0, 0.8])
def test_a_disk_that_is_full(
    error_share: float, small_disk: Path, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The service accepts nothing, or little, until the disk is full; then it recovers."""
    root = small_disk / "spool"
    recorder.error_share = error_share
    load = Load()
    output = open_output(root, recorder.server)
    load.put_on(output, 30)
    assert load.chunks_with(OK) and load.chunks_with(RETRY)
    assert caplog.text.count("ENOSPC") >= 1
    recorder.error_share = 0.0
    wait_until_empty(root, PATIENCE_S)
    load.put_on(output, 1)
    output.close(PATIENCE_S)
    stats = output.stats()
    assert_balanced(stats)
    assert stats["returned"] == N_EVENTS * len(load.chunks_with(RETRY))
    assert stats["delivered"] == N_EVENTS * len(load.chunks_with(OK))
    assert arrived_numbers(recorder) == Counter(numbers_of(load.chunks_with(OK)))
    assert all_files(root) == []


@pytest.mark.parametrize("error_share", [pytest.param(1.0, marks=pytest.mark.long), 0.8])
def test_a_start_on_a_full_disk(error_share: float, small_disk: Path, recorder: Recorder) -> None:
    root = small_disk / "spool"
    recorder.error_share = error_share
    load = Load()
    for _ in range(3):
        output = open_output(root, recorder.server)
        load.put_on(output, 20)
        output.close(0.05)
        assert_balanced(output.stats())
    assert load.chunks_with(RETRY)
    recorder.error_share = 0.0
    output = open_output(root, recorder.server)
    wait_until_empty(root, PATIENCE_S)
    output.close(PATIENCE_S)
    assert_balanced(output.stats())
    assert arrived_numbers(recorder).keys() == numbers_of(load.chunks_with(OK))
    assert all_files(root) == []


@pytest.mark.parametrize(
    "number",
    [errno.EIO, *(pytest.param(n, marks=pytest.mark.long) for n in (errno.ENOSPC, errno.EROFS))],
)
def test_a_disk_that_fails_now_and_then(
    number: int, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    load = Load()
    recorder.error_share = 0.3
    chance = random.Random(number)
    with monkeypatch.context() as patch:
        faulty = FaultyOs(lambda _index, _name: chance.random() < FAIL_SHARE, number)
        output = open_output(root, recorder.server)
        install(patch, faulty)
        load.put_on(output, 40)
        output.close(0.2)
    n_calls = Counter(faulty.calls)
    assert n_calls["fsync file"] > 50
    assert n_calls["fsync directory"] > 50
    assert len(load.chunks_with(RETRY)) > 5
    stats = output.stats()
    assert_balanced(stats)
    assert stats["returned"] == N_EVENTS * len(load.chunks_with(RETRY))
    recorder.error_share = 0.0
    output = open_output(root, recorder.server)
    wait_until_empty(root, PATIENCE_S)
    output.close(PATIENCE_S)
    assert_balanced(output.stats())
    assert output.stats()["dead"] == 0
    found = arrived_numbers(recorder)
    assert not numbers_of(load.chunks_with(OK)) - found.keys()
    # A chunk whose last sync failed may have stayed, if its removal failed as well.
    assert not found.keys() - numbers_of(set(load.results))
    assert all_files(root) == []


def test_a_disk_that_fails_from_some_moment_on(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then flush returns RETRY; chunks that are in memory still arrive."""
    root = tmp_path / "spool"
    load = Load()
    output = open_output(root, recorder.server)
    load.put_on(output, 5)
    with monkeypatch.context() as patch:
        install(patch, FaultyOs(lambda _index, _name: True, errno.EIO))
        before = load.chunks_with(RETRY)
        load.put_on(output, 5)
        assert len(load.chunks_with(RETRY) - before) == 5 * N_THREADS
        with pytest.raises(StorageError):
            open_output(tmp_path / "other", recorder.server)
    load.put_on(output, 5)
    output.close(PATIENCE_S)
    assert_balanced(output.stats())
    output = open_output(root, recorder.server)
    wait_until_empty(root, PATIENCE_S)
    output.close(PATIENCE_S)
    assert arrived_numbers(recorder).keys() == numbers_of(load.chunks_with(OK))
    assert len(load.chunks_with(OK)) == 10 * N_THREADS
