"""experimental_concurrency: deliveries in the background, more flushes than slots, the end."""

import threading
import time
from collections.abc import Callable

import pytest
from fake_transport import Answer, FakeTime, FakeTransport, Step, accept, error, fail, raise_it
from outputs import assert_balanced, assert_stats, new_output, numbered, numbers

from kinesis_fast import ClosedError, FlushResult, SendFailureTimeout, TransportError
from kinesis_fast.delivery.retry import backoff_s

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")
PATIENCE_S = 10.0


class Gate:
    """A step that keeps requests waiting until it is opened."""

    def __init__(self, then: Step = accept) -> None:
        self._then = then
        self._open = threading.Event()
        self.arrived = threading.Semaphore(0)

    def __call__(self, records: list[bytes]) -> Answer:
        self.arrived.release()
        assert self._open.wait(PATIENCE_S)
        return self._then(records)

    def wait_for_arrivals(self, n: int) -> None:
        for _ in range(n):
            assert self.arrived.acquire(timeout=PATIENCE_S)

    def open(self) -> None:
        self._open.set()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def test_the_chunk_is_taken_over() -> None:
    gate = Gate()
    transport = FakeTransport(gate)
    output = new_output(transport, experimental_concurrency="1")
    chunk = bytearray(numbered(range(700)))
    assert output.flush(chunk, "app") is OK
    gate.wait_for_arrivals(1)
    assert_stats(output, in_=700, pending=700, delivered=0)
    chunk[:] = b""  # nobody looks at it any more
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


def test_while_a_delivery_waits_to_retry_nothing_is_taken() -> None:
    time = FakeTime(chance=0.5, is_manual=True)
    transport = FakeTransport(DENIED)
    output = new_output(transport, time, experimental_concurrency="4")
    assert output.flush(numbered([1])) is OK
    eventually(lambda: time.waits == [0.5])
    assert output.flush(numbered([2])) is RETRY
    time.advance(0.5)
    eventually(lambda: output.flush(numbered([3])) is OK)
    output.close()
    assert sorted(numbers(transport.kept)) == [1, 3]
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["delivered"], stats["pending"]) == (2, 0)


def test_a_retry_goes_on_where_it_stopped() -> None:
    transport = FakeTransport(accept, fail(7, 9), DENIED)
    output = new_output(transport, FakeTime(chance=0.0), experimental_concurrency="1")
    assert output.flush(numbered(range(1100))) is OK
    output.close()
    assert transport.sizes == [500, 500, 2, 102]
    assert sorted(numbers(transport.kept)) == list(range(1100))
    assert_stats(output, in_=1100, delivered=1100, retried=2)


def test_after_the_last_retry_the_records_are_dead(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport(accept, then=DENIED)
    output = new_output(
        transport,
        FakeTime(chance=0.0),
        experimental_concurrency="1",
        experimental_concurrency_retries="2",
    )
    assert output.flush(numbered(range(1100)), "app") is OK
    eventually(lambda: output.stats()["dead"] > 0)
    eventually(lambda: output.stats()["pending"] == 0)
    assert transport.sizes == [500, 500, 500, 500]
    assert_stats(output, in_=1100, delivered=500, dead=600)
    eventually(lambda: output.flush(numbered([1])) is OK)
    output.close()
    assert "chunk 'app': 600 records are given up and lost after 2 retries" in caplog.messages


def test_no_retries_at_all() -> None:
    output = new_output(
        FakeTransport(then=DENIED),
        experimental_concurrency="1",
        experimental_concurrency_retries="0",
    )
    output.flush(numbered([1, 2]))
    output.close()
    assert_stats(output, in_=2, dead=2)


def test_waits_between_retries_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def noted(failures: int, base_s: float, cap_s: float, random: Callable[[], float]) -> float:
        waits.append(backoff_s(failures, base_s, cap_s, random))
        return 0.0

    monkeypatch.setattr("kinesis_fast.delivery.background.backoff_s", noted)
    output = new_output(
        FakeTransport(then=DENIED),
        FakeTime(chance=0.5),
        experimental_concurrency="1",
        experimental_concurrency_retries="7",
    )
    output.flush(numbered([1]))
    eventually(lambda: output.stats()["dead"] == 1)
    output.close()
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_skipped_records_leave_the_pending_ones() -> None:
    output = new_output(FakeTransport(), experimental_concurrency="1")
    chunk = numbered([1]) + b"\x92\x92\x00\x80\x07" + numbered([2]) + b"\xc1"
    output.flush(chunk)
    output.close()
    assert_stats(output, in_=4, delivered=2, skipped=2, pending=0, skipped_malformed=1)


def test_bytes_are_not_enough_for_a_chunk() -> None:
    output = new_output(FakeTransport(), experimental_concurrency="1")
    for chunk in ("text", 5, None):
        with pytest.raises(TypeError):
            output.flush(chunk)  # type: ignore[arg-type]
    assert not any(output.stats().values())
    assert output.flush(numbered([1])) is OK
    output.close()


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
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


# --- close ---


def test_a_transport_that_ends_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    output = new_output(FakeTransport(raise_it(SystemExit(3))), experimental_concurrency="1")
    assert output.flush(numbered([1, 2]), "app.log") is OK
    eventually(lambda: output.stats()["delivered"] == 2)
    assert "chunk 'app.log': unexpected failure" in caplog.messages
    output.close()


def test_close_wakes_those_that_wait() -> None:
    transport, time = FakeTransport(DENIED), FakeTime(is_manual=True)
    output = new_output(transport, time, experimental_concurrency="1")
    output.flush(numbered([1]))
    eventually(lambda: len(time.waits) == 1)
    output.close(PATIENCE_S)
    assert_stats(output, delivered=1, pending=0)


def test_the_last_run_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport(then=DENIED)
    time = FakeTime(is_manual=True)
    output = new_output(transport, time, experimental_concurrency="1")
    output.flush(numbered([1, 2, 3]))
    eventually(lambda: len(time.waits) == 1)
    assert output.flush(numbered([4])) is RETRY
    output.close(PATIENCE_S)
    assert transport.sizes == [3, 3]
    assert_stats(output, in_=4, pending=3, returned=1)
    assert caplog.messages[-1] == "closed with 3 records that were not delivered"
    n_lines = len(caplog.messages)
    output.close(PATIENCE_S)
    assert len(caplog.messages) == n_lines


def test_close_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    output = new_output(FakeTransport(gate), experimental_concurrency="1")
    output.flush(numbered([1, 2]))
    gate.wait_for_arrivals(1)
    output.close(0.01)
    assert caplog.messages[-1] == "closed with 2 records that were not delivered"
    with pytest.raises(ClosedError):
        output.flush(numbered([3]))
    gate.open()
    eventually(lambda: output.stats()["delivered"] == 2)
    assert_stats(output, in_=2, delivered=2, pending=0)


def test_close_waits_for_a_flush_of_another_thread() -> None:
    gate = Gate()
    transport = FakeTransport(gate)
    output = new_output(transport)
    results: list[FlushResult] = []
    thread = threading.Thread(target=lambda: results.append(output.flush(numbered([1]))))
    thread.start()
    gate.wait_for_arrivals(1)
    closer = threading.Thread(target=output.close, args=(PATIENCE_S,))
    closer.start()
    eventually(lambda: output._is_closed)
    assert closer.is_alive()
    gate.open()
    closer.join()
    assert output.stats()["delivered"] == 1
    thread.join()
    assert results == [OK]


# --- the watchdog ---


def test_the_next_flush_tells_that_nothing_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    clock = FakeTime(chance=0.0)

    def slow(records: list[bytes]) -> Answer:
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
