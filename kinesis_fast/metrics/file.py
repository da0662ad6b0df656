"""Writes metrics to a file, whole or not at all, as the textfile collector of a host wants it."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable
from typing import Final

from kinesis_fast.logs import Log, printable

FILE_MODE: Final = 0o644  # the collector runs as another user
MAX_PATH: Final = 500  # characters in a log line
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class TakenError(OSError):
    """Another process writes this file."""

    def __str__(self) -> str:
        return "another process writes it"


class MetricsFile:
    """Replaces a file by a newer one; any thread may call any method.

    The process that writes a file holds a lock on it, so that of several processes one writes. The
    lock ends with the process.

    Args:
        path: of the file; next to it a file with another name is written and renamed.
        content: returns what to write.
        log: takes a line when the file cannot be written, and one when it can be again.
    """

    def __init__(self, path: str, content: Callable[[], bytes], log: Log) -> None:
        self._path = path
        self._content = content
        self._log = log
        self._lock = threading.Lock()
        self._is_failing = False
        self._held: int | None = None  # the file that was written last, locked

    def write(self) -> bool:
        """Write the file, or log once why that is not possible. Returns True."""
        with self._lock:
            try:
                self._replace()
            except OSError as error:
                if not self._is_failing:
                    reason = error.strerror or str(error)
                    self._log.error(
                        "cannot write metrics_file %s: %s; tries again with the next metrics, "
                        "without a further line until it succeeds",
                        printable(self._path, MAX_PATH),
                        reason,
                    )
                self._is_failing = True
                return True
            if self._is_failing:
                self._log.info("metrics_file %s is written again", printable(self._path, MAX_PATH))
            self._is_failing = False
            return True

    def close(self) -> None:
        """Let another process write the file; it stays as it is."""
        with self._lock:
            self.forget()

    def forget(self) -> None:
        """Close what a forked child has of it; the parent keeps the lock."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def _replace(self) -> None:
        self._check_owner()
        content = self._content()
        temporary = f"{self._path}.{os.getpid()}.tmp"
        with contextlib.suppress(FileNotFoundError):  # of an earlier process with this number
            os.unlink(temporary)  # noqa: PTH108 (bytes and errors as the system has them)
        fd = os.open(temporary, _NEW, FILE_MODE)
        try:
            os.fchmod(fd, FILE_MODE)  # whatever the umask is
            _write_all(fd, content)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.replace(temporary, self._path)  # noqa: PTH105 (as above)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 (as above)
            raise
        self.forget()
        self._held = fd

    def _check_owner(self) -> None:
        """Raise TakenError if the file that is there belongs to another process."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            if self._held is None or not os.path.sameopenfile(fd, self._held):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TakenError from None
        finally:
            os.close(fd)


def _write_all(fd: int, content: bytes) -> None:
    with memoryview(content) as view:
        written = 0
        while written < len(view):
            written += os.write(fd, view[written:])
