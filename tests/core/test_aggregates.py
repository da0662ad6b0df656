"""Aggregates: what is in them, how they are filled, and what the readers of others make of them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import kcl
import pytest
from chunks import chunk_of, output_config

from kinesis_fast import RecordEncoder
from kinesis_fast.encoder import Record
from kinesis_fast.reading.kpl import de_aggregate

HASH_KEYS = 2**128


class Entry(NamedTuple):
    """An entry of a request, and the events that it was made of."""

    data: bytes
    partition_key: str
    hash_key: int | None
    events: list[int]

    @property
    def n_bytes(self) -> int:
        """Bytes of data and partition key."""
        return len(self.data) + len(self.partition_key.encode())


def entries_of(
    chunk: bytes, options: dict[str, str], renewed: random.Random | None = None, max_lanes: int = 1
) -> list[Entry]:
    """Encode a chunk; with `renewed` some requests get new random keys first."""
    found = []
    for request in RecordEncoder(output_config(options)).requests(chunk, max_lanes=max_lanes):
        if renewed is not None and renewed.random() < 0.5:
            request.renew_random_keys()
        entries = json.loads(bytes(request.body))["Records"]
        assert len(entries) == request.n_entries <= 500
        assert request.n_records == sum(len(request.events_of(i)) for i in range(len(entries)))
        for i, entry in enumerate(entries):
            data = base64.b64decode(entry["Data"], validate=True)
            hash_key = entry.get("ExplicitHashKey")
            key = entry["PartitionKey"]
            assert request.n_bytes_of(i) == len(data) + len(key.encode())
            found.append(
                Entry(data, key, hash_key and int(hash_key), [e for e, _ in request.events_of(i)])
            )
        request.release()
    return found


def records_in(entry: Entry) -> list[kcl.UserRecord]:
    """Return the records of an entry, read by two readers and by KCL's rule."""
    return records_of(entry.data, entry.partition_key, entry.hash_key)


@lru_cache(1000)  # several checks read the same entry, and that takes most of the time
def records_of(data: bytes, partition_key: str, hash_key: int | None) -> list[kcl.UserRecord]:
    if hash_key is None:
        hash_key = md5(partition_key)
    shard = (hash_key, hash_key)  # the smallest that may hold it
    records = kcl.kept(kcl.Entry("s", partition_key, data), shard)
    ours = de_aggregate(data)
    if ours is None:
        assert [record.data for record in records] == [data]
    else:
        assert len(ours) > 1
        assert [tuple(record[:3]) for record in records] == [
            (record.partition_key, record.explicit_hash_key, record.data) for record in ours
        ]
    return records


def md5(key: str) -> int:
    return int(hashlib.md5(key.encode()).hexdigest(), 16)


def bucket_middle(key: str, n_buckets: int) -> int:
    bucket = md5(key) * n_buckets // HASH_KEYS
    return (2 * bucket + 1) * HASH_KEYS // (2 * n_buckets)


def many_records(chance: random.Random) -> list[dict[str, Any]]:
    """Make up to some thousand records of many sizes, with few or many keys."""
    n_keys = chance.choice([1, 3, 40, 5000])
    sizes = chance.choice([[0], [0, 5, 100], [300, 2000], [0, 60_000]])
    records: list[dict[str, Any]] = []
    for i in range(chance.randrange(0, 300_000 // (100 + max(sizes)))):
        record = {"i": i, "text": "x" * chance.choice(sizes)}
        if chance.random() < 0.95:
            record["pk"] = f"key {chance.randrange(n_keys)} \u00e9"
        records.append(record)
    return records


OPTIONS: list[dict[str, str]] = [
    {"aggregation": "true"},
    {"aggregation": "true", "append_newline": "true"},
    {"aggregation": "true", "partition_key": "pk"},
    {"aggregation": "true", "partition_key": "pk", "aggregation_buckets": "1"},
    {"aggregation": "true", "partition_key": "pk", "aggregation_buckets": "1024"},
    {"simple_aggregation": "true"},
    {"simple_aggregation": "true", "partition_key": "pk"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options.values()))
@pytest.mark.parametrize("size", ["1024", "5000", None])
def test_each_record_is_in_one_entry_as_it_would_be_alone(
    options: dict[str, str], size: str | None
) -> None:
    chance = random.Random(str((options, size)))
    if size is not None:
        options = {**options, "aggregation_max_size": size}
    for _ in range(4):
        chunk = chunk_of(many_records(chance))
        alone = list(RecordEncoder(output_config(options)).records(chunk))
        entries = entries_of(chunk, options, chance, chance.choice([1, 4]))

        found = records_by_event(entries, is_joined="simple_aggregation" in options)

        assert sorted(found) == list(range(len(alone)))
        for event, data in found.items():
            assert data == alone[event].data
        check_keys(entries, alone, options)
        check_sizes(entries, options)
        check_order(entries, alone)


def records_by_event(entries: Iterable[Entry], *, is_joined: bool) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for entry in entries:
        if is_joined:
            parts = [line + b"\n" for line in entry.data.removesuffix(b"\n").split(b"\n")]
        else:
            parts = [record.data for record in records_in(entry)]
        assert len(parts) == len(entry.events)
        found.update(zip(entry.events, parts, strict=True))
    return found


def check_keys(entries: Iterable[Entry], alone: list[Record], options: dict[str, str]) -> None:
    """Assert that KCL keeps all, a key is in its bucket, and random ones share an aggregate."""
    n_buckets = int(options.get("aggregation_buckets", 64))
    for entry in entries:
        keys = [key_in(alone[event]) for event in entry.events]
        if keys[0] is None:
            assert keys == [None] * len(keys)
            assert entry.hash_key is None
            assert {len(entry.partition_key)} == {8}
        else:
            assert {bucket_middle(key or "", n_buckets) for key in keys} == {entry.hash_key}
            assert entry.partition_key == keys[0]
        if "aggregation" in options:
            for record, key in zip(records_in(entry), keys, strict=True):
                assert record.partition_key == (key or entry.partition_key)


def key_in(record: Record) -> str | None:
    return record.partition_key if record.partition_key.startswith("key ") else None


def check_sizes(entries: list[Entry], options: dict[str, str]) -> None:
    """Assert that aggregates keep their limit, and that none ended while the next record fitted."""
    default = 51_200 if "aggregation" in options else 262_144
    limit = int(options.get("aggregation_max_size", default))
    by_slot: dict[int | None, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_slot[entry.hash_key].append(entry)
        assert entry.n_bytes <= limit or len(entry.events) == 1
    for slot in by_slot.values():
        for entry, following in itertools.pairwise(slot):
            added = len(first_record(following, options)) + 3 * 6 + 2 + 300
            assert entry.n_bytes + added > limit or added > limit / 2


def first_record(entry: Entry, options: dict[str, str]) -> bytes:
    if "aggregation" in options:
        return records_in(entry)[0].data
    return entry.data.partition(b"\n")[0] + b"\n"


def check_order(entries: Iterable[Entry], alone: list[Record]) -> None:
    """Assert that the records of a key go out in the order of the chunk."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        for event in entry.events:
            if (key := key_in(alone[event])) is not None:
                by_key[key].append(event)
    assert all(events == sorted(events) for events in by_key.values())


def test_the_bytes_of_an_aggregate_with_a_random_key() -> None:
    (entry,) = entries_of(chunk_of([{"a": 1}, {"b": 2}]), {"aggregation": "true"})

    key = entry.partition_key.encode()
    content = b"\x0a\x08" + key
    content += b"\x1a\x0b\x08\x00\x1a\x07" + b'{"a":1}' + b"\x1a\x0b\x08\x00\x1a\x07" + b'{"b":2}'
    assert entry.data == b"\xf3\x89\x9a\xc2" + content + hashlib.md5(content).digest()
    assert entry.hash_key is None


def test_the_bytes_of_an_aggregate_of_a_bucket() -> None:
    options = {"aggregation": "true", "partition_key": "k", "aggregation_buckets": "1"}
    (entry,) = entries_of(chunk_of([{"k": "p"}, {"k": "q"}, {"k": "p"}]), options)

    hash_key = str(HASH_KEYS // 2).encode()
    content = b"\x0a\x01p\x0a\x01q\x12" + bytes([len(hash_key)]) + hash_key
    for index, key in ((0, b"p"), (1, b"q"), (0, b"p")):
        data = b'{"k":"' + key + b'"}'
        content += b"\x1a\x0f\x08" + bytes([index]) + b"\x10\x00\x1a\x09" + data
    assert entry.data == b"\xf3\x89\x9a\xc2" + content + hashlib.md5(content).digest()
    assert (entry.partition_key, entry.hash_key) == ("p", HASH_KEYS // 2)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options.values()))
def test_a_single_record_is_sent_bare(options: dict[str, str]) -> None:
    (entry,) = entries_of(chunk_of([{"pk": "key"}]), options)

    newline = b"\n" if {"append_newline", "simple_aggregation"} & options.keys() else b""
    assert entry.data == b'{"pk":"key"}' + newline
    if "partition_key" in options:
        n_buckets = int(options.get("aggregation_buckets", 64))
        assert (entry.partition_key, entry.hash_key) == ("key", bucket_middle("key", n_buckets))
    else:
        assert entry.hash_key is None


def test_a_record_larger_than_an_aggregate_goes_alone_and_in_order() -> None:
    options = {"aggregation": "true", "partition_key": "k", "aggregation_max_size": "1024"}
    records = [{"k": "a", "i": 0}, {"k": "a", "i": 1}, {"k": "a", "x": "y" * 2000}, {"k": "a"}]
    entries = entries_of(chunk_of(records), options)

    assert [entry.events for entry in entries] == [[0, 1], [2], [3]]
    assert {entry.hash_key for entry in entries} == {bucket_middle("a", 64)}
    assert entries[1].data == json.dumps(records[2], separators=(",", ":")).encode()


def test_a_key_that_left_the_table_of_recent_keys_is_written_again() -> None:
    keys = [f"{i:03}" for i in range(40)]
    options = {"aggregation": "true", "partition_key": "k", "aggregation_buckets": "1"}
    (entry,) = entries_of(chunk_of([{"k": key} for key in [*keys, *keys]]), options)

    assert [record.partition_key for record in records_in(entry)] == [*keys, *keys]


def test_a_head_that_is_larger_than_its_room() -> None:
    keys = [f"{i:02}" + "\u20ac" * 254 for i in range(60)]  # 764 bytes each, 46 kB together
    options = {"aggregation": "true", "partition_key": "k", "aggregation_buckets": "1"}
    config = {**options, "aggregation_max_size": "1000000"}
    (entry,) = entries_of(chunk_of([{"k": key, "i": i} for i, key in enumerate(keys)]), config)

    records = records_in(entry)
    assert [record.partition_key for record in records] == keys
    assert [json.loads(record.data)["i"] for record in records] == list(range(60))


def test_the_largest_aggregate_ends_when_all_together_are_too_large() -> None:
    options = {"aggregation": "true", "partition_key": "k", "aggregation_buckets": "1024"}
    config = {**options, "aggregation_max_size": "1000000"}
    records = [{"k": f"{i % 16}", "x": "y" * 10_000} for i in range(1600)]
    entries = entries_of(chunk_of(records), config)

    assert sum(len(entry.events) for entry in entries) == 1600
    # Each of the 16 aggregates could take 1 MB; all together take at most 4 MiB at a time.
    assert max(entry.n_bytes for entry in entries) < 800_000
    assert len(entries) < 100


def test_renewed_keys_stand_in_the_entry_and_in_the_aggregate() -> None:
    chunk = chunk_of([{"i": i} for i in range(100)])
    (request,) = RecordEncoder(output_config({"aggregation": "true"})).requests(chunk)
    seen = set()
    for _ in range(20):
        (entry,) = json.loads(bytes(request.body))["Records"]
        data, key = base64.b64decode(entry["Data"]), entry["PartitionKey"]
        records = kcl.kept(kcl.Entry("s", key, data), (md5(key), md5(key)))
        assert [json.loads(record.data)["i"] for record in records] == list(range(100))
        seen.add(key)
        request.renew_random_keys()
    assert len(seen) == 20


@pytest.mark.parametrize("options", OPTIONS[:3], ids=lambda options: " ".join(options.values()))
def test_subsets_know_the_events_of_their_entries(options: dict[str, str]) -> None:
    records = [{"pk": f"{i % 7}", "i": i} for i in range(500)]
    chunk = chunk_of(records)
    config = output_config({**options, "aggregation_max_size": "1024"})
    (request,) = RecordEncoder(config).requests(chunk)
    indexes = range(1, request.n_entries, 2)
    events = [request.events_of(i) for i in indexes]
    assert max(map(len, events)) > 1

    part = request.subset(indexes)
    request.retain(indexes)

    for kept in (part, request):
        assert [kept.events_of(i) for i in range(kept.n_entries)] == events
        assert kept.n_records == sum(map(len, events))
        bits = bytearray()
        n_marked, n_bytes = kept.mark_events(bits, [0])
        assert n_marked == kept.n_records - len(events[0])
        assert n_bytes == kept.n_bytes - kept.n_bytes_of(0)
        marked = {event for event in range(len(records)) if is_set(bits, event)}
        assert marked == {event for entry in events[1:] for event, _ in entry}
        assert kept.mark_events(bits) == (len(events[0]), kept.n_bytes_of(0))


def is_set(bits: bytearray, event: int) -> bool:
    return event // 8 < len(bits) and bool(bits[event // 8] >> event % 8 & 1)


def test_what_waits_in_aggregates_is_counted_when_a_stream_is_closed() -> None:
    options = {"aggregation": "true", "partition_key": "pk", "aggregation_buckets": "1024"}
    chunk = chunk_of([{"pk": f"{i}", "x": "y" * 50_000} for i in range(400)])
    stream = RecordEncoder(output_config(options)).requests(chunk)

    n_sent = next(stream).n_records

    assert not stream.is_exhausted
    assert stream.take_tally().records == n_sent
    assert stream.count_rest() == 400 - n_sent
    assert stream.is_exhausted


def test_what_was_read_ahead_is_counted_when_a_stream_is_closed() -> None:
    encoder = RecordEncoder(output_config({"aggregation": "true", "partition_key": "pk"}))
    chunk = chunk_of([{"pk": f"{i}"} for i in range(504)])
    stream = encoder.requests(chunk, alone=True)

    assert next(stream).n_records == 500

    assert not stream.is_exhausted
    assert stream.count_rest() == 4
    assert stream.is_exhausted


def test_the_bytes_before_and_after() -> None:
    chunk = chunk_of([{"i": i} for i in range(1000)])
    encoder = RecordEncoder(output_config({"aggregation": "true"}))
    n_bytes = sum(len(record.data) + 8 for record in encoder.records(chunk))
    stream = encoder.requests(chunk)
    (request,) = stream

    packing = stream.take_packing()

    assert packing.entries == packing.aggregates == request.n_entries == 1
    assert packing.entry_bytes == request.n_bytes
    assert packing.record_bytes == n_bytes


def test_memory_of_aggregates_is_used_again() -> None:
    options = {"aggregation": "true", "partition_key": "pk"}
    encoder = RecordEncoder(output_config(options))
    chunk = chunk_of([{"pk": f"{i % 100}", "i": i} for i in range(3000)])
    whole = [bytes(request.body) for request in encoder.requests(chunk)]
    for _ in range(30):
        unfinished = encoder.requests(chunk)
        next(unfinished)
        unfinished.close()
        assert [bytes(request.body) for request in encoder.requests(chunk)] == whole
