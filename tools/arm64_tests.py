"""The tests that run under emulation, and those that are left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# These call the kernels of every level themselves; the others use the best level, NEON.
OF_LEVELS = (
    "tests/core/test_guard_page.py",
    "tests/core/test_kernels.py",
    "tests/core/test_md5.py",
    "tests/core/test_partition_key.py",
    "tests/core/test_text.py",
)
# What is left out -> why.
LEFT_OUT = {
    "tests/core/test_golden.py": "too slow: each chunk of the Go plugin with all its options",
    "tests/core/test_mutations.py": "too slow: it looks for what only a sanitizer sees",
    "tests/host/test_memory.py": "it would measure the memory of the emulator",
    "tests/host/test_sanitized.py": "the emulator does not run with a sanitizer",
}


class Run(NamedTuple):
    """A run of pytest: what it tests, and its arguments."""

    title: str
    arguments: tuple[str, ...]


def runs() -> Iterator[Run]:
    """Yield the runs, one after the other."""
    yield Run("the kernels of each level", ("-m", "not long and not slow", *OF_LEVELS))
    ignored = [f"--ignore={file}" for file in (*OF_LEVELS, *LEFT_OUT)]
    few = ("--quick", "-m", "not long and not slow and not heavy")
    yield Run(
        "the core, and the library for Fluent Bit", (*few, "tests/core", "tests/host", *ignored)
    )
