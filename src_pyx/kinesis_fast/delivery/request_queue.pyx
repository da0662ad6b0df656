"""The requests of a delivery that wait to be sent, and which of them goes first."""

from collections import deque

from kinesis_fast.limits import MAX_REFUSALS

cdef enum:
    ANY_LANE = -1

cdef Py_ssize_t MANY_REFUSALS = MAX_REFUSALS // 2


cdef class RequestQueue:
    """Written requests that are not in flight; the lock of the delivery guards them.

    Args:
        random: returns a float from 0 up to, not including, 1.
    """

    cdef object random
    cdef object ready   # in their order
    cdef list last      # those that give way

    def __init__(self, random not None):
        self.random = random
        self.ready = deque()
        self.last = []

    def __len__(self):
        return len(self.ready) + len(self.last)

    @property
    def has_ready(self):
        """Whether a request waits that does not give way to others."""
        return bool(self.ready)

    def add(self, in_flight not None):
        """Queue a new request."""
        self.ready.append(in_flight)

    def first(self, list sending not None):
        """Return the first request whose lane is free, and leave it in the queue.

        Args:
            sending: the requests in flight, whose lanes are not free.
        """
        for in_flight in self.ready:
            if is_free(in_flight.request.lane, sending):
                return in_flight
        return None

    def take(self, in_flight not None):
        """Take a request out of the queue."""
        self.ready.remove(in_flight)

    def let_last_go(self):
        """Queue those that gave way: there is no other request."""
        self.ready.extend(self.last)
        self.last.clear()

    def put_back(self, in_flight not None, Py_ssize_t n_refusals):
        """Queue what is left of a request, in its order.

        Args:
            in_flight: the request.
            n_refusals: requests that were refused since one was accepted.
        """
        is_single = in_flight.refused_at is not None and not in_flight.other_parts
        if in_flight.is_set_aside:
            in_flight.release()
        elif in_flight.gives_way:
            *first, last = in_flight.parts()
            self.ready.extendleft(first)
            self.last.append(last)
        elif is_single or n_refusals > MANY_REFUSALS:
            self.ready.extend(in_flight.parts())  # others go first: does the service accept any?
        else:
            parts = in_flight.parts()
            # A delivery may end before all halves are tried, so it must not begin with the same.
            if not in_flight.is_suspect or self.random() >= 1 / 2:
                parts.reverse()
            self.ready.extendleft(parts)

    def release(self):
        """Give the memory of all requests back."""
        for in_flight in (*self.ready, *self.last):
            in_flight.release()
        self.ready.clear()
        self.last.clear()


cdef bint is_free(int lane, list sending) except -1:
    if lane == ANY_LANE:
        return True
    for in_flight in sending:
        if in_flight.request.lane == lane:
            return False
    return True
