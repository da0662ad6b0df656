"""Spool and SpooledChunk, which the delivery uses."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import DamagedChunk, SpoolFull, StorageError
from kinesis_fast.logs import LOGGER, Log
from kinesis_fast.storage.directory import Directory, shown
from kinesis_fast.storage.spool.chunk_file import (
    Header,
    encode_header,
    encode_progress,
    parse_header,
)
from kinesis_fast.storage.spool.claim import claim
from kinesis_fast.storage.spool.identity import identity_of
from kinesis_fast.storage.spool.scan import (
    PROGRESS,
    Found,
    chunk_name,
    look_through,
    progress_of,
    read_payload,
    set_aside,
)

Chunk = bytes | bytearray | memoryview

LOG_INTERVAL_S: Final = 60.0  # at least this long between two lines about failed calls


class Spool:
    """The chunks of one output on disk; several threads may call every method at once.

    It belongs to the process that opened it. In a forked child put() and read() raise StorageError;
    the child opens a spool of its own, which has another directory.
    """

    def __init__(
        self, directory: Directory, identity: dict[str, str], max_bytes: int, log: Log
    ) -> None:
        self._directory = directory
        self._identity = identity
        self._max_bytes = max_bytes
        self._log = log
        self._lock = threading.Condition(threading.Lock())
        self._n_calls = 0  # calls in progress, which need the directory open
        self._is_closing = False
        self._n_bytes = 0
        self._last_logged_at = -LOG_INTERVAL_S
        self._found: list[SpooledChunk] = []
        for found in look_through(directory):
            self._n_bytes += found.n_bytes
            if found.header is not None:
                progress = progress_of(directory, found)
                n_progress = directory.size(found.name + PROGRESS) or 0
                self._n_bytes += n_progress
                self._found.append(SpooledChunk(self, found, found.header, progress, n_progress))

    @classmethod
    def open(cls, config: OutputConfig, log: Log = LOGGER) -> Self:
        """Open the spool of an output: claim a directory in spool_dir and find its chunks.

        Args:
            config: with a spool_dir.
            log: where lines about damaged chunks and chunks with other options go.

        Raises:
            StorageError: the directory cannot be made, opened or locked.
        """
        if config.spool_dir is None:
            raise StorageError("a spool needs the option spool_dir")
        identity = identity_of(config)
        root = Directory.open(config.spool_dir, create=True)
        try:
            directory = claim(root, identity, log)
        finally:
            root.close()
        try:
            return cls(directory, identity, config.spool_max_bytes, log)
        except BaseException:
            directory.close()
            raise

    @property
    def path(self) -> str:
        """Path of the directory of this output."""
        return self._directory.path

    @property
    def n_bytes(self) -> int:
        """Size of all its files, with headers, progress and damaged chunks."""
        with self._lock:
            return self._n_bytes

    def put(self, chunk: Chunk, tag: str) -> "SpooledChunk":
        """Write a chunk; when this returns, it survives a crash of the process or the machine.

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
            with self._open_directory() as directory:
                self._reserve(n_bytes)
                try:
                    directory.write_durably(name, (header, view))
                except BaseException:
                    self._account(-n_bytes)
                    raise
        parsed = parse_header(header, n_bytes)
        return SpooledChunk(self, Found(name, n_bytes, parsed), parsed, b"", 0)

    def pending(self) -> list["SpooledChunk"]:
        """Return the chunks of an earlier run that are not removed yet, oldest first."""
        return [chunk for chunk in self._found if not chunk.is_removed]

    def close(self) -> None:
        """Release the directory for the next output; its files stay. A second call does nothing."""
        if not self._directory.is_open:  # in a forked child self._lock may be held for ever
            return
        with self._lock:
            self._is_closing = True
            self._lock.wait_for(lambda: not self._n_calls)
        self._directory.close()

    @contextmanager
    def _open_directory(self) -> Iterator[Directory]:
        """Keep the directory open during a call; StorageError when it is closed."""
        is_open = (
            self._directory.is_open
        )  # first: in a forked child self._lock may be held for ever
        if is_open:
            with self._lock:
                is_open = not self._is_closing
                self._n_calls += is_open
        if not is_open:
            raise StorageError(f"the spool {shown(self.path)} is closed in this process")
        try:
            yield self._directory
        finally:
            with self._lock:
                self._n_calls -= 1
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

    def _try(self, action: Callable[[Directory], None], consequence: str) -> bool:
        """Do something whose failure must not end a delivery; log one failure a minute.

        Returns:
            Whether it was done.
        """
        if self._is_closing or not self._directory.is_open:
            return False
        try:
            with self._open_directory() as directory:
                action(directory)
        except StorageError as error:
            with self._lock:
                now = time.monotonic()
                is_due = now - self._last_logged_at >= LOG_INTERVAL_S
                if is_due:
                    self._last_logged_at = now
            if is_due:
                self._log.error("%s; %s", error, consequence)
            return False
        return True


class SpooledChunk:
    """A chunk on disk; made by Spool.

    Attributes:
        tag: Fluent Bit's name for the source.
        time_ns: when it was spooled, nanoseconds since 1970.
        n_bytes: of the chunk as it was put.
        progress: a bit for each event, in order, lowest bit first, 1 when the event is settled.
            Missing bits at the end are 0.
    """

    def __init__(
        self, spool: Spool, found: Found, header: Header, progress: bytes, n_progress: int
    ) -> None:
        self.tag = header.tag
        self.time_ns = header.time_ns
        self.n_bytes = header.n_payload
        self.progress = bytearray(progress)
        self._spool = spool
        self._header = header
        self._name = found.name
        self._n_file = found.n_bytes
        self._n_progress = n_progress  # size of the progress file
        self._lock = threading.Lock()
        self._is_removed = False

    @property
    def is_removed(self) -> bool:
        """Whether remove() was called, or the chunk turned out to be damaged."""
        return self._is_removed

    @property
    def path(self) -> str:
        """Path of its file."""
        return f"{self._spool.path}/{self._name}"

    def read(self) -> bytes:
        """Return the chunk as it was put.

        Raises:
            DamagedChunk: its file is damaged, and now set aside; or the file is missing.
            StorageError: the system reports an error, which may be temporary.
        """
        with self._spool._open_directory() as directory:
            payload = read_payload(directory, self._name, self._header)
            if payload is not None:
                return payload
            with self._lock:
                self._is_removed = True
            if directory.size(self._name) is None:
                raise DamagedChunk(f"{shown(self.path)} is missing: it was removed from outside")
            problem = "the checksum of its payload is wrong"
            set_aside(directory, self._name, problem, self._spool._log)
            raise DamagedChunk(f"{shown(self.path)} is damaged: {problem}")

    def save_progress(self, progress: bytes | bytearray) -> bool:
        """Write down which events are settled, for the next start.

        This is not durable: after a crash of the machine older progress, or none, may be found, and
        then records arrive twice. Each call writes a small file, so collect some events first.

        Args:
            progress: the new value of the attribute.

        Returns:
            Whether it was written: not after remove(), and not when the system reports an error.
        """
        bits = bytes(progress)
        file = encode_progress(self._header.digest, bits)
        with self._lock:
            self.progress[:] = bits
            return not self._is_removed and self._spool._try(
                lambda directory: self._write_progress(directory, file),
                "after a restart, records may arrive twice",
            )

    def _write_progress(self, directory: Directory, file: bytes) -> None:
        directory.replace(self._name + PROGRESS, (file,))
        self._spool._account(len(file) - self._n_progress)
        self._n_progress = len(file)

    def remove(self) -> bool:
        """Remove it from the disk, when its last record is settled.

        This is not durable: after a crash of the machine the chunk may be back.

        Returns:
            Whether it is removed. After an error or close() it is not; the next start sends it.
        """
        with self._lock:
            if self._is_removed:
                return True
            self._is_removed = self._spool._try(
                self._remove_files, "the chunk will be sent again after the next start"
            )
            return self._is_removed

    def _remove_files(self, directory: Directory) -> None:
        # In this order: a chunk without its progress would be sent again as a whole.
        directory.remove(self._name)
        self._spool._account(-self._n_file)
        self._n_file = 0
        directory.remove(self._name + PROGRESS)
        self._spool._account(-self._n_progress)
        self._n_progress = 0
