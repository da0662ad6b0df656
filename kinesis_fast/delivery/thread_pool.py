"""Threads that stand by: a task goes to one that has nothing to do, or to a new one."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

IDLE_S: Final = 10.0  # seconds after which a thread without a task ends

Task = Callable[[], None]


class ThreadPool:
    """Daemon threads, as many as there are tasks at a time; any thread may call any method.

    Tasks never raise. They must end by themselves: at the end of the process nobody waits for them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition(threading.Lock())
        self._tasks: deque[Task] = deque()
        self._n_idle = 0
        self._closed = False

    def start(self, task: Task) -> None:
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
                if task not in self._tasks:  # somebody has just become idle, and has it
                    return
                self._tasks.remove(task)
            raise

    def close(self) -> None:
        """Let the threads go as soon as they have nothing to do."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (task := self._next_task()) is not None:
            task()
            del task  # what it holds is not to be kept while this thread stands by

    def _next_task(self) -> Task | None:
        with self._changed:
            self._n_idle += 1
            try:
                self._changed.wait_for(lambda: self._tasks or self._closed, IDLE_S)
                return self._tasks.popleft() if self._tasks else None
            finally:
                self._n_idle -= 1
