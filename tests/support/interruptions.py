"""Raises an exception at a line of the package, as a signal handler or a full memory may."""

from __future__ import annotations

import ast
import dis
import functools
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from aggregated import KPL, LINES

import kinesis_fast

MODULES: Final = ("delivery", "stats.py", "output.py")
ERRORS: Final = (MemoryError, KeyboardInterrupt, OSError)
# The options of each mode; {} is a directory.
MODES: Final[dict[str, dict[str, str]]] = {
    "plain": {},
    "keyed": {"partition_key": "n"},
    "background": {"experimental_concurrency": "1"},
    "spooled": {"experimental_concurrency": "1", "spool_dir": "{}/spool"},
}
# Those of outputs whose entries are aggregates.
AGGREGATING_MODES: Final[dict[str, dict[str, str]]] = {
    "kpl": KPL,
    "kpl keyed": {**KPL, "partition_key": "n"},
    "lines spooled": {**LINES, **MODES["spooled"]},
}
MOST_TIMES = 3
NOP = dis.opmap["NOP"]
PACKAGE = Path(kinesis_fast.__file__).parent


@functools.cache
def _with_blocks(path: str) -> dict[int, int]:
    """Return first line and last line of each `with` statement of a file."""
    tree = ast.parse(Path(path).read_text())
    return {
        node.lineno: node.end_lineno or node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
    }


class Interruption:
    """Counts the lines that run in some modules, on all threads, and raises at one of them.

    A line counts when it runs for the first few times.

    The end of a `with` block is not such a line, nor is a bare `try:`. The interpreter raises
    nothing there by itself, but a trace function that raises would skip the exit of the block
    around it, and with it the release of a lock.

    Args:
        modules: paths below the package, files or folders.
        at: which line raises, by number, from 0; -1: none.
        error: what it raises.
    """

    def __init__(self, modules: tuple[str, ...], at: int, error: type[BaseException]) -> None:
        self._paths = tuple(str(PACKAGE / module) for module in modules)
        self._at = at
        self._error = error
        self._lock = threading.Lock()
        self._times: Counter[tuple[str, int]] = Counter()
        self.n_lines = 0
        self.place = ""

    def _trace_call(self, frame: FrameType, event: str, _: Any) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(self._paths):
            return None
        blocks, before = _with_blocks(path), frame.f_lineno

        def trace_line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            if event == "line":
                line, last = frame.f_lineno, before
                before = line
                is_exit = line < last <= blocks.get(line, -1)
                if not is_exit and frame.f_code.co_code[frame.f_lasti] != NOP:
                    self._count(path, line)
            return trace_line

        return trace_line

    def _count(self, path: str, line: int) -> None:
        with self._lock:
            self._times[path, line] += 1
            if self._times[path, line] > MOST_TIMES:
                return
            number = self.n_lines
            self.n_lines += 1
        if number == self._at:
            self.place = f"{Path(path).relative_to(PACKAGE)}:{line}"
            raise self._error(f"put in at {self.place}")

    @contextmanager
    def active(self) -> Iterator[None]:
        """Trace this thread and those that start meanwhile."""
        threading.settrace(self._trace_call)
        sys.settrace(self._trace_call)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)
