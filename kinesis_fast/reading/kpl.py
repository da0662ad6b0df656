"""Reads aggregates of the Kinesis Producer Library (KPL).

The format is that of aggregation-format.md in awslabs/amazon-kinesis-producer::

    F3 89 9A C2, a protocol buffer, the MD5 of the protocol buffer (16 bytes)

    message AggregatedRecord {
        repeated string partition_key_table = 1;
        repeated string explicit_hash_key_table = 2;
        repeated Record records = 3;
    }
    message Record {
        required uint64 partition_key_index = 1;
        optional uint64 explicit_hash_key_index = 2;
        required bytes data = 3;
        repeated Tag tags = 4;
    }
"""

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

MAGIC: Final = b"\xf3\x89\x9a\xc2"
MD5_BYTES: Final = 16
MAX_VARINT_BYTES: Final = 10  # 64 bits, 7 in each byte
MAX_UINT64: Final = 2**64 - 1

RECORDS_FIELD: Final = 3  # of AggregatedRecord
MORE_FOLLOWS: Final = 0x80  # the top bit of a byte of a varint

# Wire types of protocol buffers, and the bytes of those with a fixed size.
VARINT: Final = 0
LENGTH_DELIMITED: Final = 2
FIXED_BYTES: Final = {1: 8, 5: 4}

Value = int | bytes


class SubRecord(NamedTuple):
    """One record of an aggregate.

    Attributes:
        partition_key: bytes that are not UTF-8 are U+FFFD.
        explicit_hash_key: its text, None without one.
        data: as the producer put it in; perhaps compressed.
    """

    partition_key: str
    explicit_hash_key: str | None
    data: bytes


class _MalformedError(Exception):
    """The bytes are no aggregate."""


def de_aggregate(data: bytes) -> list[SubRecord] | None:
    """Return the records of an aggregate.

    Args:
        data: of a stored record.

    Returns:
        The records in their order, or None if the data is not an aggregate: another magic, another
        MD5, or a structure that does not fit. Readers treat that as one record.
    """
    if not data.startswith(MAGIC) or len(data) <= len(MAGIC) + MD5_BYTES:
        return None
    content = data[len(MAGIC) : -MD5_BYTES]
    if hashlib.md5(content, usedforsecurity=False).digest() != data[-MD5_BYTES:]:
        return None
    try:
        return _records(content)
    except _MalformedError:
        return None


def _records(content: bytes) -> list[SubRecord]:
    """Read a whole message; the tables may stand behind the records."""
    tables: tuple[list[str], list[str]] = ([], [])
    found: list[bytes] = []
    for number, value in _fields(content):
        if number in {1, 2} and isinstance(value, bytes):
            tables[number - 1].append(value.decode(errors="replace"))
        elif number == RECORDS_FIELD and isinstance(value, bytes):
            found.append(value)
    return [_record(part, *tables) for part in found]


def _record(part: bytes, partition_keys: list[str], hash_keys: list[str]) -> SubRecord:
    fields = dict(_fields(part))
    key, hash_key, data = fields.get(1), fields.get(2), fields.get(3)
    if not isinstance(key, int) or not isinstance(data, bytes):
        raise _MalformedError
    try:
        return SubRecord(
            partition_keys[key], hash_keys[hash_key] if isinstance(hash_key, int) else None, data
        )
    except IndexError:
        raise _MalformedError from None


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field; those of a fixed size hold nothing that is needed."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if not number:
            raise _MalformedError
        if wire_type == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        n_bytes = FIXED_BYTES.get(wire_type)
        if wire_type == LENGTH_DELIMITED:
            n_bytes, position = _varint(message, position)
        if n_bytes is None or n_bytes > len(message) - position:
            raise _MalformedError
        if wire_type == LENGTH_DELIMITED:
            yield number, message[position : position + n_bytes]
        position += n_bytes


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & MORE_FOLLOWS:
            if value > MAX_UINT64:
                raise _MalformedError
            return value, position + index + 1
    raise _MalformedError
