"""Which of several threads begins the next job: one leads, one watches it, the others wait."""

import threading
import time

from kinesis_fast.condition import Condition

LOOK_S = 1.0  # between two looks whether a thread has died without leaving
PATIENCE_S = 0.002  # before another thread takes over; a handover costs 0.1 ms of CPU time

cdef unsigned long NO_THREAD = 0


cdef class LeaderFollowers:
    """One thread leads: it begins job after job, as long as it always comes back at once.

    When a job keeps the leader longer than PATIENCE_S, the thread that watches it begins the next
    job and leads from then on; the old leader waits for its turn when it comes back. So jobs that
    wait for the network overlap, and quick ones stay in one thread. All methods are called with
    the lock held.

    Args:
        lock: guards what the threads share.
        max_workers: threads at work at most.

    Attributes:
        has_watcher: whether a follower looks after the leader, or is on its way.
    """

    cdef Py_ssize_t max_workers
    cdef object woken           # condition: of followers
    cdef object all_left        # condition
    cdef dict workers           # by the number of their thread
    cdef Py_ssize_t n_starting  # threads that `want_watcher` asked for and that have not joined
    cdef Py_ssize_t n_waiting   # followers that wait until they are woken
    cdef bint is_closed
    cdef readonly bint has_watcher
    cdef unsigned long leader   # the number of its thread
    cdef double leads_since_s   # of time.monotonic()

    def __init__(self, lock not None, max_workers):
        self.max_workers = max_workers
        self.woken = Condition(lock)
        self.all_left = Condition(lock)
        self.workers = {}
        self.leader = NO_THREAD

    def resign(self):
        """End the lead of this thread, if it leads: it has ended its job."""
        if self.leader == threading.get_ident():
            self.leader = NO_THREAD

    def s_until_lead(self):
        """Return the seconds until this thread may lead."""
        if self.leader == NO_THREAD:
            return 0.0
        return max(0.0, self.leads_since_s + PATIENCE_S - time.monotonic())

    def lead(self):
        """Make this thread the leader: it begins a job."""
        self.leads_since_s = time.monotonic()
        self.leader = threading.get_ident()

    def follow(self, wait_s):
        """Wait up to wait_s. If another thread already watches, or wait_s is None, wait for wake().

        That wait is bounded, too: the thread that was to wake this one may have died.

        Args:
            wait_s: seconds, None if this thread has nothing to watch.
        """
        if wait_s is None or self.has_watcher:
            self.n_waiting += 1
            if not self.woken.wait(LOOK_S):
                self.n_waiting = max(0, self.n_waiting - 1)
                return
        else:
            self.has_watcher = True
            self.woken.wait(wait_s)
        self.has_watcher = False

    def want_watcher(self):
        """Wake one follower that takes over if this leader does not return in time.

        Returns:
            Whether a new thread has to start for it, which calls `start_up` and `join`.
        """
        if self.has_watcher:
            return False
        if self.n_waiting:
            self.has_watcher = True
            self.n_waiting -= 1
            self.woken.notify()
            return False
        if len(self.workers) + self.n_starting >= self.max_workers:
            return False
        self.has_watcher = True
        self.n_starting += 1
        return True

    def wake_all(self):
        """Wake every follower."""
        self.n_waiting = 0
        self.woken.notify_all()

    def start_up(self):
        """End the request of `want_watcher`: the new thread has started, or could not."""
        self.has_watcher = False
        self.n_starting = max(0, self.n_starting - 1)

    def join(self):
        """Count this thread in. Returns False if it comes too late, after `wait_for_all`."""
        if not self.is_closed:
            self.workers[threading.get_ident()] = threading.current_thread()
        return not self.is_closed

    def leave(self):
        """Count this thread out: it begins no more jobs. A second call does nothing."""
        self.workers.pop(threading.get_ident(), None)
        self.wake_all()
        self.all_left.notify_all()

    def wait_for_all(self):
        """Wait until every other thread has left or died; no thread can join any more."""
        self.is_closed = True
        self.leave()
        while self.workers:
            self.all_left.wait(LOOK_S)
            self.workers = {i: each for i, each in self.workers.items() if each.is_alive()}
