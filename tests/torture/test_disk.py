"""A disk that is full or fails under load: flush says RETRY, and what it said OK for arrives."""

import errno
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chunks import chunk_of, output_config
from faulty_os import FaultyOs, install
from loopback_settings import program_environment
from outputs import assert_balanced
from raw_server import RawServer
from recording_service import Recorder

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
    """A file system of its own."""
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


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A service on the loopback, and credentials for it."""
    for name, value in program_environment().items():
        monkeypatch.setenv(name, value)
    recorder = Recorder()
    with recorder.server:
        yield recorder


def open_output(root: Path, server: RawServer) -> KinesisOutput:
    chance = random.Random(1)
    config = output_config(
        endpoint=server.url,
        spool_dir=str(root),
        experimental_concurrency="2",
    )
    return KinesisOutput(config, timing=Timing(random=lambda: chance.random() * 0.002))


def chunk(number: int) -> bytes:
    """Return a chunk of some 100 KB; its number is not repeated."""
    pad = "x" * 100
    return chunk_of({"n": number * BASE + index, "pad": pad} for index in range(N_EVENTS))


def numbers_of(chunks: set[int]) -> set[int]:
    return {number * BASE + index for number in chunks for index in range(N_EVENTS)}


class Load:
    """Chunks from several threads, each brought once; what flush said of them."""

    def __init__(self) -> None:
        self.results: dict[int, FlushResult] = {}
        self._next = 0
        self._lock = threading.Lock()

    def put_on(self, output: KinesisOutput, n_chunks: int) -> None:
        """Flush so many chunks more from each of N_THREADS threads."""
        threads = [
            threading.Thread(target=self._flush, args=(output, n_chunks)) for _ in range(N_THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _flush(self, output: KinesisOutput, n_chunks: int) -> None:
        for _ in range(n_chunks):
            with self._lock:
                number = self._next
                self._next += 1
            self.results[number] = output.flush(chunk(number))

    def told(self, result: FlushResult) -> set[int]:
        """Return the chunks that flush said this of."""
        return {number for number, said in self.results.items() if said is result}


def wait_until_empty(root: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(root.glob("*/*.chunk")):
        assert time.monotonic() < deadline, "the spool does not empty"
        time.sleep(0.01)


def files_in(root: Path) -> list[Path]:
    return [path for path in root.glob("*/*") if path.is_file()]


def arrived(recorder: Recorder) -> Counter[int]:
    return Counter(number for request in recorder.accepted for number in request.numbers)


@pytest.mark.parametrize("error_share", [1.0, 0.8])
def test_a_disk_that_is_full(
    error_share: float, small_disk: Path, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing, or little, is taken by the service until the disk is full; then it heals."""
    root = small_disk / "spool"
    recorder.error_share = error_share
    load = Load()
    output = open_output(root, recorder.server)
    load.put_on(output, 30)
    assert load.told(OK) and load.told(RETRY)
    assert caplog.text.count("ENOSPC") >= 1
    recorder.error_share = 0.0
    wait_until_empty(root)
    load.put_on(output, 1)
    output.close(PATIENCE_S)
    stats = output.stats()
    assert_balanced(stats)
    assert stats["returned"] == N_EVENTS * len(load.told(RETRY))
    assert stats["delivered"] == N_EVENTS * len(load.told(OK))
    assert arrived(recorder) == Counter(numbers_of(load.told(OK)))
    assert files_in(root) == []


@pytest.mark.parametrize("error_share", [1.0, 0.8])
def test_a_start_on_a_full_disk(error_share: float, small_disk: Path, recorder: Recorder) -> None:
    root = small_disk / "spool"
    recorder.error_share = error_share
    load = Load()
    for _ in range(3):
        output = open_output(root, recorder.server)
        load.put_on(output, 20)
        output.close(0.05)
        assert_balanced(output.stats())
    assert load.told(RETRY)
    recorder.error_share = 0.0
    output = open_output(root, recorder.server)
    wait_until_empty(root)
    output.close(PATIENCE_S)
    assert_balanced(output.stats())
    assert arrived(recorder).keys() == numbers_of(load.told(OK))
    assert files_in(root) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
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
    assert len(load.told(RETRY)) > 5
    stats = output.stats()
    assert_balanced(stats)
    assert stats["returned"] == N_EVENTS * len(load.told(RETRY))
    recorder.error_share = 0.0
    output = open_output(root, recorder.server)
    wait_until_empty(root)
    output.close(PATIENCE_S)
    assert_balanced(output.stats())
    assert output.stats()["dead"] == 0
    found = arrived(recorder)
    assert not numbers_of(load.told(OK)) - found.keys()
    # A chunk whose last sync failed, and the removal after it too, may have stayed.
    assert not found.keys() - numbers_of(set(load.results))
    assert files_in(root) == []


def test_a_disk_that_fails_from_some_moment_on(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then flush says RETRY, and what is in flight arrives all the same."""
    root = tmp_path / "spool"
    load = Load()
    output = open_output(root, recorder.server)
    load.put_on(output, 5)
    with monkeypatch.context() as patch:
        install(patch, FaultyOs(lambda _index, _name: True, errno.EIO))
        before = load.told(RETRY)
        load.put_on(output, 5)
        assert len(load.told(RETRY) - before) == 5 * N_THREADS
        with pytest.raises(StorageError):
            open_output(tmp_path / "other", recorder.server)
    load.put_on(output, 5)
    output.close(PATIENCE_S)
    assert_balanced(output.stats())
    output = open_output(root, recorder.server)
    wait_until_empty(root)
    output.close(PATIENCE_S)
    assert arrived(recorder).keys() == numbers_of(load.told(OK))
    assert len(load.told(OK)) == 10 * N_THREADS
