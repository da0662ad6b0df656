"""Idle connections to one address, kept for further requests."""

import time
from collections import deque

from kinesis_fast.limits import MAX_IDLE_S

cdef double LONGEST_IDLE_S = MAX_IDLE_S


cdef class Pool:
    """Keeps as many connections as there were requests at a time. Several threads may use it.

    Args:
        connector: learns the TLS session of each new connection; its user opens the connections.
        clock: seconds that only grow, as time.monotonic().

    Attributes:
        generation: how often `renew` was called.
    """

    cdef readonly object connector
    cdef readonly Py_ssize_t generation
    cdef object clock
    # With the time since when each is idle; the one used last is at the right end.
    cdef object idle
    cdef bint is_closed

    def __init__(self, connector, clock=time.monotonic):
        self.connector = connector
        self.clock = clock
        self.idle = deque()
        self.is_closed = False
        self.generation = 0

    def acquire(self):
        """Return the connection used last that is still usable, None if there is none.

        Close those that are not: the peer has closed them or sent something unasked, or they
        have been idle for so long that the peer may close them at any moment.
        """
        while True:
            try:
                connection, idle_since_s = self.idle.pop()
            except IndexError:
                return None
            if not self.is_stale(idle_since_s) and connection.is_alive():
                return connection
            connection.close()

    def release(self, connection not None, Py_ssize_t generation):
        """Keep a connection whose response is complete, or close it if it cannot be used again.

        Args:
            connection: of this pool's connector.
            generation: of this pool when the request was begun.
        """
        if not connection.reusable or generation != self.generation:
            connection.close()
            return
        if connection.is_new:  # once only: reading the TLS session copies it with its certificates
            connection.is_new = False
            self.connector.remember(connection)
        self.idle.append((connection, self.clock()))
        self.close_oldest_if_stale()
        # Perhaps just now, by another thread, which has missed this connection.
        if self.is_closed or generation != self.generation:
            self.close_idle()

    def renew(self):
        """Close the idle connections now, and those in use when they are released; open others."""
        self.generation += 1
        self.close_idle()

    def close(self):
        """Close the idle connections now, and those in use when they are released."""
        self.is_closed = True
        self.close_idle()

    cdef close_idle(self):
        while self.idle:
            try:
                self.idle.pop()[0].close()
            except IndexError:  # another thread was faster
                return

    cdef bint is_stale(self, double idle_since_s) except -1:
        return self.clock() - idle_since_s >= LONGEST_IDLE_S

    cdef close_oldest_if_stale(self):
        """Close one connection that will never be used again; the next call closes the next."""
        try:
            oldest, idle_since_s = self.idle.popleft()
        except IndexError:  # another thread was faster
            return
        if self.is_stale(idle_since_s):
            oldest.close()
        else:
            self.idle.appendleft((oldest, idle_since_s))
