"""Threads that stand by: a task goes to an idle thread, or to a new one."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from kinesis_fast.condition import Condition
from kinesis_fast.logs import Log
from kinesis_fast.transport.secrets import presentable

IDLE_S: Final = 10.0  # seconds after which a thread without a task ends

Task = Callable[[], None]


class ThreadPool:
    """Daemon threads, one for each task that runs; any thread may call any method.

    A task that raises runs again, on another thread, so it has to know what is left to do. It must
    end by itself: the end of the process does not wait for it.

    Args:
        name: of the threads.
        log: takes a line when a task raises.
    """

    def __init__(self, name: str, log: Log) -> None:
        self._name = name
        self._log = log
        self._changed = Condition(threading.Lock())
        self._tasks: deque[Task] = deque()
        self._threads: set[threading.Thread] = set()
        self._running: dict[threading.Thread, Task] = {}
        self._is_closed = False

    def run(self, task: Task) -> None:
        """Run a task on a thread of its own.

        Args:
            task: an object that no other call has passed.

        Raises:
            RuntimeError: the system has no more threads; the task does not run.
        """
        with self._changed:
            self._tasks.append(task)
            try:
                self._start_missing()
            except BaseException:
                if task in self._tasks:
                    self._tasks.remove(task)
                raise

    def revive(self) -> None:
        """Start what a thread that died has left behind; it died of no memory, for instance."""
        with self._changed:
            self._start_missing()

    def close(self) -> None:
        """End each thread as soon as it has no task."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _start_missing(self) -> None:
        """Start or wake a thread for each task that has none; the lock is held.

        An exception at any line leaves each task with one thread, or waiting for one, not both.
        """
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        for thread in self._running.keys() - self._threads:
            task = self._running[thread]
            if not any(task is waiting for waiting in self._tasks):
                self._tasks.appendleft(task)
            del self._running[thread]
        n_free = len(self._threads) - len(self._running)
        self._changed.notify(len(self._tasks))
        for _ in range(len(self._tasks) - n_free):
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._threads.add(thread)  # one that does not start is not alive
            thread.start()

    def _work(self) -> None:
        try:
            thread = threading.current_thread()
            while self._begin_task(thread):
                self._running[thread]()
                del self._running[thread]
        except BaseException as error:  # SystemExit, for instance: it must not end the host
            shown = presentable(repr(error))
            self._log.error("unexpected failure: %s; what was begun goes on", shown)
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())
                self._start_missing()

    def _begin_task(self, thread: threading.Thread) -> bool:
        """Wait for a task and note it as this thread's; False when there is none for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._is_closed, IDLE_S)
            if not self._tasks:
                return False
            self._running[thread] = self._tasks[0]
            self._tasks.popleft()
            return True
