"""experimental_concurrency without a spool: slots, retries, close, the watchdog."""

import threading
import time

import pytest
from fake_transport import FakeTime, FakeTransport, Reply, Step, accept, error, fail, raise_it
from outputs import (
    PATIENCE_S,
    Gate,
    assert_balanced,
    assert_stats,
    eventually,
    new_output,
    numbered,
    numbers,
    raising_log,
)

from kinesis_fast import (
    ClosedError,
    FlushResult,
    KinesisOutput,
    SendFailureTimeout,
    TransportError,
)
from kinesis_fast.condition import Condition
from kinesis_fast.delivery.background import Background
from kinesis_fast.transport import secrets

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")


def test_the_chunk_is_taken_over() -> None:
    gate = Gate()
    transport = FakeTransport(gate)
    output = new_output(transport, experimental_concurrency="1")
    chunk = bytearray(numbered(range(700)))
    assert output.flush(chunk, "app") is OK
    gate.wait_for_arrivals(1)
    assert_stats(output, in_=700, pending=700, delivered=0)
    chunk[:] = b""  # the output has a copy
    gate.open()
    output.close()
    assert numbers(transport.kept) == list(range(700))
    assert_stats(output, in_=700, delivered=700, pending=0)


def test_more_flushes_than_slots() -> None:
    gate = Gate()
    transport = FakeTransport(then=gate)
    output = new_output(transport, experimental_concurrency="3")
    results = [output.flush(numbered(range(10 * i, 10 * i + 10))) for i in range(5)]
    assert results == [OK, OK, OK, RETRY, RETRY]
    gate.wait_for_arrivals(3)
    assert_stats(output, in_=50, pending=30, returned=20, requests=3)
    gate.open()
    eventually(lambda: output.stats()["pending"] == 0)
    eventually(lambda: output.flush(numbered(range(30, 40))) is OK)
    output.close()
    assert sorted(numbers(transport.kept)) == list(range(40))
    assert_stats(output, delivered=40, pending=0)


def test_many_flushes_from_many_threads() -> None:
    transport = FakeTransport(fail(0), raise_it(TransportError("reset")), fail(1))
    output = new_output(transport, FakeTime(chance=0.0), experimental_concurrency="4")

    def bring(first: int) -> None:
        for number in range(first, first + 20):
            while output.flush(numbered([number])) is not OK:
                time.sleep(0.0005)

    threads = [threading.Thread(target=bring, args=(100 * i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output.close()
    expected = sorted(100 * i + j for i in range(6) for j in range(20))
    assert sorted(numbers(transport.kept)) == expected
    assert_stats(output, delivered=120, pending=0, dead=0)


def test_no_chunk_is_taken_over_while_one_waits_for_its_retry() -> None:
    time = FakeTime(chance=0.5, is_manual=True)
    transport = FakeTransport(DENIED)
    output = new_output(transport, time, experimental_concurrency="4")
    assert output.flush(numbered([1])) is OK
    eventually(lambda: time.waits or len(transport.requests) > 1)
    assert time.waits == [0.5]
    assert output.flush(numbered([2])) is RETRY
    time.advance(0.25)
    eventually(lambda: len(time.waits) > 1 or len(transport.requests) > 1)
    assert time.waits == [0.5, 0.25]
    time.advance(0.25)
    eventually(lambda: output.flush(numbered([3])) is OK)
    output.close()
    assert sorted(numbers(transport.kept)) == [1, 3]
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["delivered"], stats["pending"]) == (2, 0)


def test_a_retry_sends_only_what_is_left() -> None:
    transport = FakeTransport(accept, fail(7, 9), DENIED)
    output = new_output(transport, FakeTime(chance=0.0), experimental_concurrency="1")
    assert output.flush(numbered(range(1100))) is OK
    output.close()
    assert transport.sizes == [500, 500, 2, 102]
    assert sorted(numbers(transport.kept)) == list(range(1100))
    assert_stats(output, in_=1100, delivered=1100, retried=2)


def test_after_the_last_retry_the_records_are_dead(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport(accept, DENIED, DENIED, DENIED)
    output = new_output(
        transport,
        FakeTime(chance=0.0),
        experimental_concurrency="1",
        experimental_concurrency_retries="2",
    )
    assert output.flush(numbered(range(1100)), "app") is OK
    eventually(lambda: output.stats()["pending"] == 0)
    assert transport.sizes == [500, 500, 500, 500]
    assert_stats(output, in_=1100, delivered=500, dead=600)
    eventually(lambda: output.flush(numbered([1])) is OK)
    output.close()
    assert "chunk 'app': records given up and lost: 600 (retries: 2)" in caplog.messages


def test_no_retries_at_all() -> None:
    output = new_output(
        FakeTransport(then=DENIED),
        experimental_concurrency="1",
        experimental_concurrency_retries="0",
    )
    output.flush(numbered([1, 2]))
    output.close()
    assert_stats(output, in_=2, dead=2)


def test_waits_between_retries_grow() -> None:
    clock = FakeTime(chance=0.5)
    output = new_output(
        FakeTransport(then=DENIED),
        clock,
        experimental_concurrency="1",
        experimental_concurrency_retries="7",
    )
    output.flush(numbered([1]))
    eventually(lambda: output.stats()["dead"] == 1)
    output.close()
    assert clock.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_skipped_records_are_not_pending() -> None:
    output = new_output(FakeTransport(), experimental_concurrency="1")
    chunk = numbered([1]) + b"\x92\x92\x00\x80\x07" + numbered([2]) + b"\xc1"
    output.flush(chunk)
    output.close()
    assert_stats(output, in_=4, delivered=2, skipped=2, pending=0, skipped_malformed=1)


def test_a_chunk_has_to_be_bytes_like() -> None:
    output = new_output(FakeTransport(), experimental_concurrency="1")
    for chunk in ("text", 5, None):
        with pytest.raises(TypeError):
            output.flush(chunk)  # type: ignore[arg-type]
    assert not any(output.stats().values())
    assert output.flush(numbered([1])) is OK
    output.close()


def test_a_thread_that_cannot_start_returns_the_chunk(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    output = new_output(FakeTransport(), experimental_concurrency="1")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert output.flush(numbered([1, 2])) is RETRY
    assert_stats(output, in_=2, returned=2)
    assert "can't start new thread" in caplog.messages[-1]
    assert output.flush(numbered([1, 2])) is OK
    output.close()
    assert_stats(output, in_=4, delivered=2, returned=2)


@pytest.mark.parametrize("step", [DENIED, raise_it(SystemExit(3))])
def test_a_log_handler_that_raises_takes_no_pause_away(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retries are as many, and as far from each other, as without it."""
    transport, clock = FakeTransport(then=step), FakeTime(chance=0.5)
    output = new_output(
        transport, clock, experimental_concurrency="1", experimental_concurrency_retries="2"
    )
    with raising_log(monkeypatch):
        assert output.flush(numbered([1, 2]), "app") is OK
        eventually(lambda: output.stats()["pending"] == 0)
        output.close()
    assert transport.sizes == [2, 2, 2]
    assert clock.waits == [0.5, 1.0]
    assert_stats(output, in_=2, dead=2)


# --- close ---


def test_a_transport_that_raises_system_exit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(secrets, "_lasting", ["a/secret+key"])
    error = SystemExit(3)
    error.__cause__ = ValueError("refused: a/secret+key")
    output = new_output(FakeTransport(raise_it(error)), experimental_concurrency="1")
    assert output.flush(numbered([1, 2]), "app.log") is OK
    eventually(lambda: output.stats()["delivered"] == 2)
    output.close()
    line = next(text for text in caplog.messages if "unexpected failure" in text)
    assert line.startswith("chunk 'app.log': unexpected failure\n")
    assert "ValueError: refused: ***" in line
    assert "a/secret+key" not in caplog.text


def test_close_does_not_wait_for_the_next_try() -> None:
    transport, time = FakeTransport(DENIED), FakeTime(is_manual=True)
    output = new_output(transport, time, experimental_concurrency="1")
    output.flush(numbered([1]))
    eventually(lambda: len(time.waits) == 1)
    output.close(PATIENCE_S)
    assert_stats(output, delivered=1, pending=0)


def test_the_try_after_close_is_the_last(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport(then=DENIED)
    time = FakeTime(is_manual=True)
    output = new_output(transport, time, experimental_concurrency="1")
    output.flush(numbered([1, 2, 3]))
    eventually(lambda: len(time.waits) == 1)
    assert output.flush(numbered([4])) is RETRY
    output.close(PATIENCE_S)
    assert transport.sizes == [3, 3]
    assert_stats(output, in_=4, pending=3, returned=1)
    assert caplog.messages[-1] == "closed; records that were not delivered: 3"
    n_lines = len(caplog.messages)
    output.close(PATIENCE_S)
    assert len(caplog.messages) == n_lines


def test_close_ends_when_its_time_is_up(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    output = new_output(FakeTransport(gate), experimental_concurrency="1")
    output.flush(numbered([1, 2]))
    gate.wait_for_arrivals(1)
    output.close(0.01)
    assert caplog.messages[-1] == "closed; records that were not delivered: 2"
    with pytest.raises(ClosedError):
        output.flush(numbered([3]))
    gate.open()
    eventually(lambda: output.stats()["delivered"] == 2)
    assert_stats(output, in_=2, delivered=2, pending=0)


def test_close_notices_the_end_of_a_delivery_that_is_interrupted_there() -> None:
    class Interrupted(Condition):
        n_calls = 0

        def notify_all(self) -> None:
            if threading.current_thread().name == "kinesis-fast-delivery":
                self.n_calls += 1
                if self.n_calls == 1:
                    raise MemoryError
            super().notify_all()

    gate = Gate()
    output = new_output(FakeTransport(gate), experimental_concurrency="1")
    mode = output._parts.mode if output._parts else None
    assert isinstance(mode, Background)
    condition = mode._changed = Interrupted(threading.Lock())
    assert output.flush(numbered([1])) is OK
    gate.wait_for_arrivals(1)
    closer = threading.Thread(target=output.close, args=(PATIENCE_S,))
    closer.start()
    eventually(lambda: condition.n_waiting)
    gate.open()
    closer.join(PATIENCE_S / 2)
    assert not closer.is_alive()
    assert condition.n_calls == 2


# --- the watchdog ---


def test_the_next_flush_raises_when_nothing_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    clock = FakeTime(chance=0.0)

    def slow(records: list[bytes]) -> Reply:
        clock.advance(20)
        return DENIED(records)

    transport = FakeTransport(slow)
    output = new_output(transport, clock, experimental_concurrency="1")
    assert output.flush(numbered([1])) is OK
    eventually(lambda: output.stats()["delivered"] == 1)
    with pytest.raises(SendFailureTimeout):
        output.flush(numbered([2]))
    eventually(lambda: output.flush(numbered([3])) is OK)
    output.close()
    stats = output.stats()
    assert_balanced(stats)
    assert sorted(numbers(transport.kept)) == [1, 3]


def test_failed_tries_do_not_stop_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    transport = FakeTransport(*[DENIED] * 6)  # at 0, 0.5, 1.5, 3.5, 7.5 and 15.5 s
    output = new_output(
        transport,
        FakeTime(chance=0.5),
        experimental_concurrency="1",
        experimental_concurrency_retries="9",
    )
    assert output.flush(numbered([1])) is OK
    eventually(lambda: output.stats()["delivered"] == 1)
    with pytest.raises(SendFailureTimeout):
        output.flush(numbered([2]))
    output.close()


def test_records_that_were_given_up_do_not_stop_the_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    clock = FakeTime()
    output = new_output(
        FakeTransport(then=DENIED),
        clock,
        experimental_concurrency="1",
        experimental_concurrency_retries="0",
    )
    for number in range(2):
        assert output.flush(numbered([number])) is OK
        eventually(lambda: output.stats()["pending"] == 0 and is_idle(output))
        clock.advance(10)
    with pytest.raises(SendFailureTimeout):
        output.flush(numbered([2]))
    output.close()


def is_idle(output: KinesisOutput) -> bool:
    mode = output._parts.mode if output._parts else None
    assert isinstance(mode, Background)
    return not mode._copies
