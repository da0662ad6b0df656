"""Inflates raw snappy, a format without a magic; see format_description.txt of google/snappy.

A varint with the length of the text, then elements, each a literal or a copy of earlier text.
"""

from typing import Final

MAX_LENGTH_BYTES: Final = 5  # of the varint, which has 32 bits
MORE_FOLLOWS: Final = 0x80  # the top bit of a byte of the varint
LITERAL: Final = 0  # kinds of elements; 1 to 3: copies
NEAR_COPY: Final = 1  # 3 bits of length, 11 of offset
OFFSET_BYTES: Final = {NEAR_COPY: 1, 2: 2, 3: 4}  # after the tag
SHORT_LITERAL: Final = 60  # tags from here on say how many bytes hold the length


class SnappyError(ValueError):
    """The data is not raw snappy, or holds more than allowed."""


def inflate(data: bytes, limit: int) -> bytes:
    """Return the text of one block.

    Args:
        data: the block.
        limit: bytes of text that are allowed.

    Raises:
        SnappyError: the data is damaged, or holds more.
    """
    length, position = _length(data)
    if length > limit:
        raise SnappyError(f"it holds {length:,} bytes")
    text = bytearray()
    while position < len(data):
        position = _element(data, position, text, length)
    if len(text) != length:
        raise SnappyError(f"it ends after {len(text):,} of {length:,} bytes")
    return bytes(text)


def _length(data: bytes) -> tuple[int, int]:
    length = 0
    for index, byte in enumerate(data[:MAX_LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * index
        if not byte & MORE_FOLLOWS:
            return length, index + 1
    raise SnappyError("it does not begin with a length")


def _element(data: bytes, position: int, text: bytearray, length: int) -> int:
    """Append what one element stands for, and return the position of the next."""
    tag = data[position]
    kind, size = tag & 3, tag >> 2
    position += 1
    if kind == LITERAL:
        n_more = max(size - SHORT_LITERAL + 1, 0)
        if n_more:
            size = int.from_bytes(data[position : position + n_more], "little")
        begin, size = position + n_more, size + 1
        literal = data[begin : begin + size]
        if len(literal) != size or size > length - len(text):
            raise SnappyError(f"a literal at byte {position - 1} is too long")
        text += literal
        return begin + size
    n_more = OFFSET_BYTES[kind]
    if kind == NEAR_COPY:
        offset, size = tag >> 5 << 8, (size & 7) + 4
    else:
        offset, size = 0, size + 1
    field = data[position : position + n_more]
    offset |= int.from_bytes(field, "little")
    if len(field) != n_more or not 0 < offset <= len(text) or size > length - len(text):
        raise SnappyError(f"a copy at byte {position - 1} leads outside the text")
    source = text[len(text) - offset :][:size]
    text += (source * (size // len(source) + 1))[:size]
    return position + n_more
