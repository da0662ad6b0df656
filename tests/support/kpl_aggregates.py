"""Aggregates of the KPL format for tests, written with the classes of aws-kinesis-agg."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from aws_kinesis_agg.deaggregator import messages_pb2

from kinesis_fast.reading.kpl import MAGIC, SubRecord


def aggregate(records: Iterable[SubRecord]) -> bytes:
    """Return records as one aggregate, each key once in its table."""
    message = messages_pb2.AggregatedRecord()
    for record in records:
        added = message.records.add()
        added.partition_key_index = _index(message.partition_key_table, record.partition_key)
        if record.explicit_hash_key is not None:
            table = message.explicit_hash_key_table
            added.explicit_hash_key_index = _index(table, record.explicit_hash_key)
        added.data = record.data
    return sealed(message.SerializeToString())


def sealed(content: bytes) -> bytes:
    """Return a message with magic and MD5."""
    return MAGIC + content + hashlib.md5(content).digest()


def _index(table: list[str], key: str) -> int:
    if key not in table:
        table.append(key)
    return list(table).index(key)
