"""Private directories, and atomic writes of the files in them."""

import contextlib
import errno
import fcntl
import os
import stat
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from kinesis_fast.errors import StorageError
from kinesis_fast.logs import printable

TEMPORARY: Final = ".tmp"  # suffix of a file that is being written

_LOCK_POLL_S: Final = 0.005
_MAX_PATH: Final = 500  # characters of a path or a reason in a log line
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_OWN_IT: Final = "the user of this process must own the directory, with mode 0700"
_REMEDIES: Final = {
    errno.ENOSPC: "free space on that file system",
    errno.EDQUOT: "raise the quota or free space",
    errno.EACCES: _OWN_IT,
    errno.EPERM: _OWN_IT,
    errno.EROFS: "mount the file system writable or choose another directory",
    errno.EIO: "the disk reported an error; see the kernel log",
    errno.ENOENT: "create its parent directory",
    errno.ENOTDIR: "it must be a directory, not a symbolic link",
    errno.ELOOP: "symbolic links are not followed; give the real path",
    errno.EINVAL: "it must be a regular file",
    errno.EMFILE: "raise the limit of open files",
    errno.ENFILE: "the system has too many open files",
}


class Content(NamedTuple):
    """What `Directory.read` returns: the bytes asked for, and the size of the whole file."""

    data: bytes
    n_bytes: int


def shown(text: str) -> str:
    """Return a path or a reason, escaped and cut for a log line or an error."""
    return printable(text, _MAX_PATH)


@contextmanager
def _reporting(action: str, path: str, *, is_made: bool = True) -> Iterator[None]:
    """Turn an OSError into the StorageError that says what failed where, why, and what to do."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        reason = f"{os.strerror(code)} ({errno.errorcode.get(code, code)})"
        remedy = f"; {_REMEDIES[code]}" if code in _REMEDIES else ""
        if code == errno.ENOENT and not is_made:
            remedy = "; the directory does not exist: check its path"
        raise StorageError(f"cannot {action} {shown(path)}: {reason}{remedy}") from error


class Directory:
    """An open directory. Names are looked up in it, not along a path that might change.

    It belongs to the process that opened it. In a forked child it is closed, and its lock stays
    with the parent. Every method raises StorageError when the operating system reports an error.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        _OPEN.add(self)

    @classmethod
    def open(cls, path: str, *, create: bool) -> Self:
        """Open a directory; with create, make it with mode 0700 if it is missing.

        Raises:
            StorageError: it is a symbolic link, another user owns it or can write to it, or its
                parent is missing.
        """
        path = _without_dots(path)
        return cls._opened(path, path, None, create)

    def child(self, name: str, *, create: bool = False) -> Self:
        """Open a directory in this one; see open()."""
        return self._opened(self._path_of(name), name, self.fd, create)

    @classmethod
    def _opened(cls, path: str, name: str, parent: int | None, create: bool) -> Self:
        with _reporting("open", path, is_made=create):
            if create:
                _make(path, name, parent)
            directory = cls(path, os.open(name, _DIRECTORY_FLAGS, dir_fd=parent))
        try:
            directory._check_owner()
        except BaseException:
            directory.close()
            raise
        return directory

    def _check_owner(self) -> None:
        status, user = os.fstat(self.fd), os.geteuid()
        if user != status.st_uid:
            raise StorageError(
                f"{shown(self.path)} belongs to user {status.st_uid}, but this process runs as "
                f"{user}; run it as that user, change the owner, or choose another directory"
            )
        if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            raise StorageError(
                f"other users can write to {shown(self.path)} "
                f"(mode {stat.S_IMODE(status.st_mode):04o}); set its mode to 0700"
            )

    @property
    def fd(self) -> int:
        """The descriptor. StorageError when closed, as in a forked child."""
        if self._fd < 0:
            raise StorageError(f"{shown(self.path)} is closed in this process")
        return self._fd

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._fd >= 0

    def close(self) -> None:
        """Close it and release its lock; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # A forked child may hold a copy of the descriptor, so closing alone keeps the lock.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            with contextlib.suppress(OSError):  # nothing was written through it
                os.close(fd)

    def is_in_place(self) -> bool:
        """Tell whether its path still leads to it: it was not removed, moved or replaced."""
        with _reporting("inspect", self.path):
            try:
                there = os.stat(self.path, follow_symlinks=False)  # noqa: PTH116
            except FileNotFoundError:
                return False
            return os.path.samestat(there, os.fstat(self.fd))

    def lock(self) -> bool:
        """Take the lock until close(). Returns False when another Directory holds it."""
        with _reporting("lock", self.path):
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def wait_for_lock(self, timeout_s: float, keep_on: Callable[[], bool] = lambda: True) -> None:
        """Take the lock until close(); StorageError when it is not free within timeout_s.

        Args:
            timeout_s: seconds to wait at most.
            keep_on: called while it waits; the wait ends when it returns False.
        """
        deadline = time.monotonic() + timeout_s
        while not self.lock():
            if not keep_on():
                raise StorageError(f"{shown(self.path)} is locked by another process")
            if time.monotonic() >= deadline:
                raise StorageError(
                    f"{shown(self.path)} has been locked by another process for {timeout_s:g} "
                    "seconds; find out which process hangs"
                )
            time.sleep(_LOCK_POLL_S)

    @contextmanager
    def locked(
        self, timeout_s: float, keep_on: Callable[[], bool] = lambda: True
    ) -> Iterator[None]:
        """Hold the lock inside a `with`; arguments and StorageError as wait_for_lock()."""
        self.wait_for_lock(timeout_s, keep_on)
        try:
            yield
        finally:
            if self.is_open:
                fcntl.flock(self.fd, fcntl.LOCK_UN)

    def names(self) -> list[str]:
        """Return the names in it, sorted."""
        with _reporting("list", self.path):
            return sorted(os.listdir(self.fd))  # noqa: PTH208

    def size(self, name: str) -> int | None:
        """Return the size of a regular file in bytes, None when there is none of that name."""
        with _reporting("inspect", self._path_of(name)):
            try:
                status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def write_durably(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """Make a new file; when this returns, the file survives a crash of the machine.

        After an error the file does not exist, not even in part.
        """
        self._write(name, parts, durably=True)

    def replace(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """Make or replace a file; after a crash of the machine it may be the old one, or empty."""
        self._write(name, parts, durably=False)

    def _write(self, name: str, parts: Sequence[bytes | memoryview], *, durably: bool) -> None:
        temporary = name + TEMPORARY
        with _reporting("write", self._path_of(name)):
            try:
                self._write_new(temporary, parts, durably=durably)
                os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
                if durably:
                    os.fsync(self.fd)
            except BaseException:
                self._discard(temporary)
                if durably:
                    self._discard(name)
                raise

    def append(self, name: str, lines: bytes, n_bytes: int) -> None:
        """Append lines to a file; after an error nothing of them is left.

        Args:
            name: of the file, which is made if it is missing.
            lines: each with its newline. If the file ends in the middle of a line, a newline goes
                first.
            n_bytes: size of the file.
        """
        with _reporting("write", self._path_of(name)):
            fd = os.open(name, _APPEND_FLAGS, 0o600, dir_fd=self.fd)
            try:
                _check_regular(os.fstat(fd))
                is_cut = n_bytes > 0 and os.pread(fd, 1, n_bytes - 1) != b"\n"
                _write_all(fd, b"\n" + lines if is_cut else lines)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, n_bytes)
                raise
            finally:
                os.close(fd)

    def read(self, name: str, limit: int | None = None) -> Content | None:
        """Return the first bytes of a regular file, all by default; None when it is missing."""
        with _reporting("read", self._path_of(name)):
            try:
                fd = os.open(name, _READ_FLAGS, dir_fd=self.fd)
            except FileNotFoundError:
                return None
            try:
                status = os.fstat(fd)
                _check_regular(status)
                n_bytes = status.st_size if limit is None else min(limit, status.st_size)
                return Content(_read_all(fd, n_bytes), status.st_size)
            finally:
                os.close(fd)

    def rename(self, name: str, new_name: str, to: "Directory | None" = None) -> None:
        """Rename a file, or move it to another directory; replaces a file of the new name."""
        with _reporting("rename", self._path_of(name)):
            os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=(to or self).fd)

    def remove(self, name: str) -> None:
        """Remove a file; does nothing when it is missing."""
        with _reporting("remove", self._path_of(name)), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def sync(self) -> None:
        """Make the files made, renamed and removed in it survive a crash of the machine."""
        with _reporting("sync", self.path):
            os.fsync(self.fd)

    def _write_new(self, name: str, parts: Sequence[bytes | memoryview], *, durably: bool) -> None:
        fd = os.open(name, _NEW_FLAGS, 0o600, dir_fd=self.fd)
        try:
            for part in parts:
                _write_all(fd, part)
            if durably:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _discard(self, name: str) -> None:
        with contextlib.suppress(OSError, StorageError):
            os.unlink(name, dir_fd=self.fd)

    def _path_of(self, name: str) -> str:
        return os.path.join(self.path, name)  # noqa: PTH118


def _without_dots(path: str) -> str:
    """Drop empty and "." parts: with one at the end, the system would follow a link before it."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if parts[-1:] == [".."]:
        raise StorageError(f"{shown(path)} ends with '..'; give the real path")
    return "/" * path.startswith("/") + "/".join(parts) or "."


def _make(path: str, name: str, parent: int | None) -> None:
    """Make a directory that survives a crash of the machine, unless it exists.

    A process may have ended between making a directory and syncing its parent. So the caller of
    child() syncs the parent at every start, and this function syncs the parent of a root even when
    the root exists.
    """
    is_new = True
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        is_new = False
    if parent is not None:
        return
    # This user may lack access to the parent of an existing root: whoever made the root synced it.
    with contextlib.suppress(*(() if is_new else (PermissionError,))):
        fd = os.open(os.path.dirname(path) or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def _write_all(fd: int, data: bytes | memoryview) -> None:
    with memoryview(data) as whole, whole.cast("B") as octets:
        n_written = 0
        while n_written < octets.nbytes:
            n_written += os.write(fd, octets[n_written:])


def _read_all(fd: int, n_bytes: int) -> bytes:
    """Read that many bytes, or fewer when the file ends before."""
    blocks = []
    while n_bytes > 0 and (block := os.read(fd, n_bytes)):
        blocks.append(block)
        n_bytes -= len(block)
    return b"".join(blocks)


_OPEN: weakref.WeakSet[Directory] = weakref.WeakSet()


def _close_in_child() -> None:
    """Close the directories that a forked child inherited; the parent keeps its locks."""
    for directory in list(_OPEN):
        fd, directory._fd = directory._fd, -1
        if fd >= 0:
            os.close(fd)


os.register_at_fork(after_in_child=_close_in_child)
