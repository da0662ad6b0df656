"""Dead letters: records that can never be delivered, written to a file as lines of JSON.

Outputs append to `dead-letters.jsonl`; `.1`, `.2` and so on are older files. Several outputs and
processes can share the directory: each write takes the directory's lock. A line has the members

=========  ========================================================================================
time       of the event, or the current time if the event has none: ISO 8601, UTC, nanoseconds
region     of the stream
stream     that the record was for, its name or ARN
reason     why the record cannot be delivered, a few words
tag        Fluent Bit's name for the source
detail     the message of the service or the encoder
n_bytes    of the event
event      base64 of the event as it was in the chunk
cut        true when only the start of a long event is here; otherwise absent
=========  ========================================================================================

Dead letters are not synced to the disk one by one: a crash of the machine may lose the last ones.
"""

import base64
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import accumulate
from typing import Final, Self

from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import StorageError
from kinesis_fast.logs import LOGGER, Log, LogLimit
from kinesis_fast.storage.directory import Directory, shown

FILE: Final = "dead-letters.jsonl"
N_FILES: Final = 4  # so that each rotation drops about a quarter of the dead letters
LOCK_S: Final = 2.0  # how long deliveries wait while other outputs write, seconds
LOCK_PERIOD_S: Final = 60.0  # seconds in which all long waits together last LOCK_S
SHORT_WAIT_S: Final = 0.1  # so much of a wait that ends well does not count: others are writing
BLOCK_BYTES: Final = 1 << 20  # lines in memory before they are written, roughly
MAX_REASON, MAX_TAG, MAX_DETAIL = 100, 500, 500  # characters in a dead letter
NS: Final = 1_000_000_000

# Reason, tag, event, its time (ns since 1970) if it has one, detail; see `DeadLetters.add`.
Letter = tuple[str, str, bytes | memoryview, int | None, str]

_OLDER: Final = re.compile(re.escape(FILE) + r"\.([0-9]{1,9})", re.ASCII)
_MAX_FIELDS_BYTES: Final = 16 * 1024  # of a line without the event, every character escaped


class DeadLetters:
    """Writes dead letters; several threads and processes may call every method at once.

    No file stays open between two calls, so a forked child can use it too.

    Args:
        config: with a dead_letter_dir.
        log: where a line goes when dead letters are dropped or cannot be written.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        config: OutputConfig,
        log: Log = LOGGER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if config.dead_letter_dir is None:
            raise StorageError("dead letters need the option dead_letter_dir")
        self._path = config.dead_letter_dir
        self._target = {"region": config.region, "stream": config.stream}
        self._max_bytes = config.dead_letter_max_bytes
        self._max_file = config.dead_letter_max_bytes // N_FILES
        self._log = log
        self._clock = clock
        self._log_limit = LogLimit(clock)
        self._lock = threading.Lock()
        self._n_lost = 0
        self._n_written = 0
        self._patience_s = 0.0  # how long deliveries may still wait for the lock
        self._patient_again_at = -math.inf

    @classmethod
    def open(
        cls,
        config: OutputConfig,
        log: Log = LOGGER,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Make the directory if it is missing, and check that it can be used.

        Raises:
            StorageError: it cannot be used; the text says why.
        """
        dead_letters = cls(config, log, clock)
        Directory.open(dead_letters._path, create=True).close()
        return dead_letters

    @property
    def n_lost(self) -> int:
        """How many dead letters could not be written."""
        return self._n_lost

    @property
    def n_written(self) -> int:
        """How many dead letters were written."""
        return self._n_written

    def add(
        self,
        reason: str,
        tag: str,
        event: bytes | memoryview,
        time_ns: int | None = None,
        detail: str = "",
    ) -> bool:
        """Write a dead letter. A failed write is counted and logged once a minute, not raised.

        Args:
            reason: why the record cannot be delivered, a few words.
            tag: Fluent Bit's name for the source.
            event: as it was in the chunk, bytes-like.
            time_ns: of the event, nanoseconds since 1970, None when it has none.
            detail: the message of the service or the encoder.

        Returns:
            Whether it was written.
        """
        return self.add_all([(reason, tag, event, time_ns, detail)]) == 1

    def add_all(self, letters: Iterable[Letter]) -> int:
        """Write dead letters, all that fit into a block at once; failures are as in add().

        After a failed write it does not try to write the rest.

        Args:
            letters: each with the arguments of add(); looked at one after the other.

        Returns:
            How many were written.
        """
        n_written = 0
        rest = iter(letters)
        while lines := self._next_block(rest):
            n_lines = len(lines)
            try:
                self._write(lines)
            except StorageError as error:
                self._log_lost(len(lines) + sum(1 for _ in rest), error)
            n_written += n_lines - len(lines)
        with self._lock:
            self._n_written += n_written
        return n_written

    def _next_block(self, letters: Iterator[Letter]) -> list[bytes]:
        lines: list[bytes] = []
        n_bytes = 0
        while n_bytes < BLOCK_BYTES and (letter := next(letters, None)) is not None:
            lines.append(self._line(*letter))
            n_bytes += len(lines[-1])
        return lines

    def _line(
        self, reason: str, tag: str, event: bytes | memoryview, time_ns: int | None, detail: str
    ) -> bytes:
        with memoryview(event) as view:
            max_event = (self._max_file - _MAX_FIELDS_BYTES) // 4 * 3
            fields: dict[str, object] = {
                "time": iso_time(time.time_ns() if time_ns is None else time_ns),
                **self._target,
                "reason": reason[:MAX_REASON],
                "tag": tag[:MAX_TAG],
                "detail": detail[:MAX_DETAIL],
                "n_bytes": view.nbytes,
                "event": base64.b64encode(view[:max_event]).decode(),
            }
            if view.nbytes > max_event:
                fields["cut"] = True
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    def _write(self, lines: list[bytes]) -> None:
        """Append lines, and take those that are written out of the list."""
        with closing(self._open()) as directory:
            self._wait_for_lock(directory)
            while lines:
                n_bytes = directory.size(FILE) or 0
                n_fitting = self._n_fitting(lines, n_bytes)
                if n_bytes and not n_fitting:
                    self._rotate(directory, n_bytes)
                    continue
                n_fitting = max(1, n_fitting)
                directory.append(FILE, b"".join(lines[:n_fitting]), n_bytes)
                del lines[:n_fitting]

    def _n_fitting(self, lines: list[bytes], n_bytes: int) -> int:
        """Return how many lines fit into a file of n_bytes, with a newline before them."""
        room = self._max_file - 1 - n_bytes
        return sum(total <= room for total in accumulate(map(len, lines)))

    def _open(self) -> Directory:
        try:
            return Directory.open(self._path, create=False)
        except StorageError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        directory = Directory.open(self._path, create=True)
        self._log.warning("the dead_letter_dir %s was removed; made it again", shown(self._path))
        return directory

    def _wait_for_lock(self, directory: Directory) -> None:
        """Take the lock; wait for it only while all waits of this period are short together."""
        started = self._clock()
        with self._lock:
            if started >= self._patient_again_at:
                self._patience_s, self._patient_again_at = LOCK_S, started + LOCK_PERIOD_S
            patience_s = self._patience_s
            again_s = self._patient_again_at - started
        if not patience_s and not directory.lock():
            raise StorageError(
                f"{shown(self._path)} is locked by another process; waits for it again in "
                f"{again_s:.0f} seconds"
            )
        left_s = 0.0
        try:
            directory.wait_for_lock(patience_s)
            long_s = self._clock() - started - SHORT_WAIT_S
            left_s = max(0.0, patience_s - max(0.0, long_s))
        finally:
            with self._lock:
                self._patience_s = min(self._patience_s, left_s)

    def _rotate(self, directory: Directory, n_bytes: int) -> None:
        """Rename each file to the next number, and drop the oldest files that no longer fit.

        Args:
            directory: locked.
            n_bytes: size of the current file.
        """
        n_dropped = 0
        kept = []
        for number, name in older_files(directory):
            n_older = directory.size(name) or 0
            n_bytes += n_older
            if n_bytes > self._max_bytes - self._max_file:
                directory.remove(name)
                n_dropped += n_older
            else:
                kept.append((number, name))
        for number, name in reversed(kept):
            directory.rename(name, f"{FILE}.{number + 1}")
        directory.rename(FILE, f"{FILE}.1")
        if n_dropped:
            self._log.warning(
                "dropped the oldest dead letters in %s, %d bytes: dead_letter_max_bytes is %d",
                shown(self._path),
                n_dropped,
                self._max_bytes,
            )

    def _log_lost(self, n_lost: int, error: StorageError) -> None:
        with self._lock:
            self._n_lost += n_lost
        if n_unlogged := self._log_limit.count(n_lost):
            self._log.error(
                "dead letters that could not be written and are lost: %d; %s", n_unlogged, error
            )


def older_files(directory: Directory) -> list[tuple[int, str]]:
    """Return number and name of the files that are no longer written, the newest first."""
    matches = (match for name in directory.names() if (match := _OLDER.fullmatch(name)))
    return sorted((int(match[1]), match[0]) for match in matches)


def iso_time(time_ns: int) -> str:
    """Return a time in ISO 8601, UTC; the start of 1970 for one that no calendar has."""
    seconds, nanoseconds = divmod(time_ns, NS)
    try:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):
        return iso_time(0)
    return f"{text}.{nanoseconds:09d}Z"
