"""The MD5 of several messages at once, with the kernels of every level, compared with hashlib.

test_guard_page checks that the kernels read nothing outside of the messages.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinesis_fast._core import kernels

pytestmark = pytest.mark.usefixtures("kernel_level")

MEMORY = memoryview(Random(5).randbytes(210_000))
# The bytes before a message and behind it must not matter, nor must its address.
PLACES = st.integers(0, 70)
# Padding and length take 9 bytes, so the last block is full at 55 bytes above a multiple of 64.
LENGTHS = st.one_of(
    st.integers(0, 200),
    st.builds(lambda blocks, over: 64 * blocks + over, st.integers(0, 40), st.integers(54, 66)),
    st.integers(0, 200_000),
)


def expected(messages: Sequence[bytes | memoryview]) -> list[bytes]:
    return [hashlib.md5(message, usedforsecurity=False).digest() for message in messages]


def messages_of(lengths: Sequence[int]) -> list[memoryview]:
    """Return a different message of each length."""
    return [MEMORY[number : number + n_bytes] for number, n_bytes in enumerate(lengths)]


def test_the_examples_of_the_standard() -> None:
    """RFC 1321, appendix A.5."""
    digests = {
        b"": "d41d8cd98f00b204e9800998ecf8427e",
        b"a": "0cc175b9c0f1b6a831c399e269772661",
        b"abc": "900150983cd24fb0d6963f7d28e17f72",
        b"message digest": "f96b697d7cb7938d525a2f31aaf161d0",
        b"1234567890" * 8: "57edf4a22be3c955ac49da2e2107b67a",
    }

    assert [digest.hex() for digest in kernels.md5(digests)] == list(digests.values())


@pytest.mark.parametrize("n_messages", range(21))
def test_any_number_of_messages(n_messages: int) -> None:
    """Fewer than there are lanes, as many, and more; all of the same length."""
    messages = messages_of([300] * n_messages)

    assert kernels.md5(messages) == expected(messages)


def test_every_length_up_to_some_blocks() -> None:
    """Every lane ends at another time and goes on with the next message."""
    for lengths in (range(300), range(300, 0, -1)):
        messages = messages_of(lengths)
        assert kernels.md5(messages) == expected(messages)


@pytest.mark.parametrize("long_at", range(9))
def test_one_message_is_much_longer_than_the_others(long_at: int) -> None:
    """The lanes beside it take all other messages, and then it is alone."""
    lengths = [64 + 3 * number for number in range(40)]
    lengths[long_at] = 20_000
    messages = messages_of(lengths)

    assert kernels.md5(messages) == expected(messages)


@cache
def zeros() -> tuple[mmap.mmap, bytes]:
    """Return memory of more than 2^32 bits, which is zero and occupies none, and its digest."""
    memory = mmap.mmap(-1, (1 << 29) + 3, prot=mmap.PROT_READ)
    return memory, hashlib.md5(memory, usedforsecurity=False).digest()


@pytest.mark.slow
def test_the_length_in_bits_has_64_bits() -> None:
    memory, digest = zeros()

    assert kernels.md5([b"abc", memoryview(memory)]) == [*expected([b"abc"]), digest]


@settings(derandomize=True, deadline=None, database=None, max_examples=80)
@given(st.lists(st.tuples(PLACES, LENGTHS), max_size=20))
def test_any_messages(parts: Sequence[tuple[int, int]]) -> None:
    messages = [MEMORY[place : place + n_bytes] for place, n_bytes in parts]

    assert kernels.md5(messages) == expected(messages)


def test_what_is_not_bytes_is_rejected() -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        kernels.md5([b"abc", "text"])  # type: ignore[list-item]
