"""close() ends every pause of a delivery; what that means depends on the mode."""

import threading
from pathlib import Path
from typing import Any

import pytest
from fake_transport import INTERNAL, FakeTime, FakeTransport, accept, fail, fail_all
from hooked_condition import HookedCondition
from outputs import PATIENCE_S, assert_stats, eventually, new_output, numbered, numbers

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.condition import Condition
from kinesis_fast.delivery.background import Background
from kinesis_fast.delivery.context import DeliveryContext, Pauses, Timing

OK, RETRY = FlushResult.OK, FlushResult.RETRY
IN_FLIGHT = pytest.mark.parametrize("in_flight", ["1", "4"])


class Flush(threading.Thread):
    """A flush on a thread of its own."""

    def __init__(self, output: KinesisOutput, chunk: bytes) -> None:
        super().__init__(daemon=True)
        self.result: FlushResult | None = None
        self._output = output
        self._chunk = chunk
        self.start()

    def run(self) -> None:
        self.result = self._output.flush(self._chunk, "app")


def context_of(output: KinesisOutput) -> DeliveryContext:
    assert output._parts is not None
    return output._parts.context


def close_in_time(output: KinesisOutput, timeout_s: float = PATIENCE_S) -> None:
    """Close on another thread, so that a pause that goes on for ever fails instead of hanging."""
    closer = threading.Thread(target=output.close, args=(timeout_s,), daemon=True)
    closer.start()
    closer.join(PATIENCE_S / 2)
    assert not closer.is_alive(), "close() waits for a pause"


@IN_FLIGHT
def test_a_flush_returns_what_waits(in_flight: str, caplog: pytest.LogCaptureFixture) -> None:
    transport, time = FakeTransport(accept, then=fail_all()), FakeTime(is_manual=True)
    output = new_output(transport, time, max_in_flight=in_flight)
    flush = Flush(output, numbered(range(700)))
    eventually(lambda: time.waits and output.stats()["delivered"])
    n_delivered = output.stats()["delivered"]
    close_in_time(output)
    flush.join(PATIENCE_S)
    assert flush.result is RETRY
    assert time.now == 1000.0
    assert len(transport.requests) == 2
    assert_stats(output, in_=700, delivered=n_delivered, returned=700 - n_delivered)
    assert len(context_of(output).resume) == 1
    (line,) = [line for line in caplog.messages if "RETRY" in line]
    assert f"returning {700 - n_delivered} of 700 records" in line
    assert line.endswith("; close() ended the pause before the next attempt")


@IN_FLIGHT
def test_a_background_delivery_is_tried_once_more_at_once(in_flight: str) -> None:
    transport, time = FakeTransport(fail(0, 1, code=INTERNAL)), FakeTime(is_manual=True)
    options = {"experimental_concurrency": "1", "experimental_concurrency_retries": "0"}
    output = new_output(transport, time, max_in_flight=in_flight, **options)
    assert output.flush(numbered(range(5))) is OK
    eventually(lambda: time.waits)
    close_in_time(output)
    assert time.now == 1000.0
    assert [numbers(request) for request in transport.requests] == [[0, 1, 2, 3, 4], [0, 1]]
    assert_stats(output, delivered=5, pending=0)


@IN_FLIGHT
def test_the_last_try_in_the_background_pauses_until_the_time_is_up(in_flight: str) -> None:
    """Its records get no other chance; when close() has returned, no thread waits any more."""
    failing = fail(0, code=INTERNAL)
    transport, time = FakeTransport(failing, failing), FakeTime(is_manual=True)
    output = new_output(transport, time, max_in_flight=in_flight, experimental_concurrency="1")
    output.flush(numbered(range(2)))
    eventually(lambda: time.waits)
    closer = threading.Thread(target=output.close, args=(PATIENCE_S,), daemon=True)
    closer.start()
    eventually(lambda: len(time.waits) == 2)
    assert closer.is_alive()
    time.advance(time.waits[1])
    closer.join(PATIENCE_S)
    assert_stats(output, delivered=2, pending=0)

    again = FakeTransport(then=fail_all(INTERNAL))
    output = new_output(again, time, max_in_flight=in_flight, experimental_concurrency="1")
    output.flush(numbered(range(2)))
    eventually(lambda: len(time.waits) == 3)
    output.close(0.02)
    mode = output._parts.mode if output._parts else None
    assert isinstance(mode, Background)
    eventually(lambda: not mode._copies)
    assert again.sizes == [2, 2]
    assert_stats(output, pending=2)


@IN_FLIGHT
def test_what_waits_stays_in_the_spool(in_flight: str, tmp_path: Path) -> None:
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
    transport, time = FakeTransport(fail(3, 4), then=fail_all()), FakeTime(is_manual=True)
    output = new_output(transport, time, max_in_flight=in_flight, **options)
    assert output.flush(numbered(range(5))) is OK
    eventually(lambda: time.waits)
    close_in_time(output)
    assert time.now == 1000.0
    assert transport.sizes == [5]
    assert_stats(output, delivered=3, pending=2)

    later = FakeTransport()
    output = new_output(later, FakeTime(chance=0.0), max_in_flight=in_flight, **options)
    eventually(lambda: output.stats()["pending"] == 0 and later.kept)
    output.close()
    assert numbers(later.kept) == [3, 4]


@IN_FLIGHT
def test_the_pace_of_a_stream_that_throttles(in_flight: str) -> None:
    """No attempt has failed, so the request goes out."""
    transport, time = FakeTransport(), FakeTime(is_manual=True)
    output = new_output(transport, time, max_in_flight=in_flight)
    for _ in range(9):
        context_of(output).concurrency.throttled(1.0)
    flush = Flush(output, numbered(range(3)))
    eventually(lambda: time.waits)
    close_in_time(output)
    flush.join(PATIENCE_S)
    assert flush.result is OK
    assert_stats(output, delivered=3)


def test_a_pause_that_begins_after_the_end() -> None:
    pauses = Pauses(FakeTime(is_manual=True).timing())
    pauses.end()
    with (condition := Condition(threading.Lock())):
        assert not pauses.wait(condition, 1.0)


def test_all_pauses_of_a_delivery_end() -> None:
    """A thread that has decided to wait, but does not wait yet, is found as well."""
    condition = Condition(threading.Lock())
    results: list[bool] = []
    is_deciding, may_wait = threading.Semaphore(0), threading.Event()

    def wait(condition: Condition, seconds: float) -> None:
        is_deciding.release()
        may_wait.wait(PATIENCE_S)
        condition.wait(PATIENCE_S)

    pauses = Pauses(Timing(wait=wait))

    def pause() -> None:
        with condition:
            results.append(pauses.wait(condition, 1.0))

    threads = [threading.Thread(target=pause) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert is_deciding.acquire(timeout=PATIENCE_S)
    ending = threading.Thread(target=pauses.end)
    ending.start()
    may_wait.set()
    for thread in (ending, *threads):
        thread.join(PATIENCE_S / 2)
        assert not thread.is_alive()
    assert results == [False, False]


@pytest.mark.parametrize("mode", ["plain", "background", "spooled"])
def test_an_interrupted_close_lets_go_of_everything(mode: str, tmp_path: Path) -> None:
    """Ctrl-C while close() waits: no thread goes on for a program that is about to end."""
    options = dict[str, str]()
    if mode != "plain":
        options["experimental_concurrency"] = "1"
    if mode == "spooled":
        options["spool_dir"] = str(tmp_path / "spool")
    threads_of_other_tests = threads_of_deliveries()
    transport, time = FakeTransport(then=fail_all()), FakeTime(is_manual=True)
    output = new_output(transport, time, **options)
    waits: Any = output
    if mode != "plain":
        assert output.flush(numbered([0])) is OK
        eventually(lambda: time.waits)
        waits = output._parts and output._parts.mode
    waits._changed = HookedCondition(waits._changed, interrupted)
    with pytest.raises(KeyboardInterrupt):
        output.close()
    context, n_requests = context_of(output), len(transport.requests)
    assert context.threads._is_closed
    assert context.watchdog._closed
    time.advance(100.0)
    eventually(lambda: threads_of_deliveries() <= threads_of_other_tests)
    assert len(transport.requests) <= n_requests + (mode == "background")  # its last try
    if mode == "spooled":
        with new_output(FakeTransport(), None, **options):  # in a directory that is free again
            assert [path.name for path in (tmp_path / "spool").iterdir()] == ["logs.0"]


def interrupted(*_: object) -> bool:
    raise KeyboardInterrupt


def threads_of_deliveries() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "kinesis-fast-delivery"}
