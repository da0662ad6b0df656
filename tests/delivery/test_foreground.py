"""A flush that lasts until its chunk is settled: what is sent, what again, when it ends."""

import logging
import threading

import pytest
from fake_transport import (
    INTERNAL,
    THROTTLED,
    FakeTime,
    FakeTransport,
    Reply,
    Step,
    accept,
    error,
    fail,
    fail_all,
    fail_with,
    raise_it,
    raw,
)
from outputs import Gate, assert_stats, new_output, numbered, numbers

from kinesis_fast import FlushResult, SendFailureTimeout, TransportError
from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.limits import RETRY_BUDGET_S
from kinesis_fast.transport import NotSentError

OK, RETRY = FlushResult.OK, FlushResult.RETRY


def test_all_accepted_at_once() -> None:
    transport = FakeTransport()
    with new_output(transport) as output:
        assert output.flush(numbered(range(1234)), "app.log") is OK
    assert transport.sizes == [500, 500, 234]
    assert numbers(transport.kept) == list(range(1234))
    n_bytes = sum(len(data) + 8 for data in transport.kept)  # with a random key of 8
    n_chunk = len(numbered(range(1234)))
    assert_stats(output, in_=1234, delivered=1234, requests=3, retried=0, throttles=0)
    assert_stats(output, bytes_in=n_chunk, bytes_delivered=n_bytes)


def test_an_empty_chunk_is_delivered() -> None:
    transport = FakeTransport()
    output = new_output(transport)
    assert output.flush(b"") is OK
    assert transport.requests == []
    assert_stats(output, in_=0, requests=0)


def test_the_configured_time_out_reaches_the_transport() -> None:
    transport = FakeTransport()
    new_output(transport, http_request_timeout="7").flush(numbered([1]))
    new_output(transport, http_request_timeout="0").flush(numbered([1]))
    assert transport.timeouts == [7.0, None]


# --- some entries fail ---


@pytest.mark.parametrize("code", [THROTTLED, INTERNAL, "KMSThrottlingException", "Unknown"])
def test_only_what_failed_is_sent_again(code: str) -> None:
    transport, time = FakeTransport(fail(1, 3, code=code), fail(1, code=code)), FakeTime()
    output = new_output(transport, time)
    assert output.flush(numbered(range(5))) is OK
    assert [numbers(request) for request in transport.requests] == [[0, 1, 2, 3, 4], [1, 3], [3]]
    assert sorted(numbers(transport.kept)) == [0, 1, 2, 3, 4]
    assert time.waits == [0.25, 0.25]  # each attempt got a record through
    throttles = 0 if code in {INTERNAL, "Unknown"} else 2
    assert_stats(output, in_=5, delivered=5, requests=3, retried=3, throttles=throttles)
    assert_stats(output, bytes_delivered=sum(len(data) + 8 for data in transport.kept))


def test_the_last_request_may_fail_partly_too() -> None:
    # The Go plugin counts this as a success and loses the records.
    transport = FakeTransport(accept, then=fail(0, code=INTERNAL))
    output = new_output(transport)
    assert output.flush(numbered(range(501))) is RETRY
    assert_stats(output, in_=501, delivered=500, returned=1)


def test_each_request_has_its_own_attempts() -> None:
    steps = [fail(0), fail(0), fail(0), accept]
    transport = FakeTransport(*steps, *steps, *steps)
    output = new_output(transport, FakeTime(chance=0.1))
    assert output.flush(numbered(range(1500))) is OK
    assert_stats(output, delivered=1500, requests=12, retried=9)


def test_the_budget_is_that_of_the_whole_flush() -> None:
    transport = FakeTransport(*[fail(0), fail(0), accept] * 20)
    time = FakeTime()
    output = new_output(transport, time)
    assert output.flush(numbered(range(10_000))) is RETRY
    assert sum(time.waits) <= RETRY_BUDGET_S
    assert output.stats()["delivered"] > 6 * 500


def test_a_flush_does_not_wait_for_one_time_out_after_the_other() -> None:
    time = FakeTime()

    def time_out(records: list[bytes]) -> Reply:
        time.advance(30.0)
        return Reply(TransportError("timed out"))

    transport = FakeTransport(*[time_out, accept] * 20)
    output = new_output(transport, time)
    assert output.flush(numbered(range(10_000))) is RETRY
    assert len(transport.sizes) == 3
    assert_stats(output, in_=10_000, delivered=500, returned=9500)


def test_a_new_flush_has_a_new_budget() -> None:
    transport, time = FakeTransport(*[fail(0)] * 4, fail(0), accept), FakeTime(chance=1.0)
    output = new_output(transport, time)
    assert output.flush(numbered([1])) is RETRY
    assert output.flush(numbered([1])) is OK


def test_a_request_that_never_left_is_not_counted() -> None:
    output = new_output(FakeTransport(raise_it(NotSentError("no credentials"))))
    assert output.flush(numbered([1, 2])) is RETRY
    assert_stats(output, in_=2, returned=2, requests=0, retried=0)


def test_no_attempt_starts_after_the_budget() -> None:
    time = FakeTime()

    def slow(records: list[bytes]) -> Reply:
        time.advance(2.4)
        return fail(0)(records)

    transport = FakeTransport(then=slow)
    output = new_output(transport, time)
    assert output.flush(numbered(range(2))) is RETRY
    # First failure at 2.4 s; 0.25 + 2.4 later the second, 0.5 + 2.4 s later the budget is gone.
    assert transport.sizes == [2, 1, 1]
    assert time.waits == [0.25, 0.5]


# --- the whole request fails ---


@pytest.mark.parametrize(
    "failure",
    [
        raise_it(TransportError("connection refused")),
        raise_it(TimeoutError()),
        raise_it(KeyError("a bug of the transport")),
        raise_it(MemoryError()),
        error(500, "InternalFailure"),
        error(503, "ServiceUnavailable"),
        error(400, THROTTLED),
        error(400, "LimitExceededException"),
        error(400, "KMSThrottlingException"),
        raw(b"", 502),
        raw(b"<html>try again</html>"),
        raw(b'{"FailedRecordCount":0,"Records":[]}'),
    ],
)
def test_a_failure_that_may_pass_is_retried(failure: Step) -> None:
    transport, time = FakeTransport(failure, failure), FakeTime()
    output = new_output(transport, time)
    assert output.flush(numbered(range(3))) is OK
    assert transport.sizes == [3, 3, 3]
    assert time.waits == [0.25, 0.5]
    assert_stats(output, in_=3, delivered=3, retried=6, requests=3)


def test_a_failure_that_lasts_returns_the_chunk(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport(accept, then=raise_it(TransportError("no route to\nhost")))
    output = new_output(transport)
    assert output.flush(numbered(range(1100)), "a") is RETRY
    assert transport.sizes == [500, 500, 500, 500, 500]
    assert_stats(output, in_=1100, delivered=500, returned=600)
    assert caplog.messages[-1] == (
        "chunk 'a': returning 600 of 1100 records to Fluent Bit (RETRY): "
        "PutRecords failed after 4 attempts: no route to\\nhost"
    )


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "AccessDeniedException"),
        error(400, "ResourceNotFoundException"),
        error(400, "ExpiredTokenException"),
        error(403, "InvalidSignatureException"),
        error(400, "UnrecognizedClientException"),
        error(400, "KMSDisabledException"),
        error(400, "ValidationException", "Value 'x y' at 'streamName' failed"),
        raise_it(NotSentError("no credentials")),
        raw(b"", 301),
        raw(b"<html/>", 403),
    ],
)
def test_a_request_that_cannot_succeed_returns_the_chunk_at_once(
    refusal: Step, caplog: pytest.LogCaptureFixture
) -> None:
    transport, time = FakeTransport(accept, refusal), FakeTime()
    output = new_output(transport, time)
    assert output.flush(numbered(range(1100))) is RETRY
    assert transport.sizes == [500, 500]
    assert time.waits == []
    assert_stats(output, in_=1100, delivered=500, returned=600, dead=0)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_the_next_flush_starts_anew() -> None:
    transport = FakeTransport(error(400, "AccessDeniedException"))
    output = new_output(transport)
    assert output.flush(numbered(range(3))) is RETRY
    assert output.flush(numbered(range(3))) is OK
    assert_stats(output, in_=6, returned=3, delivered=3, retried=0)


def test_different_failures_in_a_row() -> None:
    transport = FakeTransport(
        raise_it(TransportError("reset")), fail_with({0: THROTTLED, 2: INTERNAL}), fail_all()
    )
    output = new_output(transport)
    assert output.flush(numbered(range(4))) is OK
    assert transport.sizes == [4, 4, 2, 2]
    assert_stats(output, delivered=4, retried=8)


# --- exceptions ---


def test_a_chunk_has_to_be_bytes_like() -> None:
    output = new_output(FakeTransport())
    for chunk in ("text", 5, None, [b"a"]):
        with pytest.raises(TypeError):
            output.flush(chunk)  # type: ignore[arg-type]
    assert not any(output.stats().values())
    assert output.flush(numbered([1])) is OK


def test_no_thread_is_at_work_after_an_exception_where_the_others_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They read the memory of the caller, and count what arrives."""
    wait, n_calls, gate = ChunkDelivery._wait_for_workers, 0, Gate()
    opening = threading.Timer(0.05, gate.open)

    def interrupted(delivery: ChunkDelivery, is_done: bool) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            opening.start()
            raise KeyboardInterrupt
        wait(delivery, is_done)

    def hold_the_helper(records: list[bytes]) -> Reply:
        if threading.current_thread() is not threading.main_thread():
            return gate(records)
        gate.wait_for_arrivals(1)
        return accept(records)

    monkeypatch.setattr(ChunkDelivery, "_wait_for_workers", interrupted)
    output = new_output(FakeTransport(then=hold_the_helper), max_in_flight="2")
    with pytest.raises(KeyboardInterrupt):
        output.flush(numbered(range(1000)))
    assert_stats(output, delivered=1000, pending=0, returned=0)
    opening.join()


# --- the watchdog ---


def test_nothing_acknowledged_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    transport, time = FakeTransport(then=error(400, "AccessDeniedException")), FakeTime()
    output = new_output(transport, time)
    assert output.flush(numbered(range(700))) is RETRY
    time.advance(9)
    assert output.flush(numbered(range(700))) is RETRY
    time.advance(1)
    with pytest.raises(SendFailureTimeout):
        output.flush(numbered(range(700)))
    assert_stats(output, in_=2100, returned=2100)


@pytest.mark.parametrize("progress", [accept, fail(0), fail(0, 1, 2, 3)])
def test_any_acknowledgement_is_progress(monkeypatch: pytest.MonkeyPatch, progress: Step) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    denied = error(400, "AccessDeniedException")
    transport = FakeTransport(denied, progress, denied, denied)
    time = FakeTime()
    output = new_output(transport, time)
    assert output.flush(numbered(range(700))) is RETRY
    time.advance(9)
    assert output.flush(numbered(range(700))) is RETRY
    time.advance(9)
    assert output.flush(numbered(range(700))) is RETRY
