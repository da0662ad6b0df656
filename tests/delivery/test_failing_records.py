"""A record whose requests always fail, though they are not refused: its neighbours arrive."""

import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from chunks import output_config
from fake_transport import (
    FakeTime,
    FakeTransport,
    Reply,
    Step,
    accept,
    error,
    fail,
    fail_all,
    raise_it,
    raw,
)
from outputs import assert_stats, eventually, new_output, numbered, numbers

from kinesis_fast import FlushResult, KinesisOutput, TransportError
from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.in_flight import InFlightRequest
from kinesis_fast.limits import BACKGROUND_BACKOFF_BASE_S, MAX_ATTEMPTS, MAX_REFUSALS
from kinesis_fast.stats import ChunkAccount
from kinesis_fast.transport import NotSentError

OK, RETRY = FlushResult.OK, FlushResult.RETRY
RESET = raise_it(TransportError("reset"))
FIREWALL = raw(b"<html>Forbidden</html>", 403)
FAILURES = {
    "reset": RESET,
    "firewall": FIREWALL,
    "error": error(500, "InternalFailure"),
    "garbage": raw(b"<html>"),
    "signature": error(403, "InvalidSignatureException"),
}
IN_FLIGHT = pytest.mark.parametrize("in_flight", ["1", "4"])


def failing(answer: Step, bad: Iterable[int]) -> Step:
    """Return a step that fails each request with a bad record."""
    poison = frozenset(bad)

    def step(records: list[bytes]) -> Reply:
        return (accept if poison.isdisjoint(numbers(records)) else answer)(records)

    return step


def flush_until(
    output: KinesisOutput, n_records: int, is_over: Callable[[], bool], max_flushes: int
) -> int:
    """Bring the same chunk until a condition holds. Returns how often that was."""
    for n_flushes in range(max_flushes):
        if is_over():
            return n_flushes
        assert output.flush(numbered(range(n_records)), "app") is RETRY
    assert is_over()
    return max_flushes


def go_on(clock: FakeTime, seconds: float, is_over: Callable[[], bool]) -> None:
    """Let time pass until the next wait, unless a condition holds before."""
    n_waits = len(clock.waits)
    clock.advance(seconds)
    eventually(lambda: len(clock.waits) > n_waits or is_over())


@IN_FLIGHT
@pytest.mark.parametrize("n_records", [2, 500, 1300])
@pytest.mark.parametrize("name", ["reset", "firewall", "error", "garbage"])
def test_neighbours_arrive_without_any_other_chunk(
    name: str, n_records: int, in_flight: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its halves are tried with the attempts that the request would have had."""
    bad = n_records // 3
    transport = FakeTransport(then=failing(FAILURES[name], [bad]))
    output = new_output(transport, max_in_flight=in_flight)
    flush_until(output, n_records, lambda: len(transport.kept) == n_records - 1, 3)
    assert output.flush(numbered(range(n_records)), "app") is RETRY
    assert sorted(numbers(transport.kept)) == sorted(set(range(n_records)) - {bad})
    assert_stats(output, delivered=n_records - 1, dead=0, pending=0)
    assert f"event {bad} of chunk 'app' (" in caplog.text
    assert "returning 1 of" in caplog.messages[-1]


@IN_FLIGHT
@pytest.mark.parametrize("name", FAILURES)
def test_neighbours_arrive_once_another_chunk_was_accepted(name: str, in_flight: str) -> None:
    transport = FakeTransport(then=failing(FAILURES[name], [7]))
    output = new_output(transport, max_in_flight=in_flight)
    assert output.flush(numbered(range(500))) is RETRY
    assert set(transport.sizes) == {500}
    assert output.flush(numbered([1000])) is OK
    n_before = len(transport.requests)
    assert output.flush(numbered(range(500))) is RETRY
    assert len(transport.requests) - n_before <= 1 + 2 * 9  # both halves, nine times
    assert len(transport.kept) == 500
    assert_stats(output, delivered=500, dead=0)


def test_others_of_the_chunk_were_accepted_between_its_attempts() -> None:
    """Then one flush is enough, and the records after it are sent, too."""
    has_failed = threading.Event()

    def step(records: list[bytes]) -> Reply:
        if 7 not in numbers(records):
            assert has_failed.wait(10)
            return accept(records)
        if has_failed.is_set():
            eventually(lambda: output.stats()["delivered"] > 0)
        has_failed.set()
        return RESET(records)

    transport = FakeTransport(then=step)
    output = new_output(transport, max_in_flight="2")
    assert output.flush(numbered(range(2600))) is RETRY
    assert_stats(output, delivered=2599, returned=1)


@pytest.mark.parametrize("bad", [range(0, 500, 50), range(0, 500, 10), range(250), range(10, 450)])
def test_many_of_them(bad: range) -> None:
    """A flush ends after some requests in vain; what had arrived is not sent again."""
    transport = FakeTransport(then=failing(FIREWALL, bad))
    timing = replace(FakeTime().timing(), random=random.Random(1).random)
    output = KinesisOutput(output_config({"max_in_flight": "1"}), transport, timing=timing)
    good = set(range(500)) - set(bad)
    for number in range(40):
        assert output.flush(numbered([1000 + number])) is OK
        if len(transport.kept) == number + 1 + len(good):
            break
        n_before, n_kept = len(transport.requests), len(transport.kept)
        assert output.flush(numbered(range(500))) is RETRY
        n_accepted = len(transport.kept) - n_kept
        assert len(transport.requests) - n_before <= (MAX_REFUSALS + 2) * (n_accepted + 1)
    arrived = [number for number in numbers(transport.kept) if number < 1000]
    assert sorted(arrived) == sorted(good)
    assert_stats(output, dead=0)


def test_many_of_them_without_any_other_chunk() -> None:
    """The part of the request that is tried gets smaller and smaller."""
    bad = range(0, 500, 8)
    transport = FakeTransport(then=failing(RESET, bad))
    timing = replace(FakeTime().timing(), random=random.Random(1).random)
    output = KinesisOutput(output_config({"max_in_flight": "1"}), transport, timing=timing)
    flush_until(output, 500, lambda: len(transport.kept) == 500 - len(bad), 60)
    assert_stats(output, dead=0)


def test_each_flush_gets_further_even_if_each_failure_is_slow() -> None:
    clock = FakeTime()

    def slow(records: list[bytes]) -> Reply:
        clock.now += 30.0
        return RESET(records)

    transport = FakeTransport(then=failing(slow, [200]))
    output = new_output(transport, clock)
    left = 500
    for number in range(12):
        assert output.flush(numbered([1000 + number])) is OK
        started, n_kept = clock.now, len(transport.kept)
        assert output.flush(numbered(range(500))) is RETRY
        assert clock.now - started < 5 * 30.0
        if number and left > 1:
            assert len(transport.kept) > n_kept
        left -= len(transport.kept) - n_kept
    assert left == 1


OUTAGES = {
    "reset": (RESET, MAX_ATTEMPTS),
    "error": (error(500, "InternalFailure"), MAX_ATTEMPTS),
    "none accepted": (fail_all("InternalFailure"), MAX_ATTEMPTS),
    "portal": (FIREWALL, 3),
    "denied": (error(400, "AccessDeniedException"), 1),
    "unsent": (raise_it(NotSentError("no credentials")), 1),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_takes_no_more_requests_than_before(name: str) -> None:
    """Of a chunk that comes again and again; afterwards each record arrives once."""
    step, n_allowed = OUTAGES[name]
    transport = FakeTransport(*[step] * n_allowed * 6)
    output = new_output(transport)
    for _ in range(5):
        n_before = len(transport.requests)
        assert output.flush(numbered(range(1200))) is RETRY
        assert len(transport.requests) - n_before <= n_allowed
    while output.flush(numbered(range(1200))) is RETRY:  # what is left of the steps
        pass
    assert sorted(numbers(transport.kept)) == list(range(1200))


def test_a_second_outage_divides_one_request_at_most() -> None:
    """The service was reachable in between, so one chunk may be to blame; not all of them."""
    transport = FakeTransport(then=RESET)
    output = new_output(transport)
    chunks = [numbered(range(first, first + 500)) for first in range(0, 10_000, 500)]
    assert {output.flush(chunk) for chunk in chunks} == {RETRY}
    assert len(transport.requests) == MAX_ATTEMPTS * len(chunks)
    transport._then = accept
    assert output.flush(numbered([10_000])) is OK
    transport._then = RESET
    n_before = len(transport.requests)
    assert {output.flush(chunk) for chunk in chunks} == {RETRY}
    assert len(transport.requests) - n_before <= MAX_ATTEMPTS * len(chunks) + MAX_REFUSALS


def test_a_throttled_request_is_not_divided() -> None:
    def step(records: list[bytes]) -> Reply:
        is_small = len(records) < 500
        return (accept if is_small else error(400, "ThrottlingException"))(records)

    transport = FakeTransport(then=step)
    output = new_output(transport)
    for number in range(4):
        assert output.flush(numbered([1000 + number])) is OK
        assert output.flush(numbered(range(500))) is RETRY
    assert set(transport.sizes) == {1, 500}


@IN_FLIGHT
@pytest.mark.parametrize("is_first", [True, False])
def test_an_entry_that_always_fails_does_not_stop_the_records_after_it(
    is_first: bool, in_flight: str
) -> None:
    bad = 0 if is_first else 499

    def step(records: list[bytes]) -> Reply:
        found = [index for index, number in enumerate(numbers(records)) if number == bad]
        return fail(*found, code="InternalFailure")(records)

    transport = FakeTransport(then=step)
    output = new_output(transport, max_in_flight=in_flight)
    flush_until(output, 2000, lambda: len(transport.kept) == 1999, 3)


@IN_FLIGHT
@pytest.mark.parametrize("slots", ["1", "3"])
@pytest.mark.parametrize("name", ["reset", "firewall"])
def test_in_the_background_only_that_record_is_given_up(
    name: str, slots: str, in_flight: str, caplog: pytest.LogCaptureFixture
) -> None:
    transport = FakeTransport(then=failing(FAILURES[name], [170]))
    output = new_output(transport, max_in_flight=in_flight, experimental_concurrency=slots)
    assert output.flush(numbered(range(700)), "app") is OK
    eventually(lambda: output.stats()["pending"] == 0)
    output.close()  # the line about lost records follows their booking
    assert_stats(output, delivered=699, dead=1)
    assert "event 170 of chunk 'app' (" in caplog.text
    assert "chunk 'app': records given up and lost: 1 (retries: 4)" in caplog.text


NO_RETRY = {"experimental_concurrency": "1", "experimental_concurrency_retries": "0"}


def flush_once(
    transport: FakeTransport, n_records: int, in_flight: str, seed: int
) -> KinesisOutput:
    """Deliver a chunk in the background without a retry; the seed sets the pauses and parts."""
    options = {"max_in_flight": in_flight, **NO_RETRY}
    timing = replace(FakeTime().timing(), random=random.Random(seed).random)
    output = KinesisOutput(output_config(options), transport, timing=timing)
    assert output.flush(numbered(range(n_records)), "app") is OK
    eventually(lambda: output.stats()["pending"] == 0)
    output.close()
    return output


@IN_FLIGHT
@pytest.mark.parametrize("n_records", [2, 500, 1300])
@pytest.mark.parametrize("name", ["reset", "firewall", "error", "garbage"])
def test_without_any_retry_only_that_record_is_given_up(
    name: str, n_records: int, in_flight: str
) -> None:
    for seed in range(5):
        bad = random.Random(seed).randrange(n_records)
        transport = FakeTransport(then=failing(FAILURES[name], [bad]))
        output = flush_once(transport, n_records, in_flight, seed)
        assert_stats(output, delivered=n_records - 1, dead=1)
        assert sorted(numbers(transport.kept)) == sorted(set(range(n_records)) - {bad})


@IN_FLIGHT
def test_without_any_retry_only_the_entry_that_always_fails_is_given_up(in_flight: str) -> None:
    def step(records: list[bytes]) -> Reply:
        found = [index for index, number in enumerate(numbers(records)) if number == 7]
        return fail(*found, code="InternalFailure")(records)

    assert_stats(flush_once(FakeTransport(then=step), 1300, in_flight, 1), delivered=1299, dead=1)


@pytest.mark.parametrize("name", OUTAGES)
def test_without_any_retry_an_outage_takes_no_more_requests(name: str) -> None:
    step, n_allowed = OUTAGES[name]
    transport = FakeTransport(then=step)
    assert_stats(flush_once(transport, 1300, "1", 1), delivered=0, dead=1300)
    assert len(transport.requests) <= n_allowed


def test_without_any_retry_a_part_that_fails_for_a_moment_is_not_divided() -> None:
    """It fails again after others were accepted, but may have an attempt after a pause."""
    transport = FakeTransport(accept, RESET, RESET, accept, accept, RESET)
    assert_stats(flush_once(transport, 1300, "1", 1), delivered=1300, dead=0)
    assert transport.sizes == [500, 500, 500, 250, 300, 250, 250]


def test_requests_that_gave_way_are_sent_one_at_a_time() -> None:
    """Beside each other, one may fail for the last time before the other is accepted."""
    output = new_output(FakeTransport(), max_in_flight="4")
    assert output._parts is not None
    context = output._parts.context
    account = ChunkAccount(context.stats)
    delivery = ChunkDelivery(context, numbered(range(700)), "app", account, bytearray())
    for request in delivery._stream:
        delivery._queue.add(InFlightRequest(request, gives_way=True))
    delivery._doubt = (0, 2)
    first = delivery._first_ready()
    assert first is not None
    delivery._begin_sending(first)
    assert delivery._first_ready() is None
    first.gives_way = False
    assert delivery._first_ready() is not None
    delivery.close()
    output.close()


def test_in_the_background_a_record_that_fails_alone_lets_other_chunks_in() -> None:
    clock = FakeTime(is_manual=True)
    transport = FakeTransport(then=failing(RESET, [7]))
    output = new_output(transport, clock, experimental_concurrency="2")
    assert output.flush(numbered(range(10))) is OK
    for _ in range(100):
        if len(transport.kept) == 9:
            break
        go_on(clock, 60.0, lambda: len(transport.kept) == 9)
    eventually(lambda: clock.waits[-1] >= BACKGROUND_BACKOFF_BASE_S / 2)
    assert output.flush(numbered([100])) is OK
    eventually(lambda: len(transport.kept) == 10)
    output.close(0.0)


@IN_FLIGHT
@pytest.mark.parametrize("slots", ["1", "2"])
@pytest.mark.parametrize("n_others", [0, 20])
@pytest.mark.parametrize("name", ["reset", "firewall"])
def test_in_a_spool_only_that_record_stays(
    name: str, n_others: int, slots: str, in_flight: str, tmp_path: Path
) -> None:
    transport = FakeTransport(then=failing(FAILURES[name], [170]))
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": slots}
    output = new_output(transport, FakeTime(), max_in_flight=in_flight, **options)
    assert output.flush(numbered(range(700)), "app") is OK
    for number in range(1000, 1000 + n_others):
        assert output.flush(numbered([number]), "app") is OK
    eventually(lambda: output.stats()["delivered"] == 699 + n_others)
    output.close()
    arrived = numbers(transport.kept)
    assert len(arrived) == len(set(arrived)) == 699 + n_others
    assert_stats(output, dead=0, pending=1)
    assert len(list((tmp_path / "spool").glob("*/*.chunk"))) == 1


def test_in_a_spool_a_record_that_fails_alone_holds_up_no_other_chunk(tmp_path: Path) -> None:
    """Chunks that come after it are sent at once, not after the pause of an outage."""
    clock = FakeTime(is_manual=True)
    transport = FakeTransport(then=failing(RESET, [7]))
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
    output = new_output(transport, clock, **options)
    assert output.flush(numbered([7]), "app") is OK
    assert output.flush(numbered([8]), "app") is OK

    def go_on_until(condition: Callable[[], bool]) -> None:
        while not condition():
            go_on(clock, 600.0, condition)

    go_on_until(lambda: numbers(transport.kept) == [8])
    n_requests = len(transport.requests)
    go_on_until(lambda: len(transport.requests) >= n_requests + 2 * MAX_ATTEMPTS)
    go_on_until(lambda: clock.waits[-1] > 5.0)  # the entry waits, and nothing else
    assert output.flush(numbered([9]), "app") is OK
    eventually(lambda: numbers(transport.kept) == [8, 9])
    output.close(0.0)
