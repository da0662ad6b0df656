"""Random changes to bytes that use the structure of msgpack and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import wire

MAX_BYTES: Final = 8000  # limit for an input; longer ones are cut
BORDER_BYTES: Final = bytes(
    {0, 1, 0x1F, 0x20, 0x22, 0x5C, 0x7F, 0x80, 0x8F, 0x90, 0x92, 0x9F, 0xA0, 0xBF, *range(192, 256)}
)
LENGTH_CODES: Final = (0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, *range(0xD9, 0xE0))
JSON_PIECES: Final = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"null", b"1e999", b"{}", b'""'),
    *(b'"ErrorCode":', b'"ErrorCode":""', b'"ErrorCode":"x"', b'"FailedRecordCount":0,'),
    *(b'"SequenceNumber":"1"', b'"SequenceNumber":""', b'"SequenceNumber":null', b'"Records":['),
    *(b"\r\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"Content-Length: 1\r\n", b"Upgrade: x\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n"),
)


def mutated(rng: Random, pool: Sequence[bytes]) -> bytes:
    """Return a random input of the pool with one to six changes."""
    data = rng.choice(pool)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(CHANGES)(rng, data, pool)
    return data[:MAX_BYTES]


def flip_bit(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Change one bit."""
    at = rng.randrange(len(data)) if data else 0
    return (
        data[:at]
        + bytes([byte ^ 1 << rng.randrange(8) for byte in data[at : at + 1]])
        + data[at + 1 :]
    )


def set_byte(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Replace or insert a byte with one at which the meaning changes in msgpack or JSON."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.choice(BORDER_BYTES)]) + data[at + rng.randrange(2) :]


def cut_end(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Remove the end."""
    return data[: rng.randrange(len(data) + 1)]


def remove(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Remove a piece."""
    start, end = piece(rng, data)
    return data[:start] + data[end:]


def repeat(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Repeat a piece."""
    start, end = piece(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 130)) + data[end:]


def splice(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Insert a piece of another input."""
    other = rng.choice(pool)
    start, end = piece(rng, other)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at + rng.choice((0, end - start)) :]


def put_value(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Insert a random msgpack value, or replace as many bytes with it."""
    value = rng.choice((wire.random_value(rng, 3), wire.random_event(rng), wire.random_scalar(rng)))
    at = rng.randrange(len(data) + 1)
    return data[:at] + value + data[at + rng.choice((0, 1, len(value))) :]


def put_length(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Insert a header with a length close to, or far from, the number of bytes that follow."""
    at = rng.randrange(len(data) + 1)
    left = len(data) - at
    n = rng.choice((left - 1, left, left + 1, left // 2, 0, 255, 65535, 2**31, 2**32 - 1))
    width = rng.choice((1, 2, 4))
    number = (max(n, 0) % (1 << 8 * width)).to_bytes(width, "big")
    return (
        data[:at] + bytes([rng.choice(LENGTH_CODES)]) + number + data[at + rng.choice((0, 1, 5)) :]
    )


def nest(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Nest the rest in some levels, up to about the limit."""
    at = rng.randrange(len(data) + 1)
    level = rng.choice((b"\x91", b"\x81\xa1n", b"\x81", b"\xdd\0\0\0\1"))
    return data[:at] + level * rng.choice((1, 2, 125, 126, 127, 128, 129)) + data[at:]


def put_json(rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Insert a piece of a response."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(JSON_PIECES) + data[at + rng.choice((0, 0, 1)) :]


def piece(rng: Random, data: bytes) -> tuple[int, int]:
    """Return the start and end of a random, mostly short, piece of the data."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 9, 16, 33, 100, len(data))))


CHANGES: Final[tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...]] = (
    *(flip_bit, set_byte, set_byte, cut_end, remove, repeat, splice),
    *(put_value, put_value, put_length, nest, put_json),
)
