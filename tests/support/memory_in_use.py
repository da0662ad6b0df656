"""The memory that a process really uses, apart from what its allocators keep for later.

Resident memory says little about a leak: each arena of glibc keeps free memory at its end, some
MiB once large blocks have been freed, and there are several arenas for each processor.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import NamedTuple


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


_MALLINFO2 = ctypes.CDLL(None).mallinfo2  # glibc 2.33 or later
_MALLINFO2.restype = _MallInfo2


class MemoryInUse(NamedTuple):
    """What is allocated at a moment, after garbage was collected.

    Attributes:
        malloc_bytes: bytes that malloc handed out and that were not freed, in all arenas.
        python_blocks: blocks that Python handed out: every small object is in one or two.
        python_objects: objects that may refer to others: containers, frames, exceptions.
    """

    malloc_bytes: int
    python_blocks: int
    python_objects: int


def memory_in_use() -> MemoryInUse:
    """Collect garbage and measure."""
    gc.collect()
    python_blocks, python_objects = sys.getallocatedblocks(), len(gc.get_objects())
    info = _MALLINFO2()
    return MemoryInUse(info.uordblks + info.hblkhd, python_blocks, python_objects)


def resident_bytes() -> int:
    """Return how much of the process is in memory now, free parts of arenas included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
