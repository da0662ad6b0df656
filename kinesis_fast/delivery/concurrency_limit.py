"""How many requests may be in flight while the stream throttles: AIMD, as in TCP."""

import threading
from collections.abc import Callable
from typing import Final

MIN_WINDOW: Final = 1 / 16  # requests in flight; below 1 it is one, and pauses between them
RISE: Final = 0.5  # requests in flight; added after each request that was accepted as a whole
SPACING_S: Final = 0.1  # seconds between two requests, on average, at a window of a half
MAX_PAUSE_S: Final = 2.0  # seconds


class AdaptiveConcurrency:
    """The window: how many requests of a chunk may be in flight. All deliveries share it.

    A response that throttles shrinks the window in proportion to the share of the request that
    failed: by half when every entry failed. Each request that is accepted as a whole widens it by
    RISE, so eight such requests, a few seconds, lead from the bottom to four in flight. A window
    below one means one request at a time, with random pauses before each. Any thread may call any
    method.

    Args:
        max_in_flight: the largest window.
        random: returns a float from 0 up to, not including, 1.
    """

    def __init__(self, max_in_flight: int, random: Callable[[], float]) -> None:
        self._max = float(max_in_flight)
        self._random = random
        self._lock = threading.Lock()
        self._window = self._max

    @property
    def in_flight(self) -> int:
        """Requests of one chunk that may be in flight now, at least 1."""
        return max(1, int(self._window))

    @property
    def window(self) -> float:
        """The window itself, at least MIN_WINDOW."""
        return self._window

    @property
    def mean_pause_s(self) -> float:
        """The mean of what `pause_s` returns now."""
        return _longest_pause_s(self._window) / 2

    def pause_s(self) -> float:
        """Return the seconds to wait before the next request; 0 if the window is 1 or more."""
        if self._window >= 1:
            return 0.0
        return self._random() * _longest_pause_s(self._window)

    def throttled(self, share: float) -> None:
        """Shrink the window: the service told to slow down.

        Args:
            share: of the request that failed, above 0 and up to 1.
        """
        with self._lock:
            self._window = max(MIN_WINDOW, self._window * (1 - share / 2))

    def accepted(self) -> None:
        """Widen the window: a request was accepted as a whole."""
        if self._window < self._max:
            with self._lock:
                self._window = min(self._max, self._window + RISE)


def _longest_pause_s(window: float) -> float:
    return 0.0 if window >= 1 else min(MAX_PAUSE_S, 2 * SPACING_S * (1 / window - 1))
