"""The progress bar of `send`: one line on a terminal, nothing anywhere else."""

import shutil
import time
from collections.abc import Callable
from typing import Final, TextIO

from kinesis_fast.cli.common import MB, counted, megabytes

REDRAW_S: Final = 0.1
BAR_WIDTH: Final = 24
CLEAR_LINE: Final = "\r\x1b[K"


class Progress:
    """How much of the input has been sent.

    Args:
        stream: where to draw; nothing is drawn unless it is a terminal.
        total_bytes: size of the input, None when it is unknown.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        total_bytes: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._total_bytes = total_bytes
        self._clock = clock
        self._started = clock()
        self._drawn = float("-inf")
        self._is_on = stream.isatty()
        self._is_visible = False

    def show(self, n_bytes: int, n_records: int) -> None:
        """Draw the line for input bytes and delivered records, at most ten times a second."""
        now = self._clock()
        if not self._is_on or now - self._drawn < REDRAW_S:
            return
        self._drawn = now
        line = self._line(n_bytes, n_records, now - self._started)
        width = shutil.get_terminal_size().columns
        self._write(CLEAR_LINE + line[: max(width - 1, 1)])
        self._is_visible = True

    def clear(self) -> None:
        """Remove the line, so that something else can be written in its place."""
        if self._is_visible:
            self._write(CLEAR_LINE)
            self._is_visible = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _line(self, n_bytes: int, n_records: int, seconds: float) -> str:
        rate = n_bytes / seconds if seconds > 0 else 0.0
        through = f"{megabytes(n_bytes)}  {counted(n_records, 'record')}  {rate / MB:.1f} MB/s"
        if not self._total_bytes:
            return through
        share = min(n_bytes / self._total_bytes, 1.0)
        bar = ("#" * round(share * BAR_WIDTH)).ljust(BAR_WIDTH, ".")
        left = f"  {(self._total_bytes - n_bytes) / rate:.0f} s left" if rate else ""
        return f"[{bar}] {share:4.0%}  {through}{left}"
