"""Memory from malloc that is exactly as long as what it holds.

A bytes object has a zero byte behind it and lies, when it is small, in a block of Python's own:
a sanitizer sees no over-read of it. Of malloc's memory it sees the first byte too many.
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
    """Copy data into memory of its own and give a writable view of it; then free the memory."""
    if not data:
        yield memoryview(b"")
        return
    address = LIBC.malloc(len(data))
    if address is None:
        raise MemoryError(f"no memory for {len(data)} bytes")
    try:
        ctypes.memmove(address, data, len(data))
        yield memoryview((ctypes.c_char * len(data)).from_address(address)).cast("B")
    finally:
        LIBC.free(address)
