"""Aggregates: an entry stands for many records, and the account stays one of records."""

from __future__ import annotations

import threading
from base64 import b64decode
from pathlib import Path
from random import Random

import pytest
from aggregated import WAYS, all_numbers, keyed, numbers_in
from chunks import chunk_of, output_config
from fake_transport import (
    INTERNAL,
    FakeTime,
    FakeTransport,
    Reply,
    accept,
    error,
    fail,
    fail_all,
    raise_it,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import Gate, assert_stats, eventually, new_output
from spooled_outputs import chunk_files, spooling

from kinesis_fast import FlushResult, RecordEncoder, TransportError

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")
BAD = b"\x92\x92\x00\x80\x07"  # the body is not a map
MODES = {
    "foreground": {},
    "background": {"experimental_concurrency": "1"},
    "spooled": {"experimental_concurrency": "1", "spool_dir": "{}/spool"},
}

each_way = pytest.mark.parametrize("way", WAYS)


def n_bytes_of(transport: FakeTransport) -> int:
    """Return the bytes of data and partition keys of all entries that were sent."""
    return sum(
        len(b64decode(entry["Data"])) + len(entry["PartitionKey"].encode())
        for request in transport.sent
        for entry in request
    )


@each_way
@pytest.mark.parametrize("mode", MODES)
def test_the_account_counts_records(mode: str, way: str, tmp_path: Path) -> None:
    options = {name: text.format(tmp_path) for name, text in MODES[mode].items()} | WAYS[way]
    transport = FakeTransport()
    output = new_output(transport, **options)
    chunk = keyed(range(600)) + BAD + keyed(range(600, 900))
    assert output.flush(chunk, "app") is OK
    eventually(lambda: not output.stats()["pending"])
    output.close()
    sent = [data for request in transport.requests for data in request]
    plain = list(RecordEncoder(output_config(options)).records(chunk))
    assert sorted(all_numbers(transport.kept)) == list(range(900))
    assert len(sent) < 100
    assert_stats(
        output,
        in_=901,
        delivered=900,
        skipped_not_map=1,
        dead=0,
        retried=0,
        entries=len(sent),
        aggregates=sum(len(numbers_in(data)) > 1 for data in sent),
        record_bytes=sum(len(data) + len(key.encode()) for data, key in plain),
        entry_bytes=n_bytes_of(transport),
        bytes_delivered=n_bytes_of(transport),
    )


@each_way
def test_only_the_aggregates_that_failed_are_sent_again(way: str) -> None:
    transport = FakeTransport(fail(1, 3), fail(0, code=INTERNAL))
    output = new_output(transport, **WAYS[way])
    assert output.flush(keyed(range(900))) is OK
    first, second, third = transport.requests
    assert [numbers_in(data) for data in second] == [numbers_in(first[i]) for i in (1, 3)]
    assert [numbers_in(data) for data in third] == [numbers_in(first[1])]
    assert sorted(all_numbers(transport.kept)) == list(range(900))
    n_resent = len(all_numbers(second)) + len(all_numbers(third))
    assert_stats(output, delivered=900, retried=n_resent, requests=3, throttles=1)
    assert_stats(output, entries=len(first), bytes_delivered=output.stats()["entry_bytes"])


@each_way
def test_records_of_aggregates_that_were_accepted_are_not_sent_again(way: str) -> None:
    transport = FakeTransport(fail(0, 2), DENIED)
    output = new_output(transport, **WAYS[way])
    chunk = keyed(range(900))
    assert output.flush(chunk, "app") is RETRY
    left = all_numbers(transport.requests[0][i] for i in (0, 2))
    assert_stats(output, in_=900, delivered=900 - len(left), returned=len(left), pending=0)
    assert output.flush(chunk, "app") is OK
    assert sorted(all_numbers(transport.requests[-1])) == sorted(left)
    assert sorted(all_numbers(transport.kept)) == list(range(900))
    assert_stats(output, in_=900 + len(left), delivered=900, resumed=900 - len(left))


@each_way
def test_skipped_events_between_settled_ones_count_once(way: str) -> None:
    output = new_output(FakeTransport(fail(0), DENIED), **WAYS[way])
    chunk = keyed(range(300)) + BAD + keyed(range(300, 600)) + b"\xc1"
    assert output.flush(chunk, "app") is RETRY
    n_left = output.stats()["returned"]
    assert_stats(output, in_=602, delivered=600 - n_left, skipped=2)
    assert output.flush(chunk, "app") is OK
    assert_stats(output, in_=602 + n_left, delivered=600, skipped=2, resumed=602 - n_left)


@each_way
def test_an_output_that_gives_up_counts_its_records_as_dead(way: str) -> None:
    """All attempts in the background are used; what was accepted before is not dead."""
    transport = FakeTransport(fail(0), then=fail_all(INTERNAL))
    options = {"experimental_concurrency": "1", "experimental_concurrency_retries": "1"}
    output = new_output(transport, FakeTime(chance=0.0), **options, **WAYS[way])
    assert output.flush(keyed(range(900))) is OK
    eventually(lambda: not output.stats()["pending"])
    n_dead = len(numbers_in(transport.requests[0][0]))
    assert_stats(output, in_=900, delivered=900 - n_dead, dead=n_dead)


@each_way
def test_close_leaves_unsettled_records_in_the_spool(way: str, tmp_path: Path) -> None:
    gate = Gate()
    transport = FakeTransport(fail(0, 2), gate)
    output = spooling(transport, tmp_path, **WAYS[way])
    assert output.flush(keyed(range(900))) is OK
    eventually(lambda: len(transport.requests) == 2)
    output.close(0.05)
    n_left = len(all_numbers(transport.requests[1]))
    assert_stats(output, delivered=900 - n_left, pending=n_left)

    later = FakeTransport()
    again = spooling(later, tmp_path, **WAYS[way])
    eventually(lambda: again.stats()["delivered"] and not again.stats()["pending"])
    again.close()
    assert_stats(again, in_=n_left, delivered=n_left, resumed=900 - n_left)
    assert sorted(all_numbers(transport.kept + later.kept)) == list(range(900))
    assert not chunk_files(tmp_path)
    gate.open()


@each_way
def test_an_aggregate_may_hold_records_of_several_spooled_chunks(way: str, tmp_path: Path) -> None:
    """Small chunks share a delivery; what is left of each is its own."""
    gate = Gate()
    transport, clock = FakeTransport(gate, fail(1), then=DENIED), FakeTime(is_manual=True)
    output = spooling(transport, tmp_path, clock, **WAYS[way])
    assert output.flush(keyed([1000]), "app") is OK
    gate.wait_for_arrivals(1)
    for number in range(30):
        assert output.flush(keyed(range(10 * number, 10 * number + 10)), "app") is OK
    gate.open()
    eventually(lambda: len(transport.requests) == 2 and clock.waits)
    left = numbers_in(transport.requests[1][1])
    assert len({number // 10 for number in left}) > 1
    output.close(0.05)
    assert_stats(output, delivered=301 - len(left), pending=len(left))

    later = FakeTransport()
    again = spooling(later, tmp_path, **WAYS[way])
    eventually(lambda: again.stats()["delivered"] and not again.stats()["pending"])
    again.close()
    assert sorted(all_numbers(later.kept)) == sorted(left)
    assert not chunk_files(tmp_path)


def test_the_records_of_a_key_stay_in_order() -> None:
    """Several requests are in flight, and some records are too large for an aggregate."""
    transport = FakeTransport()
    options = {**WAYS["kpl keyed"], "aggregation_max_size": "60000"}
    output = new_output(transport, max_in_flight="8", **options)
    chance = Random(3)
    sizes = [chance.choice((100, 2000, 70_000)) for _ in range(1500)]
    chunk = chunk_of(
        {"n": number, "k": f"key-{number % 13}", "log": "x" * size}
        for number, size in enumerate(sizes)
    )
    assert output.flush(chunk) is OK
    numbers = all_numbers(transport.kept)
    assert sorted(numbers) == list(range(1500))
    assert len(transport.requests) > 2
    for key in range(13):
        of_key = [number for number in numbers if number % 13 == key]
        assert of_key == sorted(of_key)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_records=st.integers(1, 3000),
    max_in_flight=st.sampled_from(["1", "4"]),
    way=st.sampled_from(list(WAYS)),
)
def test_no_record_is_stored_twice_whatever_fails(
    seed: int, n_records: int, max_in_flight: str, way: str
) -> None:
    chance, lock = Random(seed), threading.Lock()

    def failing(entries: list[bytes]) -> Reply:
        with lock:
            kind = chance.randrange(5)
            failed = chance.sample(range(len(entries)), chance.randint(0, len(entries)))
        if kind == 0:
            return DENIED(entries)
        if kind == 1:
            return raise_it(TransportError("refused"))(entries)
        return fail(*failed)(entries) if kind > 2 else accept(entries)

    transport = FakeTransport(then=failing)
    output = new_output(transport, FakeTime(chance=0.0), max_in_flight=max_in_flight, **WAYS[way])
    chunk = keyed(range(n_records))
    while output.flush(chunk) is not OK:
        pass
    assert sorted(all_numbers(transport.kept)) == list(range(n_records))
    assert_stats(output, delivered=n_records, pending=0, dead=0)
