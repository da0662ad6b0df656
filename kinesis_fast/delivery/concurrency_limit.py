"""How fast an output sends when the stream takes less than there is: AIMD, as TCP does it."""

import threading
from collections.abc import Callable
from typing import Final

MIN_WINDOW: Final = 1 / 16  # requests in flight; below 1 it is one, and pauses between them
RISE: Final = 0.5  # requests in flight more after each request that was taken as a whole
SPACING_S: Final = 0.1  # seconds between two requests, on average, at a window of a half
MAX_PAUSE_S: Final = 2.0  # seconds


class AdaptiveConcurrency:
    """A window: how many requests of a chunk may be in flight, shared by all deliveries.

    An answer that told to slow down takes from it in proportion to the share of the request that
    failed, half of it when all did. Each request that was taken as a whole adds a constant: from
    the bottom to four in flight it is eight such requests, a few seconds. Below one in flight there
    are random pauses before each request. All methods may be called from any thread.

    Args:
        max_in_flight: the largest window.
        random: gives a float from 0 up to, not including, 1.
    """

    def __init__(self, max_in_flight: int, random: Callable[[], float]) -> None:
        self._max = float(max_in_flight)
        self._random = random
        self._lock = threading.Lock()
        self._window = self._max

    @property
    def in_flight(self) -> int:
        """How many requests of one chunk may be in flight now, at least 1."""
        return max(1, int(self._window))

    def pause_s(self) -> float:
        """Seconds to wait before the next request; 0 at a window of 1 and more."""
        if self._window >= 1:
            return 0.0
        bound_s = 2 * SPACING_S * (1 / self._window - 1)
        return self._random() * min(MAX_PAUSE_S, bound_s)

    def throttled(self, share: float) -> None:
        """The service told to slow down.

        Args:
            share: how much of the request failed, above 0 and up to 1.
        """
        with self._lock:
            self._window = max(MIN_WINDOW, self._window * (1 - share / 2))

    def accepted(self) -> None:
        """A request was taken as a whole."""
        if self._window < self._max:
            with self._lock:
                self._window = min(self._max, self._window + RISE)
