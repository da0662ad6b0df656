"""Splits and merges on two emulators: where records are, what KCL keeps, what `read` shows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import kcl
import pytest
from command import as_arguments, run_command
from emulators import Emulator, ReshardedStream
from kpl_aggregates import aggregate

from kinesis_fast.reading.kpl import SubRecord

N_BUCKETS = 64
KEYS = [f"key-{number}" for number in range(40)]


def bucket_of(key: str) -> int:
    """Return the middle of a key's bucket: one of 64 fixed parts of all hash keys."""
    width = 2**128 // N_BUCKETS
    number = int(hashlib.md5(key.encode()).hexdigest(), 16) // width
    return number * width + width // 2


def in_buckets(tag: str) -> list[dict[str, Any]]:
    """Return entries: one aggregate for each bucket, every record with the bucket's hash key."""
    buckets: dict[int, list[SubRecord]] = {}
    for key in KEYS:
        hash_key = bucket_of(key)
        record = SubRecord(key, str(hash_key), f"{tag} {key}".encode())
        buckets.setdefault(hash_key, []).append(record)
    return [
        {"PartitionKey": "a", "ExplicitHashKey": str(hash_key), "Data": aggregate(records)}
        for hash_key, records in buckets.items()
    ]


def by_shard(stream: ReshardedStream, tag: str) -> list[dict[str, Any]]:
    """Return entries as KPL makes them: one aggregate for each shard that is open now."""
    ranges = kcl.ranges_of(stream.open_shards())
    groups: dict[str, list[SubRecord]] = {}
    for key in KEYS:
        number = kcl.hash_key(key, None)
        shard = next(name for name, (first, last) in ranges.items() if first <= number <= last)
        groups.setdefault(shard, []).append(SubRecord(key, None, f"{tag} {key}".encode()))
    return [
        {
            "PartitionKey": "a",
            "ExplicitHashKey": str(kcl.hash_key(records[0].partition_key, None)),
            "Data": aggregate(records),
        }
        for records in groups.values()
    ]


def kept(stream: ReshardedStream) -> list[bytes]:
    """Return the data of the records that KCL passes on, shard after shard."""
    survivors = kcl.survivors(stream.stored(), kcl.ranges_of(stream.shards()))
    return [record.data for record in survivors]


def sent(*tags: str) -> list[bytes]:
    """Return the data of all keys under some tags."""
    return [f"{tag} {key}".encode() for tag in tags for key in KEYS]


def test_records_stay_where_they_are(emulator: Emulator) -> None:
    stream = emulator.new_stream(2)
    first, last = (shard["ShardId"] for shard in stream.open_shards())
    assert stream.put([{"PartitionKey": "a", "Data": b"before", "ExplicitHashKey": "0"}]) == [first]
    stream.split(0)
    left, right, _ = (shard["ShardId"] for shard in stream.open_shards())
    ends = [
        (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]))
        for shard in stream.open_shards()
    ]
    assert (ends[0][0], ends[-1][1]) == (0, 2**128 - 1)
    assert all(ends[i][1] + 1 == ends[i + 1][0] for i in range(2))
    at = [str(key) for key in (0, ends[0][1], ends[1][0], ends[1][1], ends[2][0], ends[2][1])]
    entries = [{"PartitionKey": "a", "Data": b"split", "ExplicitHashKey": key} for key in at]
    assert stream.put(entries) == [left, left, right, right, last, last]

    stream.merge(1)
    assert len(stream.open_shards()) == 2
    merged = stream.open_shards()[1]
    assert {merged["ParentShardId"], merged["AdjacentParentShardId"]} == {right, last}
    entries = [{"PartitionKey": "a", "Data": b"merged", "ExplicitHashKey": key} for key in at]
    assert stream.put(entries) == [left, left] + [merged["ShardId"]] * 4

    places = [(entry.shard_id, entry.data) for entry in stream.stored()]
    assert sorted(places) == sorted(
        [(first, b"before")]
        + [(shard, b"split") for shard in (left, left, right, right, last, last)]
        + [(shard, b"merged") for shard in [left] * 2 + [merged["ShardId"]] * 4]
    )


def test_a_closed_shard_has_an_end(emulator: Emulator) -> None:
    stream = emulator.new_stream(1)
    stream.put([{"PartitionKey": "a", "Data": b"%d" % number} for number in range(3)])
    shard = stream.open_shards()[0]["ShardId"]
    stream.split(0)
    client = emulator.client
    iterator = client.get_shard_iterator(
        StreamName=stream.name, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    found: list[bytes] = []
    for _ in range(10):
        answer = client.get_records(ShardIterator=iterator, Limit=2)
        found += [record["Data"] for record in answer["Records"]]
        iterator = answer.get("NextShardIterator")
        if iterator is None:
            break
    assert iterator is None
    assert found == [b"0", b"1", b"2"]


def test_buckets_keep_every_record_through_splits_and_merges(emulator: Emulator) -> None:
    stream = emulator.new_stream(2)
    before = in_buckets("first")  # a producer knows no shards, so nothing of it becomes stale
    stream.put(before)
    stream.split(0)
    stream.put(in_buckets("second"))
    stream.split(2)
    stream.merge(1)
    stream.put(in_buckets("third"))
    assert sorted(kept(stream)) == sorted(sent("first", "second", "third"))


def test_aggregates_by_shard_lose_records_after_a_split(emulator: Emulator) -> None:
    stream = emulator.new_stream(2)
    stale = by_shard(stream, "stale")
    stream.put(by_shard(stream, "fresh"))
    assert sorted(kept(stream)) == sorted(sent("fresh"))
    stream.split(0)
    stream.put(stale)
    n_stale = sum(data.startswith(b"stale") for data in kept(stream))
    assert n_stale == 18


def test_aggregates_of_any_keys_lose_everything(emulator: Emulator) -> None:
    stream = emulator.new_stream(2)
    records = [SubRecord(key, None, key.encode()) for key in KEYS]
    stream.put([{"PartitionKey": KEYS[0], "Data": aggregate(records)}])
    assert kept(stream) == []
    whole = emulator.new_stream(1)
    whole.put([{"PartitionKey": KEYS[0], "Data": aggregate(records)}])
    assert len(kept(whole)) == len(KEYS)


def test_the_command_reads_through_splits_and_merges(emulator: Emulator) -> None:
    stream = emulator.new_stream(2)
    stream.put(in_buckets("first"))
    stream.split(0)
    stream.put(in_buckets("second"))
    stream.merge(1)
    stream.put(in_buckets("third"))
    done = run_command("read", "--format", "jsonl", "--rule", "kcl", options=stream.target)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(record["data"].encode() for record in records) == sorted(
        sent("first", "second", "third")
    )
    assert {record["explicit_hash_key"] for record in records} == {
        str(bucket_of(key)) for key in KEYS
    }
    for key in KEYS:  # those of one key in their order, though they are in several shards
        tags = [record["data"].split()[0] for record in records if record["partition_key"] == key]
        assert tags == ["first", "second", "third"], key
    assert "KCL would drop 0 of 120 records in aggregates" in done.stderr


def test_the_command_names_what_kcl_would_drop(emulator: Emulator) -> None:
    stream = emulator.new_stream(2)
    stale = by_shard(stream, "stale")
    stream.split(0)
    stream.put(stale)
    everything = run_command("read", *as_arguments(stream.target))
    assert everything.returncode == 0
    assert sorted(everything.stdout.encode().splitlines()) == sorted(sent("stale"))
    survivors = run_command("read", "--rule", "kcl", *as_arguments(stream.target))
    assert survivors.returncode == 1
    assert sorted(survivors.stdout.encode().splitlines()) == sorted(kept(stream))
    for done in (everything, survivors):
        assert "KCL would drop 22 records, the whole aggregate" in done.stderr
        assert "KCL would drop 22 of 40 records in aggregates" in done.stderr


@pytest.mark.parametrize("n_records", [1, 39])
def test_the_command_stops_at_its_limit(emulator: Emulator, n_records: int) -> None:
    stream = emulator.new_stream(2)
    stream.put(in_buckets("first"))
    done = run_command("read", "--limit", str(n_records), options=stream.target)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == n_records
