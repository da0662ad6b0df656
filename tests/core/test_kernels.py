"""The kernels of every level of this CPU, called directly and compared with plain Python.

test_guard_page checks that they stay inside their buffers. test_text also runs with every level.
The other tests of the core run with the best level; `make portable` runs them in a build that has
only the kernels for any CPU.
"""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_levels import ALL_LEVELS_IN_ONE, each_level
from oracle_text import json_string, text_of

from kinesis_fast._core import kernels

pytestmark = pytest.mark.usefixtures("kernel_level")

SLACK = 32
BEFORE = b'\x80\xff"\\'  # the bytes before a text in memory must not matter
BEHIND = b'\xbf"\x00\\\xff'


def escaped(source: bytes | memoryview) -> bytes:
    target = bytearray(6 * len(source) + SLACK)
    return bytes(target[: kernels.escape(source, target)])


def in_base64(source: bytes | memoryview) -> bytes:
    target = bytearray((len(source) + 2) // 3 * 4 + SLACK)
    return bytes(target[: kernels.base64(source, target)])


def expected(source: bytes) -> bytes:
    return json_string(text_of(source))[1:-1].encode()


def at_alignments(source: bytes, n_alignments: int) -> Iterator[memoryview]:
    """Yield the bytes from addresses with different alignments, between other bytes."""
    for shift in range(n_alignments):
        start = len(BEFORE) + shift
        memory = BEFORE.rjust(start, b"\xc3") + source + BEHIND
        yield memoryview(memory)[start : start + len(source)]


def test_the_best_level_is_used() -> None:
    names = kernels.levels()

    assert names in (("scalar", "ssse3", "avx2")[: len(names)], ("scalar", "neon"))
    kernels.use_level(names[-1])
    assert kernels.level() == names[-1]


def test_an_unknown_level_is_rejected(kernel_level: str) -> None:
    with pytest.raises(ValueError, match="avx1024"):
        kernels.use_level("avx1024")
    assert kernels.level() == kernel_level


@pytest.mark.parametrize("kernel", [kernels.escape, kernels.base64])
def test_a_target_that_is_too_small_is_rejected(kernel: Callable[[bytes, bytearray], int]) -> None:
    with pytest.raises(ValueError, match=r"has [0-9]+ bytes and needs"):
        kernel(b"abc", bytearray(35))


# --- escapes and UTF-8 --------------------------------------------------------------------------


PATTERNS = (
    b"plain ASCII text without anything in it that would have to be escaped; ",
    b'"quoted"\\\t\x00, ',
    "Смешанный text, 漢字 and 🚀 emoji, größe; ".encode(),
    "漢字かな交じり文".encode(),
    "🚀✅🎉".encode(),
    "aé".encode(),
    b"latin-1 gr\xf6\xdfe caf\xe9, ",
    b"\xff\xfe\x80",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_escape_of_all_lengths_at_all_alignments(pattern: bytes) -> None:
    """The text ends at every position in a block and in a character."""
    whole = pattern * (320 // len(pattern) + 1)
    for n_bytes in range(301):
        source = whole[n_bytes % 7 :][:n_bytes]
        right = expected(source)
        for view in at_alignments(source, 32 if n_bytes % 16 == 1 else 3):
            assert escaped(view) == right, (n_bytes, source)


@pytest.mark.parametrize(
    "special", [b'"', b"\x1f", "é".encode(), "🚀".encode(), b"\xff", b"\xe6\x97"]
)
def test_escape_with_something_special_at_each_place(special: bytes) -> None:
    for before, behind in itertools.product(range(70), (0, 1, 15, 16, 31, 33, 64, 100)):
        source = b"x" * before + special + b"y" * behind
        assert escaped(source) == expected(source)


def test_each_byte_is_escaped_as_json_demands() -> None:
    for byte in range(256):
        for source in (bytes([byte]), bytes([byte]) * 100, b"x" * 40 + bytes([byte]) + b"y" * 40):
            assert escaped(source) == expected(source)


@cache
def utf8_borders() -> tuple[bytes, bytes]:
    """Return all sequences of four bytes at the borders of valid UTF-8, and their escaped texts."""
    leads = b"A\x80\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xf8\xff"
    others = b"A\x7f\x80\x8f\x90\x9f\xa0\xbf\xc2\xe1\xf1\xff"
    source = b"".join(
        bytes(four) + b"-" * (number % 3)
        for number, four in enumerate(itertools.product(leads, others, others, others))
    )
    return source, expected(source)


def test_utf8_at_all_its_borders() -> None:
    source, right = utf8_borders()

    for view in at_alignments(source, 4):
        assert escaped(view) == right


def test_utf8_borders_in_otherwise_valid_text() -> None:
    """A block of valid characters has one border sequence, at every position in the block."""
    source, _ = utf8_borders()
    for number in range(0, len(source) - 4, 5):
        text = "é漢🚀я".encode() * 3
        at = number % 29
        mixed = text[:at] + source[number : number + 1 + number % 4] + text[at:]
        assert escaped(mixed) == expected(mixed), mixed


def test_every_character_is_copied() -> None:
    characters = "".join(chr(i) for i in range(0x80, 0x110000) if not 0xD800 <= i <= 0xDFFF)
    source = characters.encode()

    assert escaped(source) == source


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=40).map(str.encode),
        st.text("abc xyz", max_size=80).map(str.encode),
        st.text('"\\\n\x00', max_size=6).map(str.encode),
        st.text("яé漢🚀", max_size=40).map(str.encode),
        st.sampled_from([b"\xe2\x82", b"\xf0\x9f\x9a", b"\xc3", b"\x80", b"\xed\xa0\x80"]),
    ),
    max_size=12,
).map(b"".join)


@pytest.mark.heavy
@ALL_LEVELS_IN_ONE
@settings(derandomize=True, deadline=None, database=None, max_examples=300)
@given(PIECES, st.integers(0, 31))
def test_escape_of_anything(source: bytes, shift: int) -> None:
    *_, view = at_alignments(source, shift + 1)
    right = expected(source)

    for level in each_level():
        assert escaped(view) == right, level


# --- base64 -------------------------------------------------------------------------------------


def test_base64_of_all_lengths_at_all_alignments() -> None:
    whole = bytes(range(256)) + Random(3).randbytes(64)
    for n_bytes in range(301):
        source = whole[-n_bytes:] if n_bytes else b""
        for view in at_alignments(source, 32 if n_bytes % 16 == 1 else 3):
            assert in_base64(view) == b64encode(source)


def test_base64_of_every_group() -> None:
    """Each of the four characters of a group takes all its values."""
    source = b"".join(i.to_bytes(3, "big") for i in range(0, 1 << 24, 63))

    assert in_base64(source) == b64encode(source)
    assert in_base64(b"abc" + bytes(range(256)) * 64) == b64encode(b"abc" + bytes(range(256)) * 64)


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(st.binary(max_size=2000))
def test_base64_of_anything(source: bytes) -> None:
    assert in_base64(source) == b64encode(source)
