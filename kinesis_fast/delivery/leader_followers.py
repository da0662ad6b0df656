"""Threads that work on one thing: who begins a job next, who waits, who is called to help."""

import threading
import time
from typing import Final

NOBODY: Final = 0
PATIENCE_S: Final = 0.002  # of a thread without work; to hand work over costs 0.1 ms of CPU time


class LeaderFollowers:
    """One thread leads: it begins one job after the other as long as it always comes back at once.

    When it does not, the one that watches it begins the next job and leads from then on; when it
    comes back it waits for its own turn. So jobs that wait for something go on side by side, and
    quick ones stay in one thread. All methods are called with the lock held.

    Args:
        lock: guards what the threads share.
        max_workers: threads at work at most.
    """

    def __init__(self, lock: threading.Lock, max_workers: int) -> None:
        self._max_workers = max_workers
        self._called = threading.Condition(lock)
        self._all_left = threading.Condition(lock)
        self.begin(0)

    def begin(self, n_workers: int) -> None:
        """Start anew, with so many threads at work."""
        self._n_workers = n_workers
        self._n_waiting = 0  # those that come only when they are called
        self._is_watched = False  # one of them looks whether the leader comes, or is about to
        self._leader = NOBODY
        self._leads_since_s = 0.0  # of time.monotonic()

    def come_back(self) -> None:
        """The thread has ended its job, or has none yet."""
        if self._leader == threading.get_ident():
            self._leader = NOBODY

    def left_s(self) -> float:
        """Seconds until the thread may begin a job."""
        if self._leader == NOBODY:
            return 0.0
        return max(0.0, self._leads_since_s + PATIENCE_S - time.monotonic())

    def lead(self) -> None:
        """The thread begins a job."""
        self._leader, self._leads_since_s = threading.get_ident(), time.monotonic()

    def stand_by(self, wait_s: float | None) -> None:
        """Wait for so long or, if somebody else does or it is None, until there is a call."""
        if wait_s is None or self._is_watched:
            self._n_waiting += 1
            self._called.wait()
        else:
            self._is_watched = True
            self._called.wait(wait_s)
        self._is_watched = False

    def call(self) -> bool:
        """See to it that somebody watches the thread, which leads and leaves more to do.

        Returns:
            Whether a new thread has to start, for which `arrive` or `stay_away` is called.
        """
        if self._is_watched:
            return False
        if self._n_waiting:
            self._is_watched = True
            self._n_waiting -= 1
            self._called.notify()
            return False
        if self._n_workers >= self._max_workers:
            return False
        self._is_watched = True
        self._n_workers += 1
        return True

    def call_all(self) -> None:
        """Have all of them look again."""
        self._n_waiting = 0
        self._called.notify_all()

    def arrive(self) -> None:
        """The thread is new."""
        self._is_watched = False

    def stay_away(self) -> None:
        """The new thread could not start."""
        self._is_watched = False
        self._n_workers -= 1

    def leave(self) -> None:
        """The thread will begin nothing any more."""
        self._n_workers -= 1
        self.call_all()
        self._all_left.notify_all()

    def wait_for_all(self) -> None:
        """Wait until all threads have left."""
        self._all_left.wait_for(lambda: self._n_workers == 0)
