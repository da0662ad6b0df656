"""What a process uses, apart from the memory that its allocators keep for later, and its growth.

Resident memory says little about a leak: each arena of glibc keeps free memory at its end, many MiB
once a block of some MiB has been freed, and there are several arenas for each processor.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

LIBC: Final = ctypes.CDLL(None)


class _MallInfo2(ctypes.Structure):
    """The struct mallinfo2 of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )

    hblkhd: int
    uordblks: int


class Resources(NamedTuple):
    """What a process uses at a moment, after garbage was collected.

    Attributes:
        malloc_bytes: bytes that malloc handed out and that were not freed, in all arenas.
        python_blocks: blocks that Python handed out: every small object is in one or two.
        python_objects: objects that may refer to others: containers, frames, exceptions.
        descriptors: open file descriptors.
        threads: those that Python knows.
    """

    malloc_bytes: int
    python_blocks: int
    python_objects: int
    descriptors: int
    threads: int


# From the second third of a run to the last. What the package keeps on purpose stays far below:
# an output remembers what was refused, for instance, two blocks each.
ALLOWED_GROWTH: Final = Resources(
    malloc_bytes=512 * 1024, python_blocks=4000, python_objects=500, descriptors=2, threads=2
)


def resources() -> Resources:
    """Collect garbage and measure this process; needs glibc 2.33 or later."""
    gc.collect()
    python_blocks, python_objects = sys.getallocatedblocks(), len(gc.get_objects())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    return Resources(malloc_bytes(), python_blocks, python_objects, descriptors, threads)


def malloc_bytes() -> int:
    """Return the bytes that malloc handed out and that were not freed, in all arenas."""
    LIBC.mallinfo2.restype = _MallInfo2
    info = LIBC.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def resident_bytes() -> int:
    """Return how much of the process is in memory now, free parts of arenas included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def growth(samples: Sequence[Resources]) -> list[str]:
    """Return which resources have grown from the second third of the samples to the last.

    The least of each third counts. A connection, or the buffer of a thread, may be there or not
    when a sample is taken; what is never given back is there every time.
    """
    third = len(samples) // 3
    if not third:
        return ["too few rounds to tell"]
    before, after = samples[third : 2 * third], samples[2 * third :]
    grown = []
    for name, allowed in ALLOWED_GROWTH._asdict().items():
        first, last = (min(getattr(one, name) for one in part) for part in (before, after))
        if last > first + allowed:
            grown.append(f"{name} grew from {first} to {last}; {allowed} more are allowed")
    return grown
