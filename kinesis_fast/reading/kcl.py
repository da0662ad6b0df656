"""The rule by which the Kinesis Client Library (KCL) drops aggregates.

KCL knows the hash range of the shard that it reads. If one record of an aggregate has a hash key
outside that range, KCL drops every record of this aggregate and logs nothing. So it hides the
second copy of records that KPL sends again after a shard was split. (AggregatorUtil.java in
awslabs/amazon-kinesis-client)
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from kinesis_fast.reading.kpl import SubRecord

DECIMAL: Final = re.compile("[0-9]{1,39}")  # PutRecords: an ExplicitHashKey is below 2^128


class HashRange(NamedTuple):
    """The hash keys of a shard, both ends included."""

    first: int
    last: int

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and self.first <= key <= self.last


def hash_key(record: SubRecord) -> int | None:
    """Return the hash key that KCL compares; None if the explicit one is not a number."""
    if record.explicit_hash_key is None:
        digest = hashlib.md5(record.partition_key.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest, "big")
    return int(record.explicit_hash_key) if DECIMAL.fullmatch(record.explicit_hash_key) else None


def first_outside(records: Iterable[SubRecord], shard: HashRange) -> int | None:
    """Return the index of the first record outside the range of its shard.

    Args:
        records: of one aggregate.
        shard: the range of the shard that the aggregate is stored in.

    Returns:
        The index; KCL drops the whole aggregate then. None: KCL keeps all of them.
    """
    for index, record in enumerate(records):
        if hash_key(record) not in shard:
            return index
    return None
