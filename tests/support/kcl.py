"""Which records a consumer with the Kinesis Client Library (KCL) gets: its rule, in Python.

Written after AggregatorUtil.java of amazon-kinesis-client 3.5.1, apart from `kinesis_fast.reading`:
the protocol buffers are read with the classes of aws-kinesis-agg. tests/reading/test_kcl.py
compares it with what that Java code returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aws_kinesis_agg.deaggregator import messages_pb2
from google.protobuf.message import DecodeError

MAGIC = b"\xf3\x89\x9a\xc2"
WHOLE_RANGE = (0, 2**128 - 1)

Ranges = Mapping[str, tuple[int, int]]


class Entry(NamedTuple):
    """A record as it is stored in a shard."""

    shard_id: str
    partition_key: str
    data: bytes


class UserRecord(NamedTuple):
    """A record as KCL passes it to the application."""

    partition_key: str
    explicit_hash_key: str | None
    data: bytes
    sub_sequence_number: int = 0
    is_aggregated: bool = False


def ranges_of(shards: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return first and last hash key of each shard that ListShards has returned."""
    return {
        shard["ShardId"]: (
            int(shard["HashKeyRange"]["StartingHashKey"]),
            int(shard["HashKeyRange"]["EndingHashKey"]),
        )
        for shard in shards
    }


def survivors(entries: Iterable[Entry], ranges: Ranges) -> list[UserRecord]:
    """Return the records that KCL passes on, in the order of the entries.

    KCL keeps everything from a shard that it does not know.
    """
    return [
        record
        for entry in entries
        for record in kept(entry, ranges.get(entry.shard_id, WHOLE_RANGE))
    ]


def kept(entry: Entry, shard: tuple[int, int]) -> list[UserRecord]:
    """Return the records of one entry that KCL passes on."""
    bare = [UserRecord(entry.partition_key, None, entry.data)]
    content, digest = entry.data[len(MAGIC) : -16], entry.data[-16:]
    if not entry.data.startswith(MAGIC) or len(entry.data) - len(MAGIC) <= len(digest):
        return bare
    if hashlib.md5(content).digest() != digest:
        return bare
    message = messages_pb2.AggregatedRecord()
    try:
        message.ParseFromString(content)
    except DecodeError:
        return bare
    return _in_range(message, shard) if message.IsInitialized() else bare


def _in_range(message: Any, shard: tuple[int, int]) -> list[UserRecord]:
    taken: list[UserRecord] = []
    for record in message.records:
        try:
            partition_key = _text(message.partition_key_table[record.partition_key_index])
            explicit = None
            if record.HasField("explicit_hash_key_index"):
                explicit = _text(message.explicit_hash_key_table[record.explicit_hash_key_index])
            key = hash_key(partition_key, explicit)
        except (IndexError, ValueError):
            return taken  # KCL writes an error to its log and keeps those before
        if not shard[0] <= key <= shard[1]:
            return []
        taken.append(UserRecord(partition_key, explicit, record.data, len(taken), True))
    return taken


def _text(key: str | bytes) -> str:
    """Return a key as Java reads it; this library returns bytes for what is not UTF-8."""
    return key if isinstance(key, str) else key.decode(errors="replace")


def hash_key(partition_key: str, explicit_hash_key: str | None) -> int:
    """Return the hash key that decides: the explicit one, or the MD5 of the partition key."""
    if explicit_hash_key is not None:
        return int(explicit_hash_key)
    return int(hashlib.md5(partition_key.encode()).hexdigest(), 16)
