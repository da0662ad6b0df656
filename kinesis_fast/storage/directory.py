"""Directories that nobody else may write, and files in them that are whole or not there."""

import contextlib
import errno
import fcntl
import os
import stat
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from kinesis_fast.errors import StorageError
from kinesis_fast.logs import printable

TEMPORARY: Final = ".tmp"  # suffix of a file that is being written
MAX_PATH: Final = 500  # characters in a log line
LOCK_POLL_S: Final = 0.005

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe in the place of a file would never open.
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_REMEDIES: Final = {
    errno.ENOSPC: "free space on that file system",
    errno.EDQUOT: "raise the quota or free space",
    errno.EACCES: "let the user of this process own the directory, with mode 0700",
    errno.EPERM: "let the user of this process own the directory, with mode 0700",
    errno.EROFS: "mount the file system writable or choose another directory",
    errno.EIO: "the disk reports an error: look at the log of the kernel",
    errno.ENOENT: "make the directory that it is in",
    errno.ENOTDIR: "it must be a directory and no symbolic link",
    errno.ELOOP: "symbolic links are not followed: name the place itself",
    errno.EINVAL: "it must be a regular file",
    errno.EMFILE: "raise the limit of open files",
    errno.ENFILE: "the system has too many open files",
}


class Content(NamedTuple):
    """What `Directory.read` returns: the bytes asked for, and the size of the whole file."""

    data: bytes
    n_bytes: int


def storage_error(doing: str, path: str, error: OSError) -> StorageError:
    """Return the error that says what could not be done where, why, and what to do."""
    number = error.errno or 0
    reason = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
    remedy = _REMEDIES.get(number)
    shown = printable(path, MAX_PATH)
    return StorageError(f"cannot {doing} {shown}: {reason}" + (f"; {remedy}" if remedy else ""))


class Directory:
    """An open directory. Names are looked up in it, not along a path that might change.

    It belongs to the process that opened it: in a forked child it is closed, its lock stays the
    parent's. Every method raises StorageError where the system reports an error.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        _OPEN.add(self)

    @classmethod
    def open(cls, path: str, *, create: bool) -> Self:
        """Open a directory, perhaps a new one with mode 0700 in a directory that is there.

        Raises:
            StorageError: it is a symbolic link, or others may write into it.
        """
        return cls._opened(path, path, None, create)

    def child(self, name: str, *, create: bool = False) -> Self:
        """Open a directory in this one; see open()."""
        return self._opened(os.path.join(self.path, name), name, self.fd, create)  # noqa: PTH118

    @classmethod
    def _opened(cls, path: str, name: str, parent: int | None, create: bool) -> Self:
        try:
            if create:
                _make(path, name, parent)
            fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)
        except OSError as error:
            raise storage_error("open", path, error) from error
        directory = cls(path, fd)
        try:
            directory._check_owner()
        except BaseException:
            directory.close()
            raise
        return directory

    def _check_owner(self) -> None:
        status, user = os.fstat(self.fd), os.geteuid()
        if user not in {0, status.st_uid}:
            raise StorageError(
                f"{printable(self.path, MAX_PATH)} belongs to user {status.st_uid}, but this "
                f"process runs as {user}; let that user own it, or choose another directory"
            )
        if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            raise StorageError(
                f"others may write into {printable(self.path, MAX_PATH)} "
                f"(mode {stat.S_IMODE(status.st_mode):04o}); set its mode to 0700"
            )

    @property
    def fd(self) -> int:
        """The descriptor. StorageError when closed, as in a forked child."""
        if self._fd < 0:
            raise StorageError(f"{printable(self.path, MAX_PATH)} is closed in this process")
        return self._fd

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._fd >= 0

    def close(self) -> None:
        """Close it, which frees its lock; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # A process forked meanwhile may hold a copy of the descriptor: closing frees nothing.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            with contextlib.suppress(OSError):  # nothing was written through it
                os.close(fd)

    def lock(self) -> bool:
        """Lock it for this object, until close(). Returns False when another one has the lock."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise storage_error("lock", self.path, error) from error
        return True

    @contextmanager
    def locked(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock for a while; StorageError when it is not free within timeout_s."""
        deadline = time.monotonic() + timeout_s
        while not self.lock():
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{printable(self.path, MAX_PATH)} has been locked by another process for "
                    f"{timeout_s:g} seconds; see which one hangs"
                )
            time.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            if self.is_open:
                fcntl.flock(self.fd, fcntl.LOCK_UN)

    def names(self) -> list[str]:
        """Return the names in it, sorted."""
        try:
            return sorted(os.listdir(self.fd))  # noqa: PTH208
        except OSError as error:
            raise storage_error("list", self.path, error) from error

    def size(self, name: str) -> int | None:
        """Return the size of a regular file, None when there is none of that name."""
        try:
            status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.error("look at", name, error) from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def write_durably(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """Make a new file; when this returns, it outlives the machine's end.

        After an error there is no such file, and none that is half written.
        """
        temporary = name + TEMPORARY
        try:
            self._write(temporary, parts, durably=True)
            self._rename(temporary, name)
            os.fsync(self.fd)
        except BaseException as error:
            self._discard(temporary)
            self._discard(name)
            if isinstance(error, OSError):
                raise self.error("write", name, error) from error
            raise

    def replace(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """Make or replace a file; after the end of the machine it may be the old one, or empty."""
        temporary = name + TEMPORARY
        try:
            self._write(temporary, parts, durably=False)
            self._rename(temporary, name)
        except BaseException as error:
            self._discard(temporary)
            if isinstance(error, OSError):
                raise self.error("write", name, error) from error
            raise

    def append(self, name: str, line: bytes, n_bytes: int) -> None:
        """Add a line at the end of a file, behind a whole line; after an error nothing of it.

        Args:
            name: of the file, which is made when it is not there.
            line: with its line end.
            n_bytes: size of the file.
        """
        try:
            fd = os.open(name, _APPEND_FLAGS, 0o600, dir_fd=self.fd)
            try:
                _check_regular(os.fstat(fd))
                is_cut = n_bytes > 0 and os.pread(fd, 1, n_bytes - 1) != b"\n"
                _write_all(fd, b"\n" + line if is_cut else line)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, n_bytes)
                raise
            finally:
                os.close(fd)
        except OSError as error:
            raise self.error("write", name, error) from error

    def read(self, name: str, limit: int | None = None) -> Content | None:
        """Return the first bytes of a regular file, all by default; None when it is not there."""
        try:
            fd = os.open(name, _READ_FLAGS, dir_fd=self.fd)
            try:
                status = os.fstat(fd)
                _check_regular(status)
                n_bytes = status.st_size if limit is None else min(limit, status.st_size)
                return Content(_read_all(fd, n_bytes), status.st_size)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.error("read", name, error) from error

    def rename(self, name: str, new_name: str, to: "Directory | None" = None) -> None:
        """Rename a file, or move it into another directory; it replaces one of that name."""
        try:
            self._rename(name, new_name, to)
        except OSError as error:
            raise self.error("rename", name, error) from error

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens when it is not there."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.error("remove", name, error) from error

    def sync(self) -> None:
        """Let what was made, renamed and removed in it outlive the machine's end."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise storage_error("sync", self.path, error) from error

    def error(self, doing: str, name: str, error: OSError) -> StorageError:
        """Return the error about a file in it."""
        return storage_error(doing, f"{self.path}/{name}", error)

    def _write(self, name: str, parts: Sequence[bytes | memoryview], *, durably: bool) -> None:
        fd = os.open(name, _NEW_FLAGS, 0o600, dir_fd=self.fd)
        try:
            for part in parts:
                _write_all(fd, part)
            if durably:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _rename(self, name: str, new_name: str, to: "Directory | None" = None) -> None:
        os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=(to or self).fd)

    def _discard(self, name: str) -> None:
        with contextlib.suppress(OSError, StorageError):
            os.unlink(name, dir_fd=self.fd)


def _make(path: str, name: str, parent: int | None) -> None:
    """Make a directory that outlives the machine's end, unless it is there.

    A process may have died between making and syncing it, so the caller of child() syncs the
    parent at every start, and the parent of a root is synced here even when the root is there.
    """
    is_new = True
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        is_new = False
    if parent is not None:
        return
    # Somebody else's parent may be closed to us; then whoever made the root has to have synced it.
    with contextlib.suppress(*(() if is_new else (PermissionError,))):
        fd = os.open(os.path.dirname(path) or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file")


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
    """Close what a forked child inherited, without freeing the parent's locks."""
    for directory in list(_OPEN):
        fd, directory._fd = directory._fd, -1
        if fd >= 0:
            os.close(fd)


os.register_at_fork(after_in_child=_close_in_child)
