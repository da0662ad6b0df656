"""Msgpack written by hand: every header width, also longer than needed, and random values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

FIX, W8, W16, W32, W64 = 0, 1, 2, 4, 8  # width of the field after the first byte; FIX: none

STR: Final = {W8: 0xD9, W16: 0xDA, W32: 0xDB}
BIN: Final = {W8: 0xC4, W16: 0xC5, W32: 0xC6}
EXT: Final = {W8: 0xC7, W16: 0xC8, W32: 0xC9}
ARRAY: Final = {W16: 0xDC, W32: 0xDD}
MAP: Final = {W16: 0xDE, W32: 0xDF}
UINT: Final = {W8: 0xCC, W16: 0xCD, W32: 0xCE, W64: 0xCF}
INT: Final = {W8: 0xD0, W16: 0xD1, W32: 0xD2, W64: 0xD3}
FIXEXT: Final = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}

NIL, FALSE, TRUE, NEVER_USED = b"\xc0", b"\xc2", b"\xc3", b"\xc1"


def header(codes: dict[int, int], fix: tuple[int, int] | None, n: int, width: int) -> bytes:
    """Return a header for n items; fix is the first byte of the short form and its capacity."""
    if width == FIX:
        assert fix is not None and n < fix[1]
        return bytes([fix[0] | n])
    return bytes([codes[width]]) + n.to_bytes(width, "big")


def widths(codes: dict[int, int], fix: tuple[int, int] | None, n: int) -> list[int]:
    """Return the widths that can hold n, the shortest first."""
    fitting = [width for width in codes if n < 1 << (8 * width)]
    return [FIX, *fitting] if fix is not None and n < fix[1] else fitting


FIX_STR: Final = (0xA0, 32)
FIX_ARRAY: Final = (0x90, 16)
FIX_MAP: Final = (0x80, 16)


def string(raw: bytes, width: int | None = None) -> bytes:
    """Return a str; the shortest header if no width is given."""
    chosen = widths(STR, FIX_STR, len(raw))[0] if width is None else width
    return header(STR, FIX_STR, len(raw), chosen) + raw


def binary(raw: bytes, width: int | None = None) -> bytes:
    """Return a bin."""
    chosen = widths(BIN, None, len(raw))[0] if width is None else width
    return header(BIN, None, len(raw), chosen) + raw


def array(items: Sequence[bytes], width: int | None = None) -> bytes:
    """Return an array of finished values."""
    chosen = widths(ARRAY, FIX_ARRAY, len(items))[0] if width is None else width
    return header(ARRAY, FIX_ARRAY, len(items), chosen) + b"".join(items)


def mapping(pairs: Sequence[tuple[bytes, bytes]], width: int | None = None) -> bytes:
    """Return a map of finished keys and values."""
    chosen = widths(MAP, FIX_MAP, len(pairs))[0] if width is None else width
    return header(MAP, FIX_MAP, len(pairs), chosen) + b"".join(k + v for k, v in pairs)


def ext(code: int, data: bytes, width: int = W8) -> bytes:
    """Return an extension; width FIX is the form without a length."""
    first = bytes([FIXEXT[len(data)]]) if width == FIX else header(EXT, None, len(data), width)
    return first + code.to_bytes(1, "big", signed=True) + data


def unsigned(value: int, width: int) -> bytes:
    """Return an integer in one of the unsigned forms."""
    return bytes([UINT[width]]) + value.to_bytes(width, "big")


def signed(value: int, width: int) -> bytes:
    """Return an integer in one of the signed forms."""
    return bytes([INT[width]]) + value.to_bytes(width, "big", signed=True)


def float64(value: float) -> bytes:
    """Return a double."""
    return b"\xcb" + struct.pack(">d", value)


def float32_bits(bits: int) -> bytes:
    """Return a single-precision float by its bits."""
    return b"\xca" + bits.to_bytes(4, "big")


def float64_bits(bits: int) -> bytes:
    """Return a double by its bits."""
    return b"\xcb" + bits.to_bytes(8, "big")


def integer_forms(value: int) -> list[bytes]:
    """Return all ways to write an integer."""
    forms: list[bytes] = []
    if -32 <= value < 128:
        forms.append(value.to_bytes(1, "big", signed=value < 0))
    forms += [unsigned(value, w) for w in UINT if 0 <= value < 1 << (8 * w)]
    forms += [signed(value, w) for w in INT if -(1 << (8 * w - 1)) <= value < 1 << (8 * w - 1)]
    return forms


# --- random values ------------------------------------------------------------------------------

KEYS: Final = (b"a", b"b", b"log", b"pk", b"n", b"time", b"a.b", b"a_b", b".", b"", b"k\xff")
KEYS_AND_MORE: Final = (*KEYS, "schlüssel".encode(), b"x" * 33, b'q"\\\n', b"log", b"pk", b"n")
TEXTS: Final = (
    b"", b"plain", b'"quoted" \\ back', b"tab\tnew\nline\r\b\f\x00\x1f\x7f",
    "Grüße 世界 🚀".encode(),
    b"\xff", b"cut \xe6\x97", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xf0\x9f\x9a",
    b"<a href=\"x\">&amp;", "\u2028\u2029\ufffd".encode(), b"0" * 31, b"y" * 300, b"12",
    b"\x80" * 20, "é".encode() * 17, b"a" * 15 + b'"', b"b" * 16 + b"\\", b"c" * 47 + b"\n" + b"d",
)  # fmt: skip
BORDERS: Final = [sign * (1 << bits) for bits in (5, 7, 8, 15, 16, 31, 32, 53, 63, 64)
                  for sign in (-1, 1)]  # fmt: skip
INTEGERS: Final = sorted(
    {0} | {border + step for border in BORDERS for step in (-1, 0, 1)
           if -(1 << 63) <= border + step < 1 << 64}
)  # fmt: skip
FLOATS: Final = (
    0.0, -0.0, 1.0, 100.0, 0.1, 1.5, -1.5e-9, 1e-6, 9.999999e-7, 1e-7, 1e20, 1e21, 1.7e308, 5e-324,
    123456789.125, 1 / 3, 2.0**53, 1e16, 123456.789e3, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip


def random_text(rng: Random) -> bytes:
    """Return the bytes of a string: mostly a listed one, else short random bytes."""
    if rng.random() < 0.8:
        return rng.choice(TEXTS)
    return bytes(rng.randrange(256) for _ in range(rng.randrange(24)))


def random_string(rng: Random, raw: bytes) -> bytes:
    """Return a str, or now and then a bin, in a random width."""
    if rng.random() < 0.2:
        return binary(raw, rng.choice(widths(BIN, None, len(raw))))
    return string(raw, rng.choice(widths(STR, FIX_STR, len(raw))))


def random_number(rng: Random) -> bytes:
    """Return an integer or a float in a random form."""
    match rng.randrange(4):
        case 0:
            return rng.choice(integer_forms(rng.choice(INTEGERS)))
        case 1:
            return float64(rng.choice(FLOATS))
        case 2:
            return float32_bits(rng.getrandbits(32))
        case _:
            return float64_bits(rng.getrandbits(64))


def random_ext(rng: Random) -> bytes:
    """Return an extension: a time in one of its forms, or something else."""
    code = rng.choice((0, -1, 5, -128, 127))
    size = rng.choice((0, 1, 2, 4, 8, 12, 16, 17))
    data = bytes(rng.choice((0, 0, 1, 0x3B, 0x65, 0xFF)) for _ in range(size))
    return ext(code, data, rng.choice([FIX] * (size in FIXEXT) + [W8, W16, W32]))


def random_scalar(rng: Random) -> bytes:
    """Return a value that is no container."""
    kinds: tuple[Callable[[Random], bytes], ...] = (
        lambda r: random_string(r, random_text(r)),
        lambda r: random_string(r, random_text(r)),
        random_number,
        random_ext,
        lambda r: r.choice((NIL, FALSE, TRUE)),
    )
    return rng.choice(kinds)(rng)


def random_key(rng: Random) -> bytes:
    """Return a map key, most often a string that the options of the tests name."""
    if rng.random() < 0.9:
        return random_string(rng, rng.choice(KEYS_AND_MORE))
    if rng.random() < 0.9:
        return random_scalar(rng)
    return random_value(rng, 1)


def random_map(rng: Random, depth: int) -> bytes:
    """Return a map of up to 7 pairs, nested at most `depth` levels."""
    pairs = [(random_key(rng), random_value(rng, depth - 1)) for _ in range(rng.randrange(8))]
    return mapping(pairs, rng.choice(widths(MAP, FIX_MAP, len(pairs))))


def random_value(rng: Random, depth: int) -> bytes:
    """Return any value, nested at most `depth` levels."""
    kind = rng.random() if depth > 0 else 1
    if kind < 0.2:
        return random_map(rng, depth)
    if kind < 0.35:
        items = [random_value(rng, depth - 1) for _ in range(rng.randrange(5))]
        return array(items, rng.choice(widths(ARRAY, FIX_ARRAY, len(items))))
    return random_scalar(rng)


def random_time(rng: Random) -> bytes:
    """Return the time of an event that is in range, at most with fractions that floats hold."""
    seconds = rng.choice((0, 1, 1_699_999_999, 1_700_000_000, 2**31 - 1))
    match rng.randrange(4):
        case 0:
            return rng.choice(integer_forms(seconds))
        case 1:
            return float64(seconds + rng.choice((0.0, 0.25, 0.5, 0.125)))
        case _:
            nanoseconds = rng.choice((0, 1, 999_999_999, 123_456_789))
            data = seconds.to_bytes(4, "big") + nanoseconds.to_bytes(4, "big")
            return ext(0, data, rng.choice((FIX, W8, W16, W32)))


def random_event(rng: Random) -> bytes:
    """Return an event in one of the layouts, now and then a marker or without a map."""
    moment = random_time(rng)
    if rng.random() < 0.05:
        moment = ext(0, b"\xff\xff\xff" + rng.choice((b"\xff", b"\xfe")) + bytes(4), FIX)
    if rng.random() < 0.7:
        metadata = random_map(rng, 1) if rng.random() < 0.3 else mapping([], rng.choice((FIX, W32)))
        moment = array([moment, metadata], rng.choice((FIX, W16, W32)))
    body = random_map(rng, 4) if rng.random() < 0.95 else random_value(rng, 2)
    return array([moment, body], rng.choice((FIX, W16, W32)))
