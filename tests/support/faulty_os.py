"""The operating system as storage.directory sees it: recorded, failing when told to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, Final

import pytest

WATCHED: Final = frozenset(
    {"open", "write", "fsync", "close", "rename", "mkdir", "unlink", "ftruncate", "read", "pread"}
)


class FaultyOs:
    """Stands in for the module os.

    Args:
        fails: tells by number (from 0) and name of a watched call whether it fails.
        number: the error that it fails with.
        max_write: bytes that a write writes at most.

    Attributes:
        calls: the watched calls; an fsync says of what, "fsync file" or "fsync directory".
    """

    def __init__(
        self,
        fails: Callable[[int, str], bool] = lambda _index, _name: False,
        number: int = 0,
        max_write: int = 1 << 30,
    ) -> None:
        self.calls: list[str] = []
        self._fails = fails
        self._number = number
        self._max_write = max_write

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in WATCHED:
            return real

        def watched(*arguments: Any, **keywords: Any) -> Any:
            index = len(self.calls)
            self.calls.append(_label(name, arguments))
            if self._fails(index, name):
                if name == "close":  # the descriptor is gone all the same
                    real(*arguments)
                raise OSError(self._number, "told to fail")
            if name == "write":
                fd, data = arguments
                return real(fd, data[: self._max_write])
            return real(*arguments, **keywords)

        return watched


def _label(name: str, arguments: tuple[Any, ...]) -> str:
    if name != "fsync":
        return name
    is_directory = stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
    return "fsync directory" if is_directory else "fsync file"


def install(monkeypatch: pytest.MonkeyPatch, faulty: FaultyOs) -> None:
    """Let the storage use it until the end of the test, or of the monkeypatch's context."""
    monkeypatch.setattr("kinesis_fast.storage.directory.os", faulty)
