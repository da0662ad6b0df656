"""Content that the service refuses: it is halved until the bad records are found."""

import logging

import pytest
from chunks import chunk_of, event, event_time
from fake_transport import (
    FakeTime,
    FakeTransport,
    Reply,
    accept,
    error,
    fail,
    fail_all,
    raw,
    refuse_if,
)
from outputs import assert_stats, new_output, numbered, numbers

from kinesis_fast import FlushResult
from kinesis_fast.limits import MAX_REFUSALS

OK, RETRY = FlushResult.OK, FlushResult.RETRY


@pytest.mark.parametrize("code", ["ValidationException", "InvalidArgumentException"])
@pytest.mark.parametrize("bad", [{0}, {499}, {250}, {3, 4}, {0, 250, 499}])
def test_a_refused_record_is_found_by_halving(code: str, bad: set[int]) -> None:
    transport, time = FakeTransport(), FakeTime()
    transport = FakeTransport(then=refuse_if(lambda data: numbers([data])[0] in bad, code))
    output = new_output(transport, time)
    assert output.flush(numbered(range(500))) is OK
    assert numbers(transport.kept) == [n for n in range(500) if n not in bad]
    assert time.waits == []
    assert_stats(output, in_=500, delivered=500 - len(bad), dead=len(bad))
    # Two halves a level, 9 levels; a record that is refused first is tried again at the end.
    assert len(transport.requests) <= 1 + len(bad) * (2 * 9 + 1)


@pytest.mark.parametrize("n_records", [1, 2, 4, 500, 5000])
def test_a_service_that_refuses_everything_kills_nothing(
    n_records: int, caplog: pytest.LogCaptureFixture
) -> None:
    refused = error(400, "ValidationException", "no such shard")
    transport = FakeTransport(*[refused] * (2 * MAX_REFUSALS))  # then it accepts: no test hangs
    output = new_output(transport)
    assert output.flush(numbered(range(n_records)), "app") is RETRY
    assert_stats(output, in_=n_records, returned=n_records, dead=0)
    assert len(transport.requests) <= MAX_REFUSALS
    assert "no such shard" in caplog.messages[-1]


def test_a_block_of_bad_records_is_dead_when_others_were_accepted() -> None:
    bad = range(100, 225)
    transport = FakeTransport(then=refuse_if(lambda data: numbers([data])[0] in bad))
    output = new_output(transport)
    assert output.flush(numbered(range(500))) is OK
    assert set(numbers(transport.kept)) == set(range(500)) - set(bad)
    assert_stats(output, dead=125, delivered=375)


def test_refusals_spend_the_time_of_the_flush() -> None:
    time = FakeTime()

    def slowly(records: list[bytes]) -> Reply:
        time.advance(1.0)
        return error(400, "ValidationException")(records)

    transport = FakeTransport(then=slowly)
    output = new_output(transport, time)
    assert output.flush(numbered(range(500))) is RETRY
    assert len(transport.requests) == 6  # RETRY_BUDGET_S and one that passes it
    assert_stats(output, dead=0, returned=500)


def test_a_record_larger_than_a_stream_takes_is_dead_by_itself() -> None:
    transport = FakeTransport(then=error(400, "ValidationException", "too large"))
    output = new_output(transport, max_record_size="10485760")
    assert output.flush(chunk_of([{"x": "y" * 2_000_000}])) is OK
    assert_stats(output, in_=1, dead=1)


def test_an_entry_that_is_refused_beside_others_is_dead() -> None:
    transport = FakeTransport(fail(1, code="InvalidArgumentException"))
    output = new_output(transport)
    assert output.flush(numbered(range(3))) is OK
    assert numbers(transport.kept) == [0, 2]
    assert_stats(output, in_=3, delivered=2, dead=1, requests=1)


def test_entries_that_are_all_refused_are_returned() -> None:
    transport = FakeTransport(then=fail_all("InvalidArgumentException"))
    output = new_output(transport)
    assert output.flush(numbered(range(3))) is RETRY
    assert_stats(output, in_=3, returned=3, dead=0)


def test_a_request_that_is_too_large_is_halved() -> None:
    def accept_small(records: list[bytes]) -> Reply:
        return accept(records) if len(records) <= 100 else raw(b"too large", 413)(records)

    transport = FakeTransport(then=accept_small)
    output = new_output(transport)
    assert output.flush(numbered(range(500))) is OK
    assert max(transport.sizes[1:]) == 250
    assert numbers(transport.kept) == list(range(500))
    assert_stats(output, delivered=500, dead=0)


def test_the_line_about_a_dead_record(caplog: pytest.LogCaptureFixture) -> None:
    marker = event({}, event_time(-1))
    chunk = event({"n": 0}) + marker + event({"n": 1}) + event({"n": 2})
    step = refuse_if(lambda data: data == b'{"n":1}')
    output = new_output(FakeTransport(then=step))
    assert output.flush(chunk, "app") is OK
    assert_stats(output, in_=3, delivered=2, dead=1, group_markers=1)
    lines = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert lines == [
        "event 2 of chunk 'app' (15 bytes) was refused by the service and is lost: "
        "ValidationException (HTTP 400): 1 validation error detected: at 'records'"
    ]


def test_many_dead_records_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    refusing = refuse_if(lambda data: numbers([data])[0] > 0)
    output = new_output(FakeTransport(then=refusing))
    assert output.flush(numbered(range(400)), "app") is OK
    assert_stats(output, in_=400, delivered=1, dead=399)
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 11
    assert all("ValidationException" in line for line in lines[:10])
    assert lines[10] == "chunk 'app': records refused by the service and lost: 399"


def test_halves_can_fail_in_other_ways() -> None:
    transport = FakeTransport(
        error(400, "ValidationException"),
        fail(1),  # the first half, 0 1 2
        accept,  # 1
        error(400, "AccessDeniedException"),  # the second half
    )
    output = new_output(transport)
    assert output.flush(numbered(range(6))) is RETRY
    assert [numbers(request) for request in transport.requests] == [
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2],
        [1],
        [3, 4, 5],
    ]
    assert_stats(output, in_=6, delivered=3, returned=3, retried=7)
