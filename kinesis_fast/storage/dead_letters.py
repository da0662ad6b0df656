"""Dead letters: records that can never be delivered, written down as lines of JSON.

Layout of the directory: `dead-letters.jsonl` is the file that is written, `.1`, `.2` and so on are
older ones. Several outputs and processes share them: each letter is added under a lock of the
directory, which is held only meanwhile. A line has the members

=========  ========================================================================================
time       of the event, or of now when that is not known: ISO 8601, UTC, nanoseconds
region     of the stream
stream     that the record was meant for, its name or ARN
reason     why it is dead, one of a few words
tag        Fluent Bit's name for the source
detail     what the service or the encoder said
n_bytes    of the event
event      base64 of the event as it stood in the chunk
cut        true when the event was too long, and only its begin is here; otherwise absent
=========  ========================================================================================

Letters are not synced to the disk one by one: after the end of the machine the last may be missing.
"""

import base64
import json
import re
import threading
import time
from typing import Final, Self

from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import StorageError
from kinesis_fast.logs import LOGGER, Log, printable
from kinesis_fast.storage.directory import MAX_PATH, Directory

FILE: Final = "dead-letters.jsonl"
N_FILES: Final = 4  # so that at most about a quarter of the letters goes at a time
LOCK_S: Final = 2.0  # seconds that a delivery waits at most while others write
QUIET_S: Final = 60.0  # seconds between two lines about letters that could not be written
MAX_REASON, MAX_TAG, MAX_DETAIL = 100, 500, 500  # characters in a letter
NS: Final = 1_000_000_000

_OLDER: Final = re.compile(re.escape(FILE) + r"\.([0-9]{1,9})", re.ASCII)
_MAX_FIELDS_BYTES: Final = 16 * 1024  # of a line without the event, every character escaped


class DeadLetters:
    """Writes letters; every method may be called by several threads and processes at once.

    Nothing stays open between two calls, so a forked child may go on with it.

    Args:
        config: with a dead_letter_dir.
        log: where a line goes when letters are dropped or cannot be written.
    """

    def __init__(self, config: OutputConfig, log: Log = LOGGER) -> None:
        if config.dead_letter_dir is None:
            raise StorageError("there are no dead letters without the option dead_letter_dir")
        self._path = config.dead_letter_dir
        self._target = {"region": config.region, "stream": config.stream}
        self._max_bytes = config.dead_letter_max_bytes
        self._max_file = config.dead_letter_max_bytes // N_FILES
        self._log = log
        self._lock = threading.Lock()
        self._n_lost = 0
        self._n_untold = 0
        self._told_at = -QUIET_S

    @classmethod
    def open(cls, config: OutputConfig, log: Log = LOGGER) -> Self:
        """Make the directory when it is not there, and see whether it can be used.

        Raises:
            StorageError: it cannot; the text says why.
        """
        letters = cls(config, log)
        Directory.open(letters._path, create=True).close()
        return letters

    @property
    def n_lost(self) -> int:
        """How many letters could not be written."""
        return self._n_lost

    def add(
        self,
        reason: str,
        tag: str,
        event: bytes | memoryview,
        time_ns: int | None = None,
        detail: str = "",
    ) -> bool:
        """Write a letter. It never raises for what the system reports: a line a minute tells.

        Args:
            reason: why the record is dead, one of a few words.
            tag: Fluent Bit's name for the source.
            event: as it stood in the chunk, bytes-like.
            time_ns: of the event, nanoseconds since 1970, None when it has none.
            detail: what the service or the encoder said.

        Returns:
            Whether it was written.
        """
        line = self._line(reason, tag, event, time_ns, detail)
        try:
            directory = Directory.open(self._path, create=False)
            try:
                with directory.locked(LOCK_S):
                    self._append(directory, line)
            finally:
                directory.close()
        except StorageError as error:
            self._tell_lost(error)
            return False
        return True

    def _line(
        self, reason: str, tag: str, event: bytes | memoryview, time_ns: int | None, detail: str
    ) -> bytes:
        with memoryview(event) as view:
            max_event = (self._max_file - _MAX_FIELDS_BYTES) // 4 * 3
            letter: dict[str, object] = {
                "time": iso_time(time.time_ns() if time_ns is None else time_ns),
                **self._target,
                "reason": reason[:MAX_REASON],
                "tag": tag[:MAX_TAG],
                "detail": detail[:MAX_DETAIL],
                "n_bytes": view.nbytes,
                "event": base64.b64encode(view[:max_event]).decode(),
            }
            if view.nbytes > max_event:
                letter["cut"] = True
        return json.dumps(letter, separators=(",", ":")).encode() + b"\n"

    def _append(self, directory: Directory, line: bytes) -> None:
        n_bytes = directory.size(FILE) or 0
        if n_bytes and n_bytes + 1 + len(line) > self._max_file:
            self._rotate(directory, n_bytes)
            n_bytes = 0
        directory.append(FILE, line, n_bytes)

    def _rotate(self, directory: Directory, n_bytes: int) -> None:
        """Make room for a new file: all get the next number, and the oldest go."""
        n_dropped = 0
        staying = []
        for number, name in older_files(directory):
            n_older = directory.size(name) or 0
            n_bytes += n_older
            if n_bytes > self._max_bytes - self._max_file:
                directory.remove(name)
                n_dropped += n_older
            else:
                staying.append((number, name))
        for number, name in reversed(staying):
            directory.rename(name, f"{FILE}.{number + 1}")
        directory.rename(FILE, f"{FILE}.1")
        if n_dropped:
            self._log.warning(
                "oldest dead letters in %s, %d bytes, are dropped: dead_letter_max_bytes is %d",
                printable(self._path, MAX_PATH),
                n_dropped,
                self._max_bytes,
            )

    def _tell_lost(self, error: StorageError) -> None:
        with self._lock:
            self._n_lost += 1
            self._n_untold += 1
            now = time.monotonic()
            if now - self._told_at < QUIET_S:
                return
            self._told_at = now
            n_untold, self._n_untold = self._n_untold, 0
        self._log.error("%d dead letters could not be written and are lost: %s", n_untold, error)


def older_files(directory: Directory) -> list[tuple[int, str]]:
    """Return number and name of the files that are no longer written, the newest first."""
    matches = (match for name in directory.names() if (match := _OLDER.fullmatch(name)))
    return sorted((int(match[1]), match[0]) for match in matches)


def iso_time(time_ns: int) -> str:
    """Return a time in ISO 8601, UTC; one that no calendar has is that of 1970."""
    seconds, nanoseconds = divmod(time_ns, NS)
    try:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):
        return iso_time(0)
    return f"{text}.{nanoseconds:09d}Z"
