"""Memory next to inaccessible pages: an access to one byte too many kills the process.

Run this as a program, because a failure kills it. `chunks LEVEL` encodes many chunks between two
inaccessible pages with the kernels of a level, and compares the results with those of the same
bytes elsewhere. `kernels LEVEL` calls the kernels with a source and a target between such pages;
the target has the smallest allowed size. Both print the number of cases. `over-read` and
`over-write` access the byte after the memory, to show that this kills the process.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import sys
from base64 import b64encode
from collections.abc import Iterator
from random import Random
from unittest.mock import patch

import wire
from chunks import chunk_names, event, load_chunk, output_config
from oracle_text import json_string, text_of

from kinesis_fast import RecordEncoder
from kinesis_fast._core import kernels

PAGE = mmap.PAGESIZE
KERNEL_SLACK = 32  # bytes that a kernel may write after its text
CAPACITY = 1 << 22  # bytes between the two inaccessible pages
LENGTHS = [*range(81), *range(4056, 4137)]
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"log_key": "text", "append_newline": "true"},
    {"partition_key": "text", "replace_dots": "_"},
    {"data_keys": "text", "time_key": "time"},
)


class GuardedMemory:
    """Memory between two inaccessible pages."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, CAPACITY + 2 * PAGE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) + PAGE
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for address in (self._start - PAGE, self._start + CAPACITY):
            if protect(address, PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def at_end(self, data: bytes) -> memoryview:
        """Place the data directly before the second page and return a view of it."""
        return self._place(data, self._start + CAPACITY - len(data))

    def at_start(self, data: bytes) -> memoryview:
        """Place the data directly after the first page and return a view of it."""
        return self._place(data, self._start)

    def _place(self, data: bytes, address: int) -> memoryview:
        ctypes.memmove(address, data, len(data))
        return memoryview((ctypes.c_char * len(data)).from_address(address)).cast("B")

    def over_read(self) -> int:
        """Read the first byte after the memory, which kills the process."""
        return ctypes.c_ubyte.from_address(self._start + CAPACITY).value

    def over_write(self) -> None:
        """Write the first byte after the memory, which kills the process."""
        ctypes.c_ubyte.from_address(self._start + CAPACITY).value = 0


def chunks() -> Iterator[bytes]:
    """Yield chunks whose last values have all kinds and lengths, and malformed chunks."""
    for name in chunk_names():
        yield load_chunk(name)
    for n_bytes in LENGTHS:
        for last in (b"x", b'"', b"\n", b"\xc3\xa9", b"\xf0\x9f\x9a\x80", b"\xff", b"\xe6\x97"):
            raw = (b"x" * n_bytes + last)[-n_bytes:] if n_bytes else b""
            for value in (wire.string(raw), wire.binary(raw), wire.ext(5, raw, wire.W32)):
                yield wire.array([b"\x01", wire.mapping([(wire.string(b"text"), value)])])
                yield wire.array([b"\x01", wire.mapping([(value, b"\x01")])])[:-1]
                yield wire.array([b"\x01", value])
                yield wire.array([wire.array([b"\x01", wire.mapping([])]), value])[:-1]
    small = event({"a.b": [1, -1, 1.5, "text", None], "text": {"k": b"\xff" * 40}}) * 2
    yield from (small[:cut] for cut in range(len(small)))
    rng = Random(11)
    for _ in range(500):
        whole = wire.random_event(rng)
        yield whole
        yield whole[: rng.randrange(len(whole))]
        yield rng.randbytes(rng.randrange(40))


def main() -> None:
    """Run the command of the command line."""
    action = sys.argv[1]
    if action == "over-read":
        print("reading", flush=True)
        GuardedMemory().over_read()
    elif action == "over-write":
        print("writing", flush=True)
        GuardedMemory().over_write()
    else:
        kernels.use_level(sys.argv[2])
        print(compare_chunks() if action == "chunks" else compare_kernels())


def compare_chunks() -> int:
    """Compare all chunks in guarded memory with the same bytes elsewhere; return their number."""
    memory = GuardedMemory()
    n_chunks = 0
    encoders = [RecordEncoder(output_config(options)) for options in OPTIONS]
    with patch("os.urandom", bytes):
        for chunk in chunks():
            encoder = encoders[n_chunks % len(encoders)]
            expected = bodies(encoder, chunk)
            for place in (memory.at_end, memory.at_start):
                assert bodies(encoder, place(chunk)) == expected, chunk[:200]
            encoder.count(memory.at_end(chunk))
            n_chunks += 1
    return n_chunks


def compare_kernels() -> int:
    """Compare the kernels in guarded memory with plain Python; return the number of calls."""
    source_memory, target_memory = GuardedMemory(), GuardedMemory()
    n_calls = 0
    for text in texts():
        escaped = json_string(text_of(text))[1:-1].encode()
        for kernel, expected, room in (
            (kernels.escape, escaped, 6 * len(text)),
            (kernels.base64, b64encode(text), (len(text) + 2) // 3 * 4),
        ):
            target = target_memory.at_end(bytes(room + KERNEL_SLACK))
            for source in (source_memory.at_end(text), source_memory.at_start(text)):
                n_bytes = kernel(source, target)
                assert target[:n_bytes] == expected, text
                n_calls += 1
        digest = hashlib.md5(text, usedforsecurity=False).digest()
        for source in (source_memory.at_end(text), source_memory.at_start(text)):
            assert kernels.md5([source]) == [digest], text
            assert kernels.md5([source] * 3) == [digest] * 3, text
            assert kernels.md5([source] * 9) == [digest] * 9, text
            n_calls += 3
    return n_calls


def texts() -> Iterator[bytes]:
    """Yield texts of every length; the last character is plain, escaped, truncated or invalid."""
    for n_bytes in range(301):
        for last in (b"x", b'"', b"\x01", b"\xc3\xa9", b"\xf0\x9f\x9a\x80", b"\xff", b"\xe6\x97"):
            for filling in (b"x", b"\x00", b"\xc3\xa9"):
                yield (filling * n_bytes + last)[len(filling) * n_bytes + len(last) - n_bytes :]


def bodies(encoder: RecordEncoder, chunk: bytes | memoryview) -> list[bytes]:
    """Return the bodies of all requests; a patched os.urandom makes random keys reproducible."""
    return [bytes(request.body) for request in encoder.requests(chunk)]


if __name__ == "__main__":
    main()
