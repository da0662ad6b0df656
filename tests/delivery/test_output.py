"""The life of an output: results, close, what it calls when nothing arrives, garbage collection."""

import gc
import threading
import weakref
from collections.abc import Callable

import pytest
from chunks import output_config
from fake_transport import FakeTime, FakeTransport, error
from hooked_condition import HookedCondition
from outputs import PATIENCE_S, Gate, eventually, new_output, numbered

from kinesis_fast import ClosedError, FlushResult, KinesisOutput, SendFailureTimeout

OK, RETRY = FlushResult.OK, FlushResult.RETRY


def test_results_have_the_numbers_of_fluent_bit() -> None:
    assert (FlushResult.ERROR, FlushResult.OK, FlushResult.RETRY) == (0, 1, 2)


def test_flush_raises_after_close() -> None:
    output = new_output(FakeTransport())
    output.close()
    output.close()
    with pytest.raises(ClosedError):
        output.flush(numbered([1]))
    assert output.stats()["in"] == 0


def test_close_waits_for_the_flush_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, is_waiting = Gate(), threading.Event()
    output = new_output(FakeTransport(gate))
    wait_for = output._changed.wait_for

    def noted(condition: Callable[[], bool], timeout: float | None = None) -> bool:
        is_waiting.set()
        return wait_for(condition, timeout)

    monkeypatch.setattr(output, "_changed", HookedCondition(output._changed, noted))
    results: list[FlushResult] = []
    thread = threading.Thread(target=lambda: results.append(output.flush(numbered([1]))))
    thread.start()
    gate.wait_for_arrivals(1)
    closer = threading.Thread(target=output.close, args=(PATIENCE_S,))
    closer.start()
    eventually(lambda: is_waiting.is_set() or not closer.is_alive())
    assert closer.is_alive()
    gate.open()
    closer.join()
    assert output.stats()["delivered"] == 1
    thread.join()
    assert results == [OK]


def test_close_does_not_wait_for_a_call_that_was_interrupted_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = new_output(FakeTransport())
    end, n_calls = output._end_call, 0

    def interrupted(call: object) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise KeyboardInterrupt
        end(call)

    monkeypatch.setattr(output, "_end_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        output.flush(numbered([1]))
    assert not output._calls
    output.close(0.0)


def test_on_send_failure_is_called_before_flush_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    reasons: list[str] = []
    time = FakeTime()
    with KinesisOutput(
        output_config(),
        FakeTransport(then=error(400, "AccessDeniedException")),
        on_send_failure=reasons.append,
        timing=time.timing(),
    ) as output:
        output.flush(numbered([1]))
        time.advance(10)
        with pytest.raises(SendFailureTimeout):
            output.flush(numbered([1]))
    assert len(reasons) == 1
    assert "SEND_FAILURE_TIMEOUT" in reasons[0]


def test_an_output_is_collected_with_its_last_reference() -> None:
    before = set(threading.enumerate())
    output = new_output(FakeTransport(), max_in_flight="4")
    output.flush(numbered(range(3000)))
    threads = set(threading.enumerate()) - before
    output.close()
    alive = weakref.ref(output)
    del output
    gc.collect()
    assert alive() is None
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
