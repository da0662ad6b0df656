"""An aggregate that is refused: its records go alone, and only the one to blame is dead."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import pytest
from aggregated import (
    REFUSED,
    WAYS,
    all_numbers,
    at_most,
    by_entry,
    by_request,
    keyed,
    numbers_in,
)
from fake_transport import (
    INTERNAL,
    THROTTLED,
    FakeTime,
    FakeTransport,
    Reply,
    Step,
    accept,
    error,
    fail_all,
    fail_with,
    refuse_if,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import assert_stats, eventually, new_output
from spooled_outputs import chunk_files, spooling

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.storage.dead_letters import FILE

OK, RETRY = FlushResult.OK, FlushResult.RETRY
REFUSALS = pytest.mark.parametrize("refuse", [by_request, by_entry])

each_way = pytest.mark.parametrize("way", WAYS)


def dead_events(root: Path) -> list[bytes]:
    """Return the events in the dead letters, all of which were refused."""
    letters = [json.loads(line) for line in (root / "dead" / FILE).read_text().splitlines()]
    assert {letter["reason"] for letter in letters} == {"refused"}
    return [b64decode(letter["event"]) for letter in letters]


def entries_with(transport: FakeTransport, number: int) -> list[tuple[dict[str, str], list[int]]]:
    """Return the entries that held a record, with the numbers of all their records."""
    found = []
    for entry in (entry for request in transport.sent for entry in request):
        numbers = numbers_in(b64decode(entry["Data"]))
        if number in numbers:
            found.append((entry, numbers))
    return found


@REFUSALS
@each_way
@pytest.mark.parametrize("in_flight", ["1", "4"])
def test_only_the_record_to_blame_is_dead(
    refuse: Callable[..., Step],
    way: str,
    in_flight: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = FakeTransport(then=refuse(400))
    options = {"max_in_flight": in_flight, "dead_letter_dir": f"{tmp_path}/dead", **WAYS[way]}
    output = new_output(transport, **options)
    assert output.flush(keyed(range(900)), "app") is OK
    assert sorted(all_numbers(transport.kept)) == sorted({*range(900)} - {400})
    assert_stats(output, in_=900, delivered=899, dead=1)
    assert dead_events(tmp_path) == [keyed([400])]
    together, *_, alone = entries_with(transport, 400)
    assert len(together[1]) > 1
    assert alone[1] == [400]
    (line,) = [line for line in caplog.messages if "is lost" in line]
    assert line.startswith("event 400 of chunk 'app' ")
    assert REFUSED in line


@each_way
def test_refused_and_throttled_aggregates_in_one_response(way: str) -> None:
    transport = FakeTransport(fail_with({1: REFUSED, 2: THROTTLED, 3: REFUSED}))
    output = new_output(transport, **WAYS[way])
    assert output.flush(keyed(range(900))) is OK
    assert sorted(all_numbers(transport.kept)) == list(range(900))
    again = {number for request in transport.requests[1:] for number in all_numbers(request)}
    assert again == set(all_numbers(transport.requests[0][1:4]))
    assert_stats(output, delivered=900, dead=0, retried=len(again), throttles=1)


@REFUSALS
@pytest.mark.parametrize("format_", ["kpl", "lines"])
def test_records_that_go_alone_keep_the_hash_key_of_their_bucket(
    refuse: Callable[..., Step], format_: str
) -> None:
    transport = FakeTransport(then=at_most(100, refuse(400)))
    output = new_output(transport, **WAYS[f"{format_} keyed"])
    assert output.flush(keyed(range(900))) is OK
    hash_keys: dict[int, set[str]] = {}
    n_alone = 0
    for entry in (entry for request in transport.sent for entry in request):
        numbers = numbers_in(b64decode(entry["Data"]))
        n_alone += len(numbers) == 1
        for number in numbers:
            hash_keys.setdefault(number % 13, set()).add(entry["ExplicitHashKey"])
            assert len(numbers) > 1 or entry["PartitionKey"] == f"key-{number % 13}"
    assert n_alone > 10
    assert {len(found) for found in hash_keys.values()} == {1}
    assert len(set.union(*hash_keys.values())) == 4


@REFUSALS
@each_way
def test_a_refused_aggregate_of_good_records_kills_none(
    refuse: Callable[..., Step], way: str
) -> None:
    """The service refuses it for its size, for instance."""

    def step(entries: list[bytes]) -> Reply:
        too_many = [numbers_in(data)[0] for data in entries if len(numbers_in(data)) > 1]
        return refuse(*too_many[:1])(entries) if too_many else accept(entries)

    transport = FakeTransport(then=at_most(200, step))
    output = new_output(transport, **WAYS[way])
    flush_all(output, keyed(range(300)), range(300, 310))
    arrived = sorted(all_numbers(transport.kept))
    assert arrived == list(range(len(arrived)))
    assert_stats(output, delivered=len(arrived), dead=0)


@each_way
@pytest.mark.parametrize("everything", [refuse_if(lambda _: True), fail_all(REFUSED)])
def test_a_service_that_refuses_everything_kills_nothing(everything: Step, way: str) -> None:
    transport = FakeTransport(then=everything)
    output = new_output(transport, **WAYS[way])
    for _ in range(4):
        for first in (0, 1000):
            assert output.flush(keyed(range(first, first + 500))) is RETRY
    assert_stats(output, in_=4000, returned=4000, dead=0)
    assert len(transport.requests) < 300


@REFUSALS
def test_a_chunk_of_one_aggregate_whose_records_are_all_refused(
    refuse: Callable[..., Step],
) -> None:
    """One record at a time, each after the service has accepted another one."""
    transport = FakeTransport(then=refuse(0, 1, 2))
    output = new_output(transport, **WAYS["kpl"])
    results = []
    for number in range(4):
        results.append(output.flush(keyed(range(3))))
        assert output.flush(keyed([10 + number])) is OK
    assert results == [RETRY, RETRY, RETRY, OK]
    assert_stats(output, delivered=4, dead=3)


@REFUSALS
@each_way
def test_a_spool_behind_a_refused_record(
    refuse: Callable[..., Step], way: str, tmp_path: Path
) -> None:
    transport = FakeTransport(then=refuse(30))
    options = {"dead_letter_dir": f"{tmp_path}/dead", **WAYS[way]}
    output = spooling(transport, tmp_path, FakeTime(), **options)
    for number in range(9):
        assert output.flush(keyed(range(20 * number, 20 * number + 20)), "app") is OK
    eventually(lambda: not output.stats()["pending"])
    output.close()
    assert sorted(all_numbers(transport.kept)) == sorted({*range(180)} - {30})
    assert_stats(output, delivered=179, dead=1)
    assert dead_events(tmp_path) == [keyed([30])]
    assert not chunk_files(tmp_path)


@each_way
@pytest.mark.parametrize("failure", ["request", "entry"])
def test_the_neighbours_of_a_record_that_always_fails_arrive(failure: str, way: str) -> None:
    """It is not refused, so it is never dead: the service may have a problem of its own."""
    internal = error(500, INTERNAL)
    by_code = by_entry(400, code=INTERNAL)

    def step(entries: list[bytes]) -> Reply:
        if failure == "request" and 400 in all_numbers(entries):
            return internal(entries)
        return by_code(entries)

    transport = FakeTransport(then=step)
    output = new_output(transport, FakeTime(chance=0.0), **WAYS[way])
    n_flushes = 0
    while len(all_numbers(transport.kept)) < 899 + n_flushes:
        assert output.flush(keyed(range(900)), "app") is RETRY
        assert output.flush(keyed([1000 + n_flushes]), "other") is OK
        n_flushes += 1
        assert n_flushes < 6
    assert sorted(all_numbers(transport.kept))[:900] == sorted({*range(900)} - {400} | {1000})
    assert_stats(output, delivered=899 + n_flushes, dead=0)


def flush_all(output: KinesisOutput, chunk: bytes, others: Iterable[int]) -> None:
    """Bring a chunk until it is settled, and another one in between."""
    for number in others:
        if output.flush(chunk) is OK:
            return
        assert output.flush(keyed([number])) is OK
    pytest.fail("the chunk comes to no end")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_records=st.integers(1, 1500),
    n_bad=st.integers(0, 5),
    max_in_flight=st.sampled_from(["1", "4"]),
    way=st.sampled_from(list(WAYS)),
    refuse=st.sampled_from([by_request, by_entry]),
)
def test_each_record_is_delivered_or_dead_as_it_deserves(
    seed: int,
    n_records: int,
    n_bad: int,
    max_in_flight: str,
    way: str,
    refuse: Callable[..., Step],
) -> None:
    """Requests are throttled as well, so a part of a chunk may come again."""
    chance = Random(seed)
    bad = {chance.randrange(n_records) for _ in range(n_bad)}
    service = refuse(*bad)

    def step(entries: list[bytes]) -> Reply:
        if any(number >= n_records for number in all_numbers(entries)):
            return accept(entries)
        return (error(503, "Unavailable") if chance.random() < 0.1 else service)(entries)

    transport = FakeTransport(then=step)
    options = {"max_in_flight": max_in_flight, **WAYS[way]}
    output = new_output(transport, FakeTime(chance=0.0), **options)
    flush_all(output, keyed(range(n_records)), range(n_records, n_records + 50))
    found = [number for number in all_numbers(transport.kept) if number < n_records]
    assert sorted(found) == sorted({*range(n_records)} - bad)
    assert_stats(output, dead=len(bad), pending=0)
