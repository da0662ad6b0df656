"""Memory from malloc that is exactly as long as its content.

A bytes object has a zero byte after its content, and a small one lies in a block of Python's
allocator, so a sanitizer cannot see reads beyond it. In memory from malloc it sees even one byte
too many.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

LIBC = ctypes.CDLL(None)
LIBC.malloc.argtypes = (ctypes.c_size_t,)
LIBC.malloc.restype = ctypes.c_void_p
LIBC.free.argtypes = (ctypes.c_void_p,)
LIBC.free.restype = None


@contextmanager
def exact(data: bytes) -> Iterator[memoryview]:
    """Copy data to its own memory and yield a writable view; free the memory at the end."""
    if not data:
        yield memoryview(b"")
        return
    address = LIBC.malloc(len(data))
    if address is None:
        raise MemoryError(f"out of memory for {len(data)} bytes")
    try:
        ctypes.memmove(address, data, len(data))
        yield memoryview((ctypes.c_char * len(data)).from_address(address)).cast("B")
    finally:
        LIBC.free(address)
