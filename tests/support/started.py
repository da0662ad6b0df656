"""Processes that end when the test that started them fails."""

from __future__ import annotations

import subprocess
from typing import AnyStr


class Started(subprocess.Popen[AnyStr]):
    """A process that a failing `with` block kills, where Popen would wait for it for ever."""

    def __exit__(self, *exception: object) -> None:
        """Wait for its end."""
        if exception[0] is not None:
            self.kill()
        super().__exit__(*exception)  # type: ignore[arg-type]
