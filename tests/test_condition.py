"""Waits end as they should, and with the lock held, whatever raises in the middle of them."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import cast

import pytest
from outputs import PATIENCE_S, eventually

from kinesis_fast.condition import Condition


class Waiting:
    """A thread that waits on a condition."""

    def __init__(self, condition: Condition, timeout_s: float | None = PATIENCE_S) -> None:
        self.was_notified: bool | None = None
        self._condition = condition
        self._timeout_s = timeout_s
        self._thread = threading.Thread(target=self._wait, daemon=True)
        n_before = condition.n_waiting
        self._thread.start()
        eventually(lambda: condition.n_waiting > n_before)

    def _wait(self) -> None:
        with self._condition:
            self.was_notified = self._condition.wait(self._timeout_s)

    def result(self) -> bool | None:
        """Wait for its end; return what `wait` returned."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.was_notified


class RaisingLock:
    """A lock that raises when it is taken again after a wait, as a signal handler may."""

    def __init__(self, *errors: BaseException) -> None:
        self._lock = threading.Lock()
        self._errors = list(errors)
        self._is_first = True

    def acquire(self) -> bool:
        """Take it."""
        if self._is_first:
            self._is_first = False
        elif self._errors:
            raise self._errors.pop(0)
        return self._lock.acquire()

    def release(self) -> None:
        """Release it."""
        self._lock.release()

    def locked(self) -> bool:
        """Tell whether it is held."""
        return self._lock.locked()


@pytest.fixture
def condition() -> Condition:
    return Condition(threading.Lock())


def test_the_first_that_waits_is_notified_first(condition: Condition) -> None:
    threads = [Waiting(condition) for _ in range(3)]
    with condition:
        condition.notify()
    assert threads[0].result() is True
    assert [thread.was_notified for thread in threads[1:]] == [None, None]
    with condition:
        condition.notify(2)
    assert [thread.result() for thread in threads] == [True] * 3


@pytest.mark.parametrize("timeout_s", [PATIENCE_S, None])
def test_all_are_notified(condition: Condition, timeout_s: float | None) -> None:
    threads = [Waiting(condition, timeout_s) for _ in range(4)]
    with condition:
        condition.notify_all()
        assert condition.n_waiting == 0
    assert [thread.result() for thread in threads] == [True] * 4


def test_nothing_happens_when_no_thread_waits(condition: Condition) -> None:
    with condition:
        condition.notify(3)
        condition.notify_all()
        assert condition.wait(0.001) is False


@pytest.mark.parametrize("timeout_s", [0.001, 0, -1.0])
def test_time_that_is_up(condition: Condition, timeout_s: float) -> None:
    with condition:
        assert condition.wait(timeout_s) is False
        assert condition.n_waiting == 0


def test_it_waits_for_a_state(condition: Condition) -> None:
    state: list[int] = []

    def add() -> None:
        for number in range(3):
            with condition:
                state.append(number)
                condition.notify_all()

    thread = threading.Thread(target=add)
    with condition:
        thread.start()
        assert condition.wait_for(lambda: len(state) == 3, PATIENCE_S) is True
        assert condition.wait_for(lambda: state) is state
        assert condition.wait_for(lambda: len(state) == 4, 0.001) is False
    thread.join()


@pytest.mark.parametrize("call", [Condition.wait, Condition.notify, Condition.notify_all])
def test_without_the_lock(condition: Condition, call: Callable[[Condition], object]) -> None:
    with pytest.raises(RuntimeError, match="not held"):
        call(condition)
    assert condition.n_waiting == 0


def test_an_exception_on_the_way_back_comes_with_the_lock_held() -> None:
    """threading.Condition loses the lock here, and raises a RuntimeError in its place."""
    first = KeyboardInterrupt()
    lock = RaisingLock(first, MemoryError())
    condition = Condition(cast("threading.Lock", lock))
    with pytest.raises(KeyboardInterrupt) as caught, condition:
        condition.wait(0.001)
    assert caught.value is first
    assert not lock.locked()
    assert condition.n_waiting == 0


def test_signal_handlers_that_raise_at_any_moment() -> None:
    """The lock is held inside `with` and free behind it; only what the handler raises comes out."""
    condition = Condition(threading.Lock())
    n_raised = 0

    def wait_often() -> None:
        while True:
            for timeout_s in (0.0, 0.0001, 0.0004):
                with condition:
                    condition.wait(timeout_s)

    def handler(_: int, frame: FrameType | None) -> None:
        nonlocal n_raised
        if frame is not None and frame.f_code is wait_often.__code__:
            n_raised += 1
            raise InterruptedError

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for _ in range(1000):
            with pytest.raises(InterruptedError):
                wait_often()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert n_raised == 1000
    assert condition.n_waiting == 0
    with condition:  # it is free: otherwise this waits for ever
        assert condition.wait(0) is False


def test_ctrl_c_ends_a_wait_without_a_bound(condition: Condition) -> None:
    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored
    thread = threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt), condition:
            thread.start()
            condition.wait()
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    with condition:
        assert condition.n_waiting == 0
