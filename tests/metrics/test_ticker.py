"""The thread for what happens every so many seconds, and its tasks on a clock of the test."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import pytest
from outputs import PATIENCE_S

from kinesis_fast.metrics import threads
from kinesis_fast.metrics.ticker import Ticker


class Steps:
    """A ticker without a thread, on a clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.done: list[tuple[str, float]] = []
        monkeypatch.setattr(threads, "start", lambda *_: threading.current_thread())
        self.ticker = Ticker(lambda: self.now)

    def add(self, name: str, interval_s: float, *, n: int = 1000, at_once: bool = False) -> None:
        """Add a task that is noted n times."""
        left = iter(range(n - 1))

        def note() -> bool:
            self.done.append((name, self.now))
            return next(left, None) is not None

        self.ticker.add(interval_s, note, at_once=at_once)

    def go(self, seconds: float) -> None:
        """Let time pass, second by second."""
        for _ in range(round(seconds)):
            self.now += 1.0
            self.ticker.run_due()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """A ticker on the test's clock."""
    return Steps(monkeypatch)


def test_each_task_has_its_interval(steps: Steps) -> None:
    steps.add("a", 2)
    steps.add("b", 3, at_once=True)
    steps.ticker.run_due()
    steps.go(6)
    assert [when for name, when in steps.done if name == "a"] == [2, 4, 6]
    assert [when for name, when in steps.done if name == "b"] == [0, 3, 6]


def test_a_late_task_is_not_made_up_for(steps: Steps) -> None:
    steps.add("a", 2)
    steps.now = 100.0
    steps.ticker.run_due()
    steps.go(2)
    assert [when for _, when in steps.done] == [100, 102]


def test_a_task_that_returns_false_is_over(steps: Steps) -> None:
    steps.add("a", 1, n=3)
    steps.go(10)
    assert [when for _, when in steps.done] == [1, 2, 3]


def test_a_task_that_raises_runs_again(steps: Steps, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> bool:
        steps.done.append(("x", steps.now))
        raise ValueError("broken")

    steps.ticker.add(1, fail)
    steps.add("a", 1)
    steps.go(2)
    assert [name for name, _ in steps.done] == ["x", "a", "x", "a"]
    assert [record.getMessage()[:29] for record in caplog.records] == [
        "a task of the metrics failed\n"
    ] * 2


def test_the_thread_ends_with_the_last_task() -> None:
    ticker = Ticker()
    ran = threading.Event()
    masks = []

    def run() -> bool:
        task = threading.get_native_id()
        masks.append(Path(f"/proc/self/task/{task}/status").read_text())
        ran.set()
        return True

    for _ in range(2):  # again after its end
        tasks = [ticker.add(3600, run, at_once=True), ticker.add(3600, lambda: True)]
        assert ran.wait(PATIENCE_S)
        thread = ticker._thread
        assert thread is not None
        assert thread.daemon
        ticker.remove(tasks[0])
        assert thread.is_alive()
        ticker.remove(tasks[1])
        assert not thread.is_alive()
        ran.clear()
    blocked = int(re.findall(r"^SigBlk:\s+(\w+)$", masks[0], re.M)[0], 16)
    assert blocked & 1 << (signal.SIGTERM - 1)


def test_a_new_task_that_is_due_first_is_not_late() -> None:
    ticker = Ticker()
    ran = threading.Event()
    slow = ticker.add(3600, lambda: True)
    fast = ticker.add(3600, lambda: ran.set() or True, at_once=True)  # type: ignore[func-returns-value]
    assert ran.wait(PATIENCE_S)
    ticker.remove(slow)
    ticker.remove(fast)


def test_a_task_may_remove_itself() -> None:
    ticker = Ticker()
    removed = threading.Event()

    def remove() -> bool:
        ticker.remove(task)
        removed.set()
        return True

    task = ticker.add(3600, lambda: True)
    task.action = remove
    other = ticker.add(3600, remove, at_once=True)
    assert removed.wait(PATIENCE_S)
    ticker.remove(other)


def test_without_threads_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start", no_thread)
    ticker = Ticker()
    ticker.remove(ticker.add(1, lambda: True))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "no thread for metrics_file and stats_interval: can't start new thread"
