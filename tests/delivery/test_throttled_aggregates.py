"""Aggregates that are sent again: a new random key stands in their table, other keys stay."""

from __future__ import annotations

import os
from base64 import b64decode
from random import Random
from typing import Any, Final

import kcl
import pytest
from aggregated import WAYS, all_numbers, hash_key_of, keyed, numbers_in, survivors
from chunks import chunk_of
from fake_transport import (
    INTERNAL,
    THROTTLED,
    FakeTime,
    FakeTransport,
    Step,
    entries_answer,
    error,
    fail,
    raise_it,
)
from outputs import assert_stats, new_output

from kinesis_fast import FlushResult, TransportError
from kinesis_fast.transport import Response

OK = FlushResult.OK
N_SHARDS: Final = 4
RANDOM: Final = [way for way in WAYS if "keyed" not in way]
KEYED: Final = [way for way in WAYS if "keyed" in way]
FAILURES: Final[list[Step]] = [
    fail(0, 1, 2, 3),
    fail(1, 2, code=INTERNAL),
    error(500, INTERNAL),
    error(400, THROTTLED),
    raise_it(TransportError("reset")),
]


@pytest.fixture(autouse=True)
def reproducible_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", Random(7).randbytes)


class FullShard(FakeTransport):
    """A stream of four shards, the first of which throttles every entry."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[dict[str, str]] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        super().send(body, n_records, timeout_s)
        codes = [None if self._has_room(entry) else THROTTLED for entry in self.sent[-1]]
        self.stored += [e for e, code in zip(self.sent[-1], codes, strict=True) if code is None]
        return entries_answer(codes)

    @staticmethod
    def _has_room(entry: dict[str, str]) -> bool:
        return hash_key_of(entry) >= 2**128 // N_SHARDS


def by_first_number(request: list[dict[str, str]]) -> dict[int, dict[str, str]]:
    """Return entries by the number of their first record."""
    return {numbers_in(b64decode(entry["Data"]))[0]: entry for entry in request}


def attempts(transport: FakeTransport) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Return each entry of the first request that was sent again, and what it was then."""
    first, second = map(by_first_number, transport.sent[:2])
    assert second
    return [(first[number], entry) for number, entry in second.items()]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("way", RANDOM)
def test_a_random_key_changes_in_the_entry_and_in_its_table(way: str, failure: Step) -> None:
    transport = FakeTransport(failure)
    output = new_output(transport, FakeTime(0.0), **WAYS[way])
    assert output.flush(keyed(range(600))) is OK
    for before, after in attempts(transport):
        assert after["PartitionKey"] != before["PartitionKey"]
        assert "ExplicitHashKey" not in after
        old, new = (
            kcl.kept(
                kcl.Entry("", entry["PartitionKey"], b64decode(entry["Data"])), kcl.WHOLE_RANGE
            )
            for entry in (before, after)
        )
        assert [record.data for record in old] == [record.data for record in new]
        assert {record.partition_key for record in new} == {after["PartitionKey"]}
        assert {record.is_aggregated for record in new} == {way == "kpl"}
    assert len(survivors(transport.sent[1], N_SHARDS)) == len(
        all_numbers(transport.requests[1]) if way == "kpl" else transport.sent[1]
    )


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("way", KEYED)
def test_keys_of_records_and_of_buckets_stay(way: str, failure: Step) -> None:
    transport = FakeTransport(failure)
    output = new_output(transport, FakeTime(0.0), **WAYS[way])
    assert output.flush(keyed(range(600))) is OK
    for before, after in attempts(transport):
        assert before == after
        assert before["ExplicitHashKey"]


@pytest.mark.parametrize("way", KEYED)
def test_records_without_the_key_share_an_aggregate_with_a_random_one(way: str) -> None:
    transport = FakeTransport(error(400, THROTTLED))
    output = new_output(transport, FakeTime(0.0), **WAYS[way])
    bodies: list[dict[str, Any]] = [{"n": n} if n % 3 else {"n": n, "k": "key"} for n in range(60)]
    assert output.flush(chunk_of(bodies)) is OK
    pairs = attempts(transport)
    assert {entry.get("ExplicitHashKey") is None for entry, _ in pairs} == {True, False}
    for before, after in pairs:
        is_random = "ExplicitHashKey" not in before
        numbers = numbers_in(b64decode(after["Data"]))
        assert all((number % 3 > 0) is is_random for number in numbers)
        assert (before["PartitionKey"] != after["PartitionKey"]) is is_random
    if "kpl" in way:
        assert len(survivors(transport.sent[1], N_SHARDS)) == 60
    assert_stats(output, delivered=60, random_keys=40)


@pytest.mark.parametrize("way", RANDOM)
def test_a_flush_goes_round_a_full_shard(way: str) -> None:
    """Four attempts with the same keys would leave a quarter of the aggregates."""
    stream = FullShard()
    output = new_output(stream, FakeTime(0.0), **WAYS[way])
    assert output.flush(keyed(range(5000))) is OK
    assert_stats(output, in_=5000, delivered=5000)
    stored = [b64decode(entry["Data"]) for entry in stream.stored]
    assert sorted(all_numbers(stored)) == list(range(5000))
    if way == "kpl":
        assert len(survivors(stream.stored, N_SHARDS)) == 5000


@pytest.mark.parametrize("way", WAYS)
def test_every_record_survives_the_rule_of_kcl(way: str) -> None:
    transport = FakeTransport()
    output = new_output(transport, **WAYS[way])
    assert output.flush(keyed(range(3000), n_keys=500)) is OK
    for n_shards in (1, 2, 8):
        found = survivors(transport.sent[0], n_shards)
        assert sum(len(record.data.splitlines()) for record in found) == 3000


def test_a_record_that_goes_alone_lies_with_the_aggregates_of_its_key() -> None:
    """One is too large for an aggregate, and one is the only one of its bucket."""
    for way in KEYED:
        transport = FakeTransport()
        output = new_output(transport, **{**WAYS[way], "aggregation_buckets": "1024"})
        bodies = [{"n": n, "k": f"key-{n % 5}", "x": "x" * (2000 * (n == 50))} for n in range(100)]
        bodies.append({"n": 100, "k": "rare", "x": ""})
        assert output.flush(chunk_of(bodies)) is OK
        found: dict[str, set[int]] = {}
        for entry in transport.sent[0]:
            for number in numbers_in(b64decode(entry["Data"])):
                key = bodies[number]["k"]
                found.setdefault(str(key), set()).add(hash_key_of(entry))
                assert "ExplicitHashKey" in entry
        assert {len(hash_keys) for hash_keys in found.values()} == {1}
        assert len(found) == 6
        alone = [n for data in transport.requests[0] if len(n := numbers_in(data)) == 1]
        assert {50, 100} <= {number for (number,) in alone}
        expected = kcl.hash_key("rare", None) >> 118 << 118 | 1 << 117
        assert found["rare"] == {expected}
