"""Spool and SpooledChunk, which the delivery uses."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from kinesis_fast.condition import Condition
from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import DamagedChunk, SpoolFull, StorageError
from kinesis_fast.logs import LOGGER, Log, LogLimit
from kinesis_fast.storage.directory import Directory, shown
from kinesis_fast.storage.spool.chunk_file import (
    UnknownVersion,
    digest_of,
    encode_header,
    encode_progress,
)
from kinesis_fast.storage.spool.claim import claim
from kinesis_fast.storage.spool.identity import identity_of
from kinesis_fast.storage.spool.scan import (
    NS,
    PROGRESS,
    chunk_name,
    each_size,
    progress_of,
    read_chunk,
    set_aside,
    spooled_at,
)

Chunk = bytes | bytearray | memoryview

LOCK_S: Final = 2.0  # how long a put waits while others look through the spool, seconds
CLOSE_S: Final = 2.0  # how long close() waits for calls in progress, seconds
N_CHUNK_LOCKS: Final = 64


class Spool:
    """The chunks of one output on disk; several threads may call every method at once.

    It belongs to the process that opened it. In a forked child put() and read() raise StorageError;
    the child opens a spool of its own, which has another directory.
    """

    def __init__(
        self, config: OutputConfig, log: Log = LOGGER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if config.spool_dir is None:
            raise StorageError("a spool needs the option spool_dir")
        self._root_path = config.spool_dir
        self._identity = identity_of(config)
        self._max_bytes = config.spool_max_bytes
        self._log = log
        self._log_limit = LogLimit(clock)
        self._lock = Condition(threading.Lock())
        self._chunk_locks = [threading.Lock() for _ in range(N_CHUNK_LOCKS)]
        self._claim_lock = threading.Lock()
        self._n_calls = 0  # calls in progress, which need the directories open
        self._is_closing = False
        self._is_left_open = False  # until the last call ends
        self._n_bytes = 0
        self._n_by_second: dict[int, int] = {}  # chunks by when they were spooled
        self._found: list[SpooledChunk] = []
        self._directory = self._claim(None)
        self._replaced: list[Directory] = []  # earlier ones, which chunks may still be in

    @classmethod
    def open(
        cls, config: OutputConfig, log: Log = LOGGER, clock: Callable[[], float] = time.monotonic
    ) -> Self:
        """Open the spool of an output: claim a directory in spool_dir and find its chunks.

        Args:
            config: with a spool_dir.
            log: where lines about damaged chunks and chunks with other options go.
            clock: returns seconds that never go back.

        Raises:
            StorageError: the directory cannot be made, opened or locked.
        """
        return cls(config, log, clock)

    @property
    def path(self) -> str:
        """Path of the directory of this output."""
        return self._directory.path

    @property
    def n_bytes(self) -> int:
        """Size of all its files, with headers, progress and damaged chunks."""
        return self._n_bytes

    @property
    def max_bytes(self) -> int:
        """The most that its files may be."""
        return self._max_bytes

    @property
    def n_chunks(self) -> int:
        """Chunks that are not settled, those of earlier runs included; not the damaged ones."""
        return sum(self._n_by_second.copy().values())

    @property
    def oldest_age_s(self) -> float:
        """Seconds since the oldest of them was spooled, to the second; 0 if there is none."""
        oldest = min(self._n_by_second.copy(), default=None)
        return 0.0 if oldest is None else max(0.0, time.time_ns() / NS - oldest)

    def put(self, chunk: Chunk, tag: str) -> "SpooledChunk":
        """Write a chunk; when this returns, it survives a crash of the process or the machine.

        When the directory of this output was removed, moved or replaced, it claims one anew.

        Args:
            chunk: bytes-like and contiguous; not used after the return.
            tag: Fluent Bit's name for the source.

        Raises:
            SpoolFull: it would exceed spool_max_bytes.
            StorageError: the system reports an error. Then nothing of the chunk is on the disk.
        """
        time_ns = time.time_ns()
        with memoryview(chunk) as view:
            try:
                header = encode_header(tag, time_ns, self._identity, view)
            except ValueError as error:
                raise StorageError(f"cannot spool a chunk: {error}") from None
            name = chunk_name(time_ns, int.from_bytes(os.urandom(8)))
            n_bytes = len(header) + view.nbytes
            with self._while_open():
                directory = self._directory_in_place()
                self._reserve(n_bytes)
                try:
                    directory.write_durably(name, (header, view))
                except BaseException:
                    self._account(-n_bytes)
                    raise
                self._count(name, 1)
        return SpooledChunk(self, directory, name, n_bytes, digest=digest_of(header))

    def pending(self) -> list["SpooledChunk"]:
        """Return the chunks of an earlier run, oldest first; each is returned once.

        After the start there may be more when the directory was replaced, see put().
        """
        with self._lock:
            found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Release the directory for the next output; its files stay. A second call does nothing.

        A call that hangs, on a disk that does not respond for instance, releases it when it ends.
        """
        if not self._directory.is_open:  # in a forked child self._lock may be held for ever
            return
        with self._lock:
            self._is_closing = True
            if self._lock.wait_for(lambda: not self._n_calls, CLOSE_S):
                self._release()
                return
            self._is_left_open, n_calls = True, self._n_calls
        self._log.warning(
            "the spool %s stays locked until the disk responds; calls that wait for it: %d",
            *(shown(self.path), n_calls),
        )

    def _release(self) -> None:
        """Close the directories, which no call needs; the lock is held."""
        for directory in (*self._replaced, self._directory):
            directory.close()

    def _claim(self, lock_s: float | None) -> Directory:
        """Claim a directory, and note what is in it."""
        root = Directory.open(self._root_path, create=True)
        try:
            directory = claim(root, self._identity, self._log, lock_s, lambda: not self._is_closing)
        finally:
            root.close()
        try:
            n_bytes, found = 0, []
            for size in each_size(directory):
                n_bytes += size.n_bytes + size.n_progress
                if not size.is_set_aside:
                    name, n_file, n_progress, _ = size
                    found.append(SpooledChunk(self, directory, name, n_file, n_progress))
        except BaseException:
            directory.close()
            raise
        with self._lock:
            self._n_bytes += n_bytes
            self._found += found
        for chunk in found:
            self._count(chunk._name, 1)
        return directory

    def _directory_in_place(self) -> Directory:
        """Return the directory; claim one anew when its path no longer leads to it."""
        directory = self._directory
        if directory.is_in_place():
            return directory
        with self._claim_lock:
            if self._directory is directory:
                new = self._claim(LOCK_S)
                self._replaced.append(directory)
                self._directory = new
                self._log.warning(
                    "the spool %s was removed, moved or replaced; new chunks are kept in %s",
                    shown(directory.path),
                    shown(new.path),
                )
            return self._directory

    @contextmanager
    def _while_open(self) -> Iterator[None]:
        """Keep the directories open during a call; StorageError when they are closed."""
        # This first: in a forked child self._lock may be held for ever.
        is_open = self._directory.is_open
        if is_open:
            with self._lock:
                is_open = not self._is_closing
                self._n_calls += is_open
        if not is_open:
            raise StorageError(f"the spool {shown(self.path)} is closed in this process")
        try:
            yield
        finally:
            with self._lock:
                self._n_calls -= 1
                if self._is_left_open and not self._n_calls:
                    self._release()
                self._lock.notify_all()

    def _reserve(self, n_bytes: int) -> None:
        with self._lock:
            if self._n_bytes + n_bytes > self._max_bytes:
                raise SpoolFull(
                    f"the spool {shown(self.path)} holds {self._n_bytes} bytes; a chunk of "
                    f"{n_bytes} bytes would exceed spool_max_bytes, {self._max_bytes}"
                )
            self._n_bytes += n_bytes

    def _account(self, change: int) -> None:
        with self._lock:
            self._n_bytes += change

    def _count(self, name: str, change: int) -> None:
        """Count a chunk that was written, or that is no longer to be sent."""
        second = spooled_at(name)
        with self._lock:
            n_chunks = self._n_by_second.get(second, 0) + change
            if n_chunks > 0:
                self._n_by_second[second] = n_chunks
            else:
                self._n_by_second.pop(second, None)

    def _try(self, action: Callable[[], None], consequence: str) -> bool:
        """Do something whose failure must not end a delivery; log one failure a minute.

        Returns:
            Whether it was done.
        """
        if self._is_closing or not self._directory.is_open:
            return False
        try:
            with self._while_open():
                action()
        except StorageError as error:
            if self._log_limit.count():
                self._log.error("%s; %s", error, consequence)
            return False
        return True


class SpooledContent(NamedTuple):
    """What SpooledChunk.read() returns.

    Attributes:
        tag: Fluent Bit's name for the source.
        payload: the chunk as it was put.
        settled: a bit for each event, in order, lowest bit first, 1 when the event is settled.
            Missing bits at the end are 0.
        time_ns: when it was spooled, nanoseconds since 1970.
    """

    tag: str
    payload: bytes
    settled: bytes
    time_ns: int


class SpooledChunk:
    """A chunk on disk; made by Spool.

    There may be a great many, so what its file says is read only when it is wanted.
    """

    __slots__ = (
        *("_spool", "_directory", "_name", "_n_file", "_n_progress"),
        *("_digest", "_settled", "_is_removed"),
    )

    def __init__(
        self,
        spool: Spool,
        directory: Directory,
        name: str,
        n_file: int,
        n_progress: int = 0,
        digest: bytes | None = None,
    ) -> None:
        self._spool = spool
        self._directory = directory
        self._name = name
        self._n_file = n_file
        self._n_progress = n_progress  # size of the progress file
        self._digest = digest  # of the header; None before an earlier run's chunk is read
        self._settled: bytes | None = None  # the bits that save_progress() got
        self._is_removed = False

    @property
    def n_bytes(self) -> int:
        """Size of its file."""
        return self._n_file

    @property
    def is_removed(self) -> bool:
        """Whether remove() was called, or the chunk turned out to be damaged."""
        return self._is_removed

    @property
    def path(self) -> str:
        """Path of its file."""
        return f"{self._directory.path}/{self._name}"

    def read(self) -> SpooledContent:
        """Return what is on the disk.

        Raises:
            DamagedChunk: its file is damaged, and now set aside; or the file is missing.
            StorageError: the system reports an error, which may be temporary.
        """
        with self._spool._while_open(), self._lock:
            try:
                chunk = read_chunk(self._directory, self._name)
                if chunk is None:
                    raise DamagedChunk(
                        f"{shown(self.path)} is missing: it was removed from outside"
                    )
            except UnknownVersion as error:
                raise StorageError(f"cannot read {shown(self.path)}: {error}") from None
            except DamagedChunk:
                self._is_removed = True
                self._remove_files()
                raise
            except ValueError as error:
                self._is_removed = True
                self._spool._count(self._name, -1)
                set_aside(self._directory, self._name, str(error), self._spool._log)
                raise DamagedChunk(f"{shown(self.path)} is damaged: {error}") from None
            header, payload = chunk
            self._digest = header.digest
            settled = self._settled
            if settled is None:
                settled = b""
                if self._n_progress:
                    settled = progress_of(self._directory, self._name, header)
            return SpooledContent(header.tag, payload, settled, header.time_ns)

    def save_progress(self, settled: bytes | bytearray) -> bool:
        """Write down which events are settled, for the next start.

        This is not durable: after a crash of the machine older progress, or none, may be found, and
        then records arrive twice. Each call writes a small file, so collect some events first.

        Args:
            settled: bits as in SpooledContent. read() returns them from now on.

        Returns:
            Whether it was written: not before the first read() of an earlier run's chunk, not after
            remove(), and not when the system reports an error.
        """
        with self._lock:
            self._settled = bits = bytes(settled)
            if self._is_removed or self._digest is None:
                return False
            file = encode_progress(self._digest, bits)
            return self._spool._try(
                lambda: self._write_progress(file), "after a restart, records may arrive twice"
            )

    def remove(self) -> bool:
        """Remove it from the disk, when its last record is settled.

        This is not durable: after a crash of the machine the chunk may be back.

        Returns:
            Whether it is removed. After an error or close() it is not; the next start sends it.
        """
        with self._lock:
            if not self._is_removed:
                self._is_removed = self._spool._try(
                    self._remove_files, "the chunk will be sent again after the next start"
                )
            return self._is_removed

    @property
    def _lock(self) -> threading.Lock:
        """One that several chunks share: a lock of its own would double the size of a chunk."""
        locks = self._spool._chunk_locks
        return locks[hash(self._name) % len(locks)]

    def _write_progress(self, file: bytes) -> None:
        self._directory.replace(self._name + PROGRESS, (file,))
        self._spool._account(len(file) - self._n_progress)
        self._n_progress = len(file)

    def _remove_files(self) -> None:
        # In this order: a chunk without its progress would be sent again as a whole.
        self._directory.remove(self._name)
        if self._n_file:
            self._spool._count(self._name, -1)
        self._spool._account(-self._n_file)
        self._n_file = 0
        if self._n_progress:
            self._directory.remove(self._name + PROGRESS)
            self._spool._account(-self._n_progress)
            self._n_progress = 0
