"""Which of several threads begins the next job: one leads, one watches it, the others wait."""

import threading
import time
from typing import Final

NO_THREAD: Final = 0
LOOK_S: Final = 1.0  # between two looks whether a thread has died without leaving
PATIENCE_S: Final = 0.002  # before another thread takes over; a handover costs 0.1 ms of CPU time


class LeaderFollowers:
    """One thread leads: it begins job after job, as long as it always comes back at once.

    When a job keeps the leader longer than PATIENCE_S, the thread that watches it begins the next
    job and leads from then on; the old leader waits for its turn when it comes back. So jobs that
    wait for the network overlap, and quick ones stay in one thread. All methods are called with
    the lock held.

    Args:
        lock: guards what the threads share.
        max_workers: threads at work at most.
    """

    def __init__(self, lock: threading.Lock, max_workers: int) -> None:
        self._max_workers = max_workers
        self._woken = threading.Condition(lock)
        self._all_left = threading.Condition(lock)
        self._workers: dict[int, threading.Thread] = {}
        self._n_starting = 0  # threads that `want_watcher` asked for and that have not joined
        self._is_closed = False
        self._n_waiting = 0  # followers that wait until they are woken
        self._has_watcher = False  # a follower looks after the leader, or is on its way
        self._leader = NO_THREAD
        self._leads_since_s = 0.0  # of time.monotonic()

    def resign(self) -> None:
        """End the lead of this thread, if it leads: it has ended its job."""
        if self._leader == threading.get_ident():
            self._leader = NO_THREAD

    def s_until_lead(self) -> float:
        """Return the seconds until this thread may lead."""
        if self._leader == NO_THREAD:
            return 0.0
        return max(0.0, self._leads_since_s + PATIENCE_S - time.monotonic())

    def lead(self) -> None:
        """Make this thread the leader: it begins a job."""
        self._leader, self._leads_since_s = threading.get_ident(), time.monotonic()

    def follow(self, wait_s: float | None) -> None:
        """Wait up to wait_s. If another thread already watches, or wait_s is None, wait for wake().

        That wait is bounded, too: the thread that was to wake this one may have died.

        Args:
            wait_s: seconds, None if this thread has nothing to watch.
        """
        if wait_s is None or self._has_watcher:
            self._n_waiting += 1
            if not self._woken.wait(LOOK_S):
                self._n_waiting = max(0, self._n_waiting - 1)
                return
        else:
            self._has_watcher = True
            self._woken.wait(wait_s)
        self._has_watcher = False

    def want_watcher(self) -> bool:
        """Wake one follower that takes over if this leader does not return in time.

        Returns:
            Whether a new thread has to start for it, which calls `start_up` and `join`.
        """
        if self._has_watcher:
            return False
        if self._n_waiting:
            self._has_watcher = True
            self._n_waiting -= 1
            self._woken.notify()
            return False
        if len(self._workers) + self._n_starting >= self._max_workers:
            return False
        self._has_watcher = True
        self._n_starting += 1
        return True

    def wake_all(self) -> None:
        """Wake every follower."""
        self._n_waiting = 0
        self._woken.notify_all()

    def start_up(self) -> None:
        """End the request of `want_watcher`: the new thread has started, or could not."""
        self._has_watcher = False
        self._n_starting = max(0, self._n_starting - 1)

    def join(self) -> bool:
        """Count this thread in. Returns False if it comes too late, after `wait_for_all`."""
        if not self._is_closed:
            self._workers[threading.get_ident()] = threading.current_thread()
        return not self._is_closed

    def leave(self) -> None:
        """Count this thread out: it begins no more jobs. A second call does nothing."""
        self._workers.pop(threading.get_ident(), None)
        self.wake_all()
        self._all_left.notify_all()

    def wait_for_all(self) -> None:
        """Wait until every other thread has left or died; no thread can join any more."""
        self._is_closed = True
        self.leave()
        while self._workers:
            self._all_left.wait(LOOK_S)
            self._workers = {i: each for i, each in self._workers.items() if each.is_alive()}
