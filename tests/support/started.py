"""Processes that end when the test that started them fails."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import AnyStr


class Started(subprocess.Popen[AnyStr]):
    """A process that a failing `with` block kills, where Popen would wait for it for ever."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for its end."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)
