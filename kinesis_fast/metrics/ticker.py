"""One thread for what happens every so many seconds; it exists while there is something to do."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kinesis_fast.logs import LOGGER
from kinesis_fast.metrics import threads
from kinesis_fast.transport.secrets import failure_text

JOIN_S: Final = 2.0  # how long the end of the thread is waited for


@dataclass(eq=False)
class Task:
    """Something that is done again and again.

    Attributes:
        interval_s: seconds from one time to the next.
        action: what to do; it returns False when it need not be done any more.
        due: when it is to be done next, in seconds of the clock.
    """

    interval_s: float
    action: Callable[[], bool]
    due: float


class Ticker:
    """Runs tasks, one at a time; any thread may call any method.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._tasks: list[Task] = []
        self._thread: threading.Thread | None = None

    def add(self, interval_s: float, action: Callable[[], bool], *, at_once: bool = False) -> Task:
        """Run an action every so many seconds.

        If the system has no more threads, it does not run before another task is added.

        Args:
            interval_s: seconds, above 0.
            action: see Task.
            at_once: whether the first time is now; otherwise after one interval.
        """
        task = Task(interval_s, action, self._clock() + (0.0 if at_once else interval_s))
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()
            if self._thread is None or not self._thread.is_alive():
                try:
                    self._thread = threads.start("kinesis-fast-ticker", self._run)
                except RuntimeError as error:
                    LOGGER.error("no thread for metrics_file and stats_interval: %s", error)
        return task

    def remove(self, task: Task) -> None:
        """Forget a task; it may just be running. After the last one the thread ends."""
        self._forget(task)
        thread = None if self._tasks else self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)

    def run_due(self) -> None:
        """Run the tasks that are due, on the calling thread."""
        now = self._clock()
        with self._changed:
            due = [task for task in self._tasks if task.due <= now]
        for task in due:
            task.due = now + task.interval_s
            if not _go_on(task):
                self._forget(task)

    def _forget(self, task: Task) -> None:
        with self._changed:
            if task in self._tasks:
                self._tasks.remove(task)
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self.run_due()

    def _wait(self) -> bool:
        """Wait until a task is due; False when there is none."""
        with self._changed:
            while self._tasks:
                wait_s = min(task.due for task in self._tasks) - self._clock()
                if wait_s <= 0:
                    return True
                self._changed.wait(wait_s)
            self._thread = None
            return False


def _go_on(task: Task) -> bool:
    try:
        return task.action()
    except Exception:  # the others go on, and this one next time
        LOGGER.error("a task of the metrics failed\n%s", failure_text())
        return True


class _Shared:
    ticker = Ticker()


def shared_ticker() -> Ticker:
    """Return the ticker of this process; a forked child has its own."""
    return _Shared.ticker


def _start_anew_in_child() -> None:
    _Shared.ticker = Ticker()


os.register_at_fork(after_in_child=_start_anew_in_child)
