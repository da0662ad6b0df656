"""What the entries of requests must be when records are aggregated or compressed.

The oracle tells the records. This module opens the entries with the libraries of others, and tells
which records share an entry, with one simple function for each rule.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import kcl
from compressed import INFLATE
from oracle import RANDOM_KEY_LENGTH, TRUNCATION_SUFFIX, Outcome, outcomes, tally

from kinesis_fast import OutputConfig
from kinesis_fast._core.request import Request

HASH_KEYS: Final = 2**128
UNCUT: Final = 2**31
MAX_RATIO: Final = 32  # limits: a record with more is cut before it is compressed
N_RECENT_KEYS: Final = 16
KPL_FRAME: Final = 4 + 16  # bytes of magic and MD5


class Sent(NamedTuple):
    """One entry of a request, and the events that it was made of."""

    events: tuple[int, ...]
    data: bytes
    partition_key: str
    hash_key: int | None

    @property
    def n_bytes(self) -> int:
        """Bytes of data and partition key."""
        return len(self.data) + len(self.partition_key.encode())


class Part(NamedTuple):
    """A record of an entry: its data as sent and its partition key there."""

    data: bytes
    key: str


Opened = tuple[Sent, list[Outcome], list[Part]]


def sent_of(request: Request) -> list[Sent]:
    """Return the entries of a request."""
    found = []
    for index, entry in enumerate(json.loads(bytes(request.body))["Records"]):
        assert entry.keys() - {"ExplicitHashKey"} == {"Data", "PartitionKey"}
        hash_key = entry.get("ExplicitHashKey")
        found.append(
            Sent(
                tuple(event for event, _ in request.events_of(index)),
                b64decode(entry["Data"], validate=True),
                entry["PartitionKey"],
                None if hash_key is None else int(hash_key),
            )
        )
    return found


def is_packed(config: OutputConfig) -> bool:
    """Return whether entries are not just records."""
    return config.aggregation or config.simple_aggregation or config.compression != "none"


def uncut_outcomes(chunk: bytes, config: OutputConfig, now_s: int) -> list[Outcome]:
    """Return the outcome of each event, as it is before it is compressed and cut."""
    newline = config.append_newline or config.simple_aggregation
    limit = config.max_record_size if config.compression == "none" else UNCUT
    shaping = replace(
        config,
        append_newline=newline,
        max_record_size=limit,
        compression="none",
        compression_level=None,
        aggregation=False,
        simple_aggregation=False,
    )
    return outcomes(chunk, shaping, now_s)


def check_sent(sent: Sequence[Sent], records: Sequence[Outcome], config: OutputConfig) -> int:
    """Assert that entries, in the order in which they were made, hold exactly the records.

    Returns how many of the records are cut because they are too large when they are compressed.
    """
    by_event = {record.event: record for record in records}
    assert sorted(event for entry in sent for event in entry.events) == sorted(by_event)
    n_cut = 0
    by_slot: dict[int | str | None, list[Opened]] = defaultdict(list)
    for entry in sent:
        own = [by_event[event] for event in entry.events]
        check_keys(entry, own, config)
        parts = parts_of(entry, own, config)
        n_cut += check_parts(parts, own, config)
        by_slot[slot_of(entry, own[0], config)].append((entry, own, parts))
    for entries in by_slot.values():
        events = [event for entry, _, _ in entries for event in entry.events]
        assert events == sorted(events), "the records of a key are out of order"
        check_groups(entries, config)
    return n_cut


def slot_of(entry: Sent, first: Outcome, config: OutputConfig) -> int | str | None:
    """Return what orders the records of an entry: the bucket, or the key."""
    if config.aggregation or config.simple_aggregation:
        return entry.hash_key
    return first.partition_key


def check_keys(entry: Sent, own: Sequence[Outcome], config: OutputConfig) -> None:
    """Assert that an entry goes to the bucket of all its records, or has a random key."""
    assert entry.n_bytes <= config.max_record_size
    if own[0].partition_key is None:
        assert len(entry.partition_key) == RANDOM_KEY_LENGTH and entry.partition_key.isalnum()
        assert entry.hash_key is None
        assert all(record.partition_key is None for record in own)
        return
    assert entry.partition_key == own[0].partition_key
    if not (config.aggregation or config.simple_aggregation):
        assert entry.hash_key is None
        return
    middles = {bucket_middle(record.partition_key, config) for record in own}
    assert middles == {entry.hash_key}


def bucket_middle(key: str | None, config: OutputConfig) -> int:
    """Return the middle of the hash keys of the bucket of a partition key."""
    assert key is not None
    n_buckets = config.aggregation_buckets
    bucket = int(hashlib.md5(key.encode()).hexdigest(), 16) * n_buckets // HASH_KEYS
    return (2 * bucket + 1) * HASH_KEYS // (2 * n_buckets)


def parts_of(entry: Sent, own: Sequence[Outcome], config: OutputConfig) -> list[Part]:
    """Return the records of an entry as a consumer reads them in the smallest shard."""
    if config.simple_aggregation:
        text = INFLATE[config.compression](entry.data)
        if len(own) == 1:
            return [Part(text, entry.partition_key)]
        ends = [0]
        for record in own:
            ends.append(ends[-1] + len(record.data))
        assert ends[-1] == len(text)
        return [
            Part(text[start:end], record.partition_key or entry.partition_key)
            for start, end, record in zip(ends[:-1], ends[1:], own, strict=True)
        ]
    if len(own) == 1:
        return [Part(entry.data, entry.partition_key)]
    explicit = None if entry.hash_key is None else str(entry.hash_key)
    hash_key = kcl.hash_key(entry.partition_key, explicit)
    stored = kcl.Entry("", entry.partition_key, entry.data)
    found = kcl.kept(stored, (hash_key, hash_key))
    assert all(record.is_aggregated for record in found)
    assert {record.explicit_hash_key for record in found} == {explicit}
    return [Part(record.data, record.partition_key) for record in found]


def check_parts(parts: Sequence[Part], own: Sequence[Outcome], config: OutputConfig) -> int:
    """Assert that the records of an entry are the expected ones; return how many are cut."""
    assert len(parts) == len(own)
    n_cut = 0
    for part, record in zip(parts, own, strict=True):
        if record.partition_key is not None:
            assert part.key == record.partition_key
        inflate = INFLATE["none" if config.simple_aggregation else config.compression]
        data = inflate(part.data)
        if data != record.data:
            assert len(own) == 1 or not config.simple_aggregation
            check_cut(data, len(part.data), part.key, record, config)
            n_cut += 1
    return n_cut


def check_cut(data: bytes, sent_n: int, key: str, record: Outcome, config: OutputConfig) -> None:
    """Assert that a record was cut between characters, and that it uses up its limit."""
    assert config.compression != "none"
    limit = config.max_record_size - len(key.encode())
    newline = b"\n" if config.append_newline or config.simple_aggregation else b""
    assert data.endswith(TRUNCATION_SUFFIX + newline)
    rest = data.removesuffix(newline).removesuffix(TRUNCATION_SUFFIX)
    assert record.data.startswith(rest) and len(rest) < len(record.data)
    assert record.data[len(rest)] & 0xC0 != 0x80 or not is_text(record.data), "inside a character"
    if len(rest) < limit * MAX_RATIO - 3 and not config.simple_aggregation:
        assert sent_n >= 0.98 * limit - 8


def is_text(data: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_groups(entries: Sequence[Opened], config: OutputConfig) -> None:
    """Assert which records of a slot share an entry: as many as fit, in their order.

    The tests keep below the 4 MiB of open aggregates at which the largest ends early.
    """
    if not (config.aggregation or config.simple_aggregation):
        assert all(len(entry.events) == 1 for entry, _, _ in entries)
        return
    assert config.aggregation_max_size is not None
    limit = config.aggregation_max_size
    if config.simple_aggregation and config.compression != "none":
        limit = min(limit, config.max_record_size * 31 // 32 - 64)
    expected: list[int] = []
    group = Group(None, is_kpl=config.aggregation)
    for entry, own, parts in entries:
        for record, part in zip(own, parts, strict=True):
            data = record.data if config.simple_aggregation else part.data
            if not expected or not group.add(data, part.key, limit):
                expected.append(0)
                group = Group(entry.hash_key, is_kpl=config.aggregation)
                group.add(data, part.key, limit)
            expected[-1] += 1
        if config.aggregation and len(own) > 1:
            assert entry.n_bytes == group.n_bytes <= limit
    assert expected == [len(entry.events) for entry, _, _ in entries]


class Group:
    """The records of one aggregate, and its size."""

    def __init__(self, hash_key: int | None, *, is_kpl: bool) -> None:
        self._hash_key = b"" if hash_key is None else str(hash_key).encode()
        self._is_kpl = is_kpl
        self._keys: list[bytes] = []
        self._n_records = 0
        self._is_alone = False
        self.n_bytes = 0

    def add(self, data: bytes, key: str, limit: int) -> bool:
        """Add a record if it fits; the first one always does, alone if it is too large."""
        size = self._n_added(data, key.encode())
        if self._n_records and (self._is_alone or self.n_bytes + size > limit):
            return False
        self._is_alone = self.n_bytes + size > limit
        self._n_records += 1
        self.n_bytes += size
        return True

    def _n_added(self, data: bytes, key: bytes) -> int:
        is_first = self._n_records == 0
        if not self._is_kpl:
            return len(data) + (len(key) if is_first else 0)
        size = 0
        if is_first:
            size += len(key) + KPL_FRAME
            size += field_n(len(self._hash_key)) if self._hash_key else 0
        recent = self._keys[-N_RECENT_KEYS:]
        if key in recent:
            index = len(self._keys) - len(recent) + recent.index(key)
        else:
            index = len(self._keys)
            self._keys.append(key)
            size += field_n(len(key))
        inner = 1 + varint_n(index) + (2 if self._hash_key else 0) + field_n(len(data))
        return size + field_n(inner)


def field_n(n: int) -> int:
    """Return the bytes of a field of `n` bytes: tag, length and content."""
    return 1 + varint_n(n) + n


def varint_n(value: int) -> int:
    """Return the bytes of a number: 7 bits in each."""
    return max(1, -(-value.bit_length() // 7))


def expected_tally(events: Iterable[Outcome], n_cut: int) -> dict[str, int]:
    """Return the counters that are not 0; `n_cut` is what check_sent has returned."""
    counts = tally(events)
    counts["truncated"] += n_cut
    return dict(+counts)
