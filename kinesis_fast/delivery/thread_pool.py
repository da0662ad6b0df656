"""Threads that stand by: a task goes to an idle thread, or to a new one."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

IDLE_S: Final = 10.0  # seconds after which a thread without a task ends

Task = Callable[[], None]


class ThreadPool:
    """Daemon threads, one for each task that runs; any thread may call any method.

    A task must not raise, and must end by itself: the end of the process does not wait for it.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition(threading.Lock())
        self._tasks: deque[Task] = deque()
        self._n_idle = 0
        self._is_closed = False

    def run(self, task: Task) -> None:
        """Run a task on a thread of its own.

        Raises:
            RuntimeError: the system has no more threads; the task does not run.
        """
        with self._changed:
            self._tasks.append(task)
            if self._n_idle >= len(self._tasks):
                self._changed.notify()
                return
        # The task is not an argument of the thread, which would keep it as long as it lives.
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            with self._changed:
                if task not in self._tasks:  # another thread became idle just now and has it
                    return
                self._tasks.remove(task)
            raise

    def close(self) -> None:
        """End each thread as soon as it has no task."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (task := self._next_task()) is not None:
            task()
            del task  # an idle thread must not keep alive what its last task held

    def _next_task(self) -> Task | None:
        with self._changed:
            self._n_idle += 1
            try:
                self._changed.wait_for(lambda: self._tasks or self._is_closed, IDLE_S)
                return self._tasks.popleft() if self._tasks else None
            finally:
                self._n_idle -= 1
