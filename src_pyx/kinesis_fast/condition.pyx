"""A condition variable that an exception cannot leave half done."""

from _thread import allocate_lock
from collections import deque
from time import monotonic


cdef class Condition:
    """Waits until another thread notifies it; it has the part of threading.Condition used here.

    A signal handler may raise between any two steps of Python code. In threading.Condition that may
    leave the lock held for ever, or end a wait without the lock. Here handlers run in the middle of
    a wait only, and `wait` returns or raises with the lock held.

    Args:
        lock: guards the state that is waited for; not a reentrant one. `with` holds it.
    """

    cdef object lock
    cdef object waiters  # a lock for each thread that waits; `notify` releases it

    def __init__(self, lock not None):
        self.lock = lock
        self.waiters = deque()

    @property
    def n_waiting(self):
        """Return how many threads wait and are not notified yet."""
        return len(self.waiters)

    def __enter__(self):
        self.lock.acquire()
        return True

    def __exit__(self, *_):
        self.lock.release()

    def wait(self, timeout=None):
        """Wait to be notified; the lock is held, but not meanwhile.

        Args:
            timeout: seconds, None for no bound.

        Returns:
            Whether it was notified.
        """
        waiter = allocate_lock()
        waiter.acquire()
        self.check_lock()
        self.waiters.append(waiter)
        try:
            self.lock.release()
            if timeout is None:
                waiter.acquire()
            else:
                waiter.acquire(True, max(0.0, timeout))
        finally:
            raised = self.retake()
            was_notified = self.forget(waiter)
            if raised is not None:
                raise raised
        return was_notified

    def wait_for(self, condition, timeout=None):
        """Wait until condition() is true, or the time is up. Returns what it returned last."""
        end = None if timeout is None else monotonic() + timeout
        while not (result := condition()):
            left_s = None if end is None else end - monotonic()
            if left_s is not None and left_s <= 0:
                break
            self.wait(left_s)
        return result

    def notify(self, n=1):
        """Wake up to n threads that wait; the lock is held."""
        self.check_lock()
        for _ in range(min(n, len(self.waiters))):
            self.waiters.popleft().release()

    def notify_all(self):
        """Wake all threads that wait; the lock is held."""
        self.notify(len(self.waiters))

    cdef check_lock(self):
        if not self.lock.locked():
            raise RuntimeError("the lock of the condition is not held")

    cdef retake(self):
        """Take the lock, whatever a signal handler raises; return the first such exception."""
        raised = None
        while True:
            try:
                self.lock.acquire()
                return raised
            except BaseException as error:
                raised = raised or error

    cdef bint forget(self, waiter) except -1:
        """Take a waiter out of the list. Returns whether `notify` has already done so."""
        try:
            self.waiters.remove(waiter)
        except ValueError:
            return True
        return False
