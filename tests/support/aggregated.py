"""What is in the entries of an output that aggregates, and a stream of shards that takes them."""

from __future__ import annotations

import functools
import itertools
import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Final

import kcl
import pytest
from chunks import chunk_of
from fake_transport import Reply, Step, entries_answer, refuse_if

KPL: Final = {"aggregation": "true", "aggregation_max_size": "1024"}
LINES: Final = {"simple_aggregation": "true", "aggregation_max_size": "1024"}
KEYED: Final = {"partition_key": "k", "aggregation_buckets": "4"}
# Each format of aggregates, with random keys and with those of the records.
WAYS: Final[dict[str, dict[str, str]]] = {
    "kpl": KPL,
    "kpl keyed": {**KPL, **KEYED},
    "lines": LINES,
    "lines keyed": {**LINES, **KEYED},
}
REFUSED: Final = "ValidationException"


def keyed(numbers: Iterable[int], n_keys: int = 13) -> bytes:
    """Return a chunk with an event for each number; its key is k."""
    return chunk_of({"n": number, "k": f"key-{number % n_keys}"} for number in numbers)


def user_records(data: bytes) -> list[bytes]:
    """Return the records in the data of an entry, as a consumer reads them in any shard."""
    if data.startswith(kcl.MAGIC):
        records = kcl.kept(kcl.Entry("", "", data), kcl.WHOLE_RANGE)
        assert all(record.is_aggregated for record in records), "the aggregate is not valid"
        return [record.data for record in records]
    return data.splitlines()


def numbers_in(data: bytes) -> list[int]:
    """Return the numbers of the records in the data of an entry."""
    return list(_numbers_in(data))


@functools.lru_cache(maxsize=10_000)  # tests that wait for records look again and again
def _numbers_in(data: bytes) -> tuple[int, ...]:
    return tuple(json.loads(record)["n"] for record in user_records(data))


def all_numbers(entries: Iterable[bytes]) -> list[int]:
    """Return the numbers of the records in the data of some entries."""
    return [number for data in entries for number in numbers_in(data)]


def by_request(*bad: int) -> Step:
    """Return a step that refuses each request with a bad record in an entry."""
    return refuse_if(lambda data: not set(bad).isdisjoint(numbers_in(data)), REFUSED)


def by_entry(*bad: int, code: str = REFUSED) -> Step:
    """Return a step that fails each entry with a bad record, and no other one."""

    def step(entries: list[bytes]) -> Reply:
        codes = [None if set(bad).isdisjoint(numbers_in(data)) else code for data in entries]
        return Reply(entries_answer(codes), [i for i, failed in enumerate(codes) if failed is None])

    return step


def at_most(n_requests: int, then: Step) -> Step:
    """Return a step that ends the test when more requests come."""
    numbers = itertools.count(1)

    def step(entries: list[bytes]) -> Reply:
        if next(numbers) > n_requests:
            pytest.fail(f"more than {n_requests} requests")
        return then(entries)

    return step


def hash_key_of(entry: Mapping[str, str]) -> int:
    """Return the hash key that selects the shard of an entry."""
    return kcl.hash_key(entry["PartitionKey"], entry.get("ExplicitHashKey"))


def survivors(entries: Iterable[Mapping[str, str]], n_shards: int) -> list[kcl.UserRecord]:
    """Return what KCL passes on of entries that were put into a stream of equal shards."""
    width = 2**128 // n_shards
    found = []
    for entry in entries:
        first = hash_key_of(entry) // width * width
        stored = kcl.Entry("", entry["PartitionKey"], b64decode(entry["Data"]))
        found += kcl.kept(stored, (first, first + width - 1))
    return found
