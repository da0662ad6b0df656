"""The module os as storage.directory sees it: records its calls and fails on demand."""

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
        fails: called with the number (from 0) and name of each watched call; True makes it fail.
        code: the errno of a failure.
        max_write: the most bytes that one write() writes.

    Attributes:
        calls: names of the watched calls, with "fsync file" and "fsync directory" for fsync.
    """

    def __init__(
        self,
        fails: Callable[[int, str], bool] = lambda _index, _name: False,
        code: int = 0,
        max_write: int = 1 << 30,
    ) -> None:
        self.calls: list[str] = []
        self._fails = fails
        self._code = code
        self._max_write = max_write

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in WATCHED:
            return real

        def watched(*arguments: Any, **keywords: Any) -> Any:
            index = len(self.calls)
            self.calls.append(_label(name, arguments))
            if self._fails(index, name):
                if name == "close":  # the descriptor is closed all the same
                    real(*arguments)
                raise OSError(self._code, "told to fail")
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
    """Let the storage use it until the test, or the context of monkeypatch, ends."""
    monkeypatch.setattr("kinesis_fast.storage.directory.os", faulty)
