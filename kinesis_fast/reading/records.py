"""From a stored record to the records that a consumer sees."""

from collections.abc import Iterator
from typing import NamedTuple

from kinesis_fast.reading.inflate import inflate
from kinesis_fast.reading.kpl import SubRecord, de_aggregate


class Seen(NamedTuple):
    """A record as a consumer sees it.

    Attributes:
        partition_key: its own.
        explicit_hash_key: of a record of an aggregate that has one; the service returns no other.
        data: inflated.
        compression: the format that the data was in, None if it was not compressed.
        problem: why the data looks compressed but could not be inflated; empty otherwise.
    """

    partition_key: str
    explicit_hash_key: str | None
    data: bytes
    compression: str | None = None
    problem: str = ""


def seen(records: list[SubRecord], compression: str | None = None) -> Iterator[Seen]:
    """Yield records with their data inflated, one at a time.

    Args:
        records: of an aggregate, or a single one.
        compression: the format of all data, None to recognise it by its magic.

    Raises:
        MissingLibraryError: the format needs a package that is not installed.
    """
    for record in records:
        found = inflate(record.data, compression)
        yield Seen(record.partition_key, record.explicit_hash_key, *found)


def seen_in(
    data: bytes, partition_key: str, compression: str | None = None, *, is_joined: bool = False
) -> Iterator[Seen]:
    """Yield the records of a stored record as a consumer sees them.

    Args:
        data: of the stored record: an aggregate, or a single record.
        partition_key: of the stored record.
        compression: as for `seen`.
        is_joined: whether data is lines, each a record with its newline (simple_aggregation).

    Raises:
        MissingLibraryError: as for `seen`.
    """
    records = de_aggregate(data)
    if records is None:
        records = [SubRecord(partition_key, None, data)]
    for record in seen(records, compression):
        if is_joined:
            yield from (record._replace(data=line) for line in _lines(record.data))
        else:
            yield record


def _lines(data: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin) + 1 or len(data)
        yield data[begin:end]
        begin = end
