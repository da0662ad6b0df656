"""How `read` shows records, and what it counts."""

import base64
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

from kinesis_fast import logs
from kinesis_fast.cli.common import complain, counted, megabytes, record_bytes
from kinesis_fast.reading.kcl import first_outside, hash_key
from kinesis_fast.reading.kpl import SubRecord, de_aggregate
from kinesis_fast.reading.records import Seen, seen
from kinesis_fast.reading.shards import Shard

NAMED_AGGREGATES: Final = 10  # that KCL would drop; the others are only counted
NAMED_PROBLEMS: Final = 10
MAX_NAME: Final = 200  # characters of a shard or a key

Stored = dict[str, Any]


@dataclass
class Seeing:
    """Shows what a consumer sees of stored records, and counts.

    Args:
        show: gets a shard, a stored record, the number of a record within its aggregate (None for
            one that is stored alone), and the record.
        limit: records to show at most; None for all.
        is_raw: whether to show records as they are stored.
        drops: whether to leave out what KCL would drop.
        compression: the format of all data; None to recognise it; "none" to leave it as it is.
    """

    show: Callable[[Shard, Stored, int | None, Seen], None]
    limit: int | None = None
    is_raw: bool = False
    drops: bool = False
    compression: str | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def n_left(self) -> int:
        """Records that may still be shown; a large number without a limit."""
        return sys.maxsize if self.limit is None else self.limit - self.counts["records"]

    def see(self, shard: Shard, stored: Stored) -> None:
        """Take a stored record apart and show its records, up to the limit."""
        alone = SubRecord(stored["PartitionKey"], None, stored["Data"])
        records = None if self.is_raw else de_aggregate(alone.data)
        self.counts["stored"] += 1
        self.counts["bytes_stored"] += record_bytes(alone.data, alone.partition_key)
        if records is None:
            self._show(shard, stored, None, [alone])
            return
        self.counts["aggregates"] += 1
        self.counts["in_aggregates"] += len(records)
        outside = first_outside(records, shard.range)
        if outside is not None:
            self._name_dropped(shard, stored, records, outside)
        if outside is None or not self.drops:
            self._show(shard, stored, 0, records)

    def _show(
        self, shard: Shard, stored: Stored, first: int | None, records: list[SubRecord]
    ) -> None:
        for index, record in enumerate(self._seen(records)):
            if not self.n_left:
                return
            self.counts["records"] += 1
            is_text = not (self.is_raw or record.problem)
            self.counts["lines"] += _lines(record.data) if is_text else 1
            self.counts["bytes"] += len(record.data)
            self.counts["compressed"] += record.compression is not None
            if record.problem:
                self._name_problem(shard, stored, record.problem)
            self.show(shard, stored, None if first is None else index, record)

    def _seen(self, records: list[SubRecord]) -> Iterator[Seen]:
        if self.is_raw or self.compression == "none":
            return (Seen(*record) for record in records)
        return seen(records, self.compression)

    def _name_dropped(
        self, shard: Shard, stored: Stored, records: list[SubRecord], outside: int
    ) -> None:
        self.counts["dropped_aggregates"] += 1
        self.counts["dropped_by_kcl"] += len(records)
        if self.counts["dropped_aggregates"] > NAMED_AGGREGATES:
            return
        key = hash_key(records[outside])
        shown_key = "none" if key is None else str(key)
        complain(
            f"KCL would drop {counted(len(records), 'record')}, the whole aggregate "
            f"{stored['SequenceNumber']} in {shard.id}: its record {outside}, partition key "
            f"{logs.printable(records[outside].partition_key, MAX_NAME)!r}, has the hash key "
            f"{shown_key}, and the shard has {shard.range.first} to {shard.range.last}"
        )
        if self.counts["dropped_aggregates"] == NAMED_AGGREGATES:
            complain("further aggregates that KCL would drop are only counted")

    def _name_problem(self, shard: Shard, stored: Stored, problem: str) -> None:
        self.counts["problems"] += 1
        if self.counts["problems"] <= NAMED_PROBLEMS:
            complain(
                f"shown as it is stored: a record of {stored['SequenceNumber']} in {shard.id} is "
                f"{problem}"
            )

    def summary(self) -> Iterator[str]:
        """Yield lines that say what was read."""
        counts = self.counts
        lines = "" if counts["lines"] == counts["records"] else f" ({counts['lines']:,} lines)"
        yield (
            f"{counted(counts['records'], 'record')}{lines} from "
            f"{counted(counts['stored'], 'stored record')}, {counts['aggregates']:,} of them "
            f"aggregates; {megabytes(counts['bytes_stored'])} stored, "
            f"{megabytes(counts['bytes'])} of data"
            + (f", {counts['compressed']:,} inflated" if counts["compressed"] else "")
        )
        if counts["problems"]:
            yield f"shown as stored, as they could not be inflated: {counts['problems']:,}"
        if counts["aggregates"]:
            yield (
                f"KCL would drop {counts['dropped_by_kcl']:,} of "
                f"{counted(counts['in_aggregates'], 'record')} in aggregates"
            )


def _lines(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n"))


def as_text(_shard: Shard, _stored: Stored, _index: int | None, record: Seen) -> None:
    """Write the data as lines: escaped on a terminal, unchanged anywhere else."""
    if sys.stdout.isatty():
        for line in record.data.removesuffix(b"\n").split(b"\n"):
            print(logs.printable(line, sys.maxsize))
        return
    sys.stdout.buffer.write(record.data)
    if not record.data.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")


def as_stored(shard: Shard, stored: Stored, index: int | None, record: Seen) -> None:
    """Write stored data byte for byte, without anything between; escaped on a terminal."""
    if sys.stdout.isatty():
        as_text(shard, stored, index, record)
    else:
        sys.stdout.buffer.write(record.data)


def as_jsonl(shard: Shard, stored: Stored, index: int | None, record: Seen) -> None:
    """Write one JSON object a line; data that is not UTF-8 is data_base64."""
    arrival = stored.get("ApproximateArrivalTimestamp")
    fields = {
        "shard": shard.id,
        "sequence_number": stored["SequenceNumber"],
        "sub_sequence_number": index,
        "partition_key": record.partition_key,
        "explicit_hash_key": record.explicit_hash_key,
        "arrival": None if arrival is None else _iso(arrival.astimezone(UTC).isoformat()),
        "compression": record.compression,
    }
    try:
        fields["data"] = record.data.decode()
    except UnicodeDecodeError:
        fields["data_base64"] = base64.b64encode(record.data).decode()
    print(json.dumps(fields, ensure_ascii=sys.stdout.isatty()))


def _iso(text: str) -> str:
    return text.replace("+00:00", "Z")
