"""Ways to pack records into entries, and what becomes of a chunk with each of them."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from compare_encode import WrongResultError, copied_bodies
from workloads import BASE_OPTIONS

from kinesis_fast import OutputConfig, RecordEncoder
from kinesis_fast.plan.measure import BILLED_BYTES, PUT_UNIT_BYTES
from kinesis_fast.reading.records import seen_in

KPL = {"aggregation": "true"}
LINES = {"simple_aggregation": "true"}

Record = tuple[str, bytes]


@dataclass(frozen=True)
class Way:
    """Options that decide how records become entries.

    partition_key: the path to the keys, empty for random ones.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    partition_key: str = ""

    def encoder(self) -> RecordEncoder:
        """An encoder with these options."""
        return RecordEncoder(OutputConfig.from_options(self.all_options()))

    def all_options(self) -> dict[str, str]:
        """The options of an output."""
        key = {"partition_key": self.partition_key} if self.partition_key else {}
        return {**BASE_OPTIONS, **key, **self.options}

    @property
    def joins(self) -> bool:
        """Whether an entry is lines, each of them a record."""
        return "simple_aggregation" in self.options


class Packed(NamedTuple):
    """What a chunk becomes.

    record_bytes: data and keys of its records, as they would be without packing.
    entry_bytes: data and keys of the entries.
    put_units: PUT payload units that a provisioned stream charges for.
    billed_bytes: what an on-demand stream charges for.
    """

    record_bytes: int
    requests: int
    records: int
    entries: int
    entry_bytes: int
    body_bytes: int
    put_units: int
    billed_bytes: int


def packed(chunk: bytes, way: Way) -> Packed:
    """Pack a chunk, and compare what a consumer sees with its records.

    Raises:
        WrongResultError: they differ.
    """
    single = list(_entries(copied_bodies(Way("", {}, way.partition_key).encoder(), chunk)))
    bodies = list(copied_bodies(way.encoder(), chunk))
    entries = list(_entries(bodies))
    found = [record for entry in entries for record in _records_of(entry, way)]
    keeps_keys = bool(way.partition_key) and not way.joins
    if _comparable(found, with_keys=keeps_keys) != _comparable(single, with_keys=keeps_keys):
        raise WrongResultError(f"{way.name}: {len(found)} records are not the {len(single)} plain")
    sizes = [_size(entry) for entry in entries]
    return Packed(
        record_bytes=sum(map(_size, single)),
        requests=len(bodies),
        records=len(found),
        entries=len(entries),
        entry_bytes=sum(sizes),
        body_bytes=sum(map(len, bodies)),
        put_units=sum(ceil(size / PUT_UNIT_BYTES) for size in sizes),
        billed_bytes=sum(ceil(size / BILLED_BYTES) * BILLED_BYTES for size in sizes),
    )


def _entries(bodies: Iterable[bytes]) -> Iterator[Record]:
    for body in bodies:
        for entry in json.loads(body)["Records"]:
            yield entry["PartitionKey"], base64.b64decode(entry["Data"], validate=True)


def _records_of(entry: Record, way: Way) -> Iterator[Record]:
    key, data = entry
    compression = way.options.get("compression", "none")
    for seen in seen_in(data, key, compression, is_joined=way.joins):
        if seen.problem:
            raise WrongResultError(f"{way.name}: {seen.problem}")
        yield seen.partition_key, seen.data.removesuffix(b"\n")


def _comparable(records: Iterable[Record], *, with_keys: bool) -> list[Record]:
    return sorted((key if with_keys else "", data) for key, data in records)


def _size(entry: Record) -> int:
    return len(entry[0].encode()) + len(entry[1])
