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
# What is left out -> why. The marks below leave out more: random doubles, and what measures time.
LEFT_OUT = {
    "tests/core/test_golden.py": "too slow: each chunk with all options of the Go plugin",
    "tests/core/test_mutations.py": "too slow; what it looks for needs a sanitizer",
    "tests/host/test_failures.py": "a host that dies or hangs is the emulator's, not its own",
    "tests/host/test_life.py": "the emulator has threads, signals and memory of its own",
    "tests/host/test_memory.py": "it would watch the memory of the emulator",
    "tests/host/test_migration.py": "too slow; nothing in it depends on the processor",
    "tests/host/test_pythons.py": "too slow; nothing in it depends on the processor",
    "tests/host/test_sanitized.py": "sanitizers do not work under emulation",
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
    rooms = ("tests/core", "tests/host")
    yield Run("the core, and the library for Fluent Bit", (*few, *rooms, *ignored))
