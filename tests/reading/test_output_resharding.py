"""What an output aggregates, read back from two emulators through splits and merges."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import kcl
import pytest
from aggregated import KEYED, KPL, LINES
from chunks import chunk_of, output_config
from emulators import Emulator, ReshardedStream
from fake_stream import FakeTime
from loopback_settings import use_made_up_settings
from outputs import assert_stats

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.reading.kcl import first_outside
from kinesis_fast.reading.kpl import SubRecord, de_aggregate
from kinesis_fast.reading.records import seen_in
from kinesis_fast.reading.shards import StreamReader

WAYS = {
    "kpl": KPL,
    "kpl keyed": {**KPL, **KEYED, "aggregation_buckets": "64"},
    "lines keyed": {**LINES, **KEYED, "aggregation_buckets": "64"},
}
N_KEYS = 40
LARGE = 3000  # bytes; more than an aggregate takes
PHASES = ("first", "second", "third", "fourth")


@pytest.fixture(autouse=True)
def aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_up_settings(monkeypatch)


class Read(NamedTuple):
    """A record that a consumer got."""

    shard_id: str
    number: int
    key: str
    phase: str


def phase_of(phase: str, first: int) -> list[dict[str, Any]]:
    """Return the records of a phase: some large ones, and a key with one record, among others."""
    found = [
        {"n": first + n, "k": f"key-{n % N_KEYS}", "phase": phase, "x": "x" * (n % 97 == 5) * LARGE}
        for n in range(600)
    ]
    return [*found, {"n": first + len(found), "k": "rare", "phase": phase, "x": ""}]


@contextmanager
def output_to(stream: ReshardedStream, way: str) -> Iterator[KinesisOutput]:
    with KinesisOutput(output_config({**stream.target, **WAYS[way]})) as output:
        yield output


def survivors(stream: ReshardedStream) -> list[Read]:
    """Return the records that KCL passes on, read with the classes of aws-kinesis-agg."""
    ranges = kcl.ranges_of(stream.shards())
    return [
        read
        for entry in stream.stored()
        for record in kcl.kept(entry, ranges[entry.shard_id])
        for read in _reads(entry.shard_id, record.data)
    ]


def read_back(stream: ReshardedStream) -> list[Read]:
    """Return the same records with this package's reader, parents before their children."""
    found: list[Read] = []
    reader = StreamReader(stream.emulator.client, stream.name, timing=FakeTime().timing)
    for batch in reader.batches():
        for record in batch.records:
            de_aggregated = de_aggregate(record["Data"]) or []
            assert first_outside(de_aggregated, batch.shard.range) is None
            for seen in seen_in(record["Data"], record["PartitionKey"]):
                found += _reads(batch.shard.id, seen.data)
    return found


def _reads(shard_id: str, data: bytes) -> Iterator[Read]:
    for line in data.splitlines():
        record = json.loads(line)
        yield Read(shard_id, record["n"], record["k"], record["phase"])


@pytest.mark.parametrize("way", WAYS)
def test_every_record_survives_splits_and_merges(emulator: Emulator, way: str) -> None:
    stream = emulator.new_stream(2)
    changes: list[Callable[[], None]] = [
        lambda: stream.split(0),
        lambda: stream.split(2),
        lambda: stream.merge(1),
        lambda: None,
    ]
    sent: list[dict[str, Any]] = []
    with output_to(stream, way) as output:
        for phase, change in zip(PHASES, changes, strict=True):
            records = phase_of(phase, len(sent))
            assert output.flush(chunk_of(records)) is FlushResult.OK
            sent += records
            change()
        assert_stats(output, delivered=len(sent), dead=0)
        assert output.stats()["entries"] < len(sent) / 3
    found = survivors(stream)
    assert sorted(read.number for read in found) == list(range(len(sent)))
    again = read_back(stream)
    assert sorted(again) == sorted(found)
    if "keyed" in way:
        assert_together_and_in_order(again)


def assert_together_and_in_order(found: list[Read]) -> None:
    """Assert that the records of a key are in order, and those of a phase in one shard."""
    shards: dict[tuple[str, str], set[str]] = {}
    numbers: dict[str, list[int]] = {}
    for read in found:
        shards.setdefault((read.key, read.phase), set()).add(read.shard_id)
        numbers.setdefault(read.key, []).append(read.number)
    assert {len(found) for found in shards.values()} == {1}
    assert all(of_key == sorted(of_key) for of_key in numbers.values())
    assert len(numbers) == N_KEYS + 1


@pytest.mark.parametrize("way", ["kpl", "kpl keyed"])
def test_records_that_arrive_while_shards_change_survive(emulator: Emulator, way: str) -> None:
    stream = emulator.new_stream(2)
    sent: list[dict[str, Any]] = []
    is_over = threading.Event()
    rounds = threading.Semaphore(0)
    changes: list[Callable[[], None]] = [
        lambda: stream.split(0),
        lambda: stream.merge(1),
        lambda: stream.split(1),
    ]

    def write() -> None:
        with output_to(stream, way) as output:
            while not is_over.is_set():
                records = phase_of("any", len(sent))
                chunk = chunk_of(records)
                assert any(output.flush(chunk) is FlushResult.OK for _ in range(20))
                sent.extend(records)
                rounds.release()
            assert_stats(output, delivered=len(sent), dead=0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for change in changes:
            assert rounds.acquire(timeout=30)
            change()
        assert rounds.acquire(timeout=30)
    finally:
        is_over.set()
        writer.join()
    found = survivors(stream)
    assert sorted(read.number for read in found) == list(range(len(sent)))
    assert sorted(read_back(stream)) == sorted(found)
    if "keyed" in way:
        numbers: dict[str, list[int]] = {}
        for read in read_back(stream):
            numbers.setdefault(read.key, []).append(read.number)
        assert all(of_key == sorted(of_key) for of_key in numbers.values())


def test_another_reader_finds_the_keys_of_the_records(emulator: Emulator) -> None:
    stream = emulator.new_stream(2)
    records = phase_of("first", 0)
    with output_to(stream, "kpl keyed") as output:
        assert output.flush(chunk_of(records)) is FlushResult.OK
    ranges = kcl.ranges_of(stream.shards())
    n_aggregates = 0
    for entry in stream.stored():
        mine = de_aggregate(entry.data)
        theirs = kcl.kept(entry, ranges[entry.shard_id])
        assert all(json.loads(record.data)["k"] == record.partition_key for record in theirs)
        if mine is not None:
            n_aggregates += 1
            assert mine == [SubRecord(*record[:3]) for record in theirs]
            assert len({record.explicit_hash_key for record in theirs}) == 1
    assert n_aggregates > 20
