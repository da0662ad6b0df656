"""The requests of a delivery that wait to be sent, and which of them goes first."""

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from kinesis_fast.delivery.in_flight import InFlightRequest
from kinesis_fast.limits import MAX_REFUSALS

ANY_LANE: Final = -1


class RequestQueue:
    """Written requests that are not in flight; the lock of the delivery guards them.

    Args:
        random: returns a float from 0 up to, not including, 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._ready: deque[InFlightRequest] = deque()
        self._last: list[InFlightRequest] = []  # those that give way

    def __len__(self) -> int:
        return len(self._ready) + len(self._last)

    @property
    def has_ready(self) -> bool:
        """Whether a request waits that does not give way to others."""
        return bool(self._ready)

    def add(self, in_flight: InFlightRequest) -> None:
        """Queue a new request."""
        self._ready.append(in_flight)

    def first(self, busy_lanes: Collection[int]) -> InFlightRequest | None:
        """Return the first request whose lane is free, and leave it in the queue."""
        for in_flight in self._ready:
            lane = in_flight.request.lane
            if lane == ANY_LANE or lane not in busy_lanes:
                return in_flight
        return None

    def take(self, in_flight: InFlightRequest) -> None:
        """Take a request out of the queue."""
        self._ready.remove(in_flight)

    def let_last_go(self) -> None:
        """Queue those that gave way: there is no other request."""
        self._ready.extend(self._last)
        self._last.clear()

    def put_back(self, in_flight: InFlightRequest, n_refusals: int) -> None:
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
            self._ready.extendleft(first)
            self._last.append(last)
        elif is_single or n_refusals > MAX_REFUSALS // 2:
            self._ready.extend(in_flight.parts())  # others go first: does the service accept any?
        else:
            parts = in_flight.parts()
            # A delivery may end before all halves are tried, so it must not begin with the same.
            if not in_flight.is_suspect or self._random() >= 1 / 2:
                parts.reverse()
            self._ready.extendleft(parts)

    def release(self) -> None:
        """Give the memory of all requests back."""
        for in_flight in (*self._ready, *self._last):
            in_flight.release()
        self._ready.clear()
        self._last.clear()
