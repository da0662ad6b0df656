"""What is measured of each request: time, size, errors by code, and how many are in flight."""

import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kinesis_fast.transport import Response, Transport

# Upper bounds of the buckets.
DURATIONS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES: Final = tuple(float(2**exponent) for exponent in (10, 12, 14, 16, 18, 20, 21, 22, 23, 24))
MAX_CODES: Final = 32  # of requests, and of entries; a peer could invent any number
OTHER: Final = "other"

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class Distribution(NamedTuple):
    """A histogram at one moment.

    Attributes:
        bounds: upper bounds of the buckets, without the infinite one.
        counts: observations of each bucket alone; one more than bounds.
        total: the sum of all observations.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


class Histogram:
    """Counts observations by size; the caller sees to it that one thread at a time observes.

    Args:
        bounds: upper bounds of the buckets, ascending.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def now(self) -> Distribution:
        """Return what was counted; of an observation that is just made, perhaps one half."""
        return Distribution(self._bounds, tuple(self._counts), self._total)


class Meter:
    """The measurements of one output; any thread may call any method.

    Reading takes no lock, so that no delivery waits for it.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._durations = Histogram(DURATIONS_S)
        self._sizes = Histogram(SIZES)
        self._started: dict[int, float] = {}  # by thread: each has one request in flight at most
        self._request_errors: dict[str, int] = {}
        self._entry_errors: dict[str, int] = {}

    def begin(self) -> float:
        """Note that this thread sends a request. Returns the time."""
        self._started[threading.get_ident()] = now = self._clock()
        return now

    def end(self, started: float, n_bytes: int) -> None:
        """Note that this thread's request of so many bytes has ended."""
        self._started.pop(threading.get_ident(), None)
        seconds = self._clock() - started
        with self._lock:
            self._durations.observe(seconds)
            self._sizes.observe(n_bytes)

    def count_errors(self, codes: Mapping[str, int], *, of_entries: bool) -> None:
        """Count errors.

        Args:
            codes: how often there was each.
            of_entries: whether they are about entries, otherwise about whole requests.
        """
        errors = self._entry_errors if of_entries else self._request_errors
        with self._lock:
            for code, n in codes.items():
                label = code if _CODE.fullmatch(code) else OTHER
                if label not in errors and len(errors) >= MAX_CODES:
                    label = OTHER
                errors[label] = errors.get(label, 0) + n

    @property
    def n_in_flight(self) -> int:
        """Requests that wait for their response now."""
        return len(self._started)

    @property
    def oldest_in_flight_s(self) -> float:
        """Seconds since the oldest of them began; 0 if there is none."""
        started = list(self._started.values())
        return max(0.0, self._clock() - min(started)) if started else 0.0

    @property
    def durations(self) -> Distribution:
        """Seconds from sending to the response, of each request."""
        return self._durations.now()

    @property
    def sizes(self) -> Distribution:
        """Bytes of the body of each request."""
        return self._sizes.now()

    @property
    def request_errors(self) -> dict[str, int]:
        """Requests that failed as a whole, by code."""
        return dict(self._request_errors)

    @property
    def entry_errors(self) -> dict[str, int]:
        """Entries that were not accepted, by code."""
        return dict(self._entry_errors)


class MeasuredTransport:
    """Sends through another transport and measures that.

    Args:
        transport: the other one; it takes CBOR if this one is given any.
        meter: gets the measurements.
    """

    def __init__(self, transport: Transport, meter: Meter) -> None:
        self._transport = transport
        self._send: Callable[..., Response] = transport.send
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def send(
        self, body: memoryview, n_records: int, timeout_s: float | None, *content_type: str
    ) -> Response:
        """Post one body; see `kinesis_fast.transport.CborTransport`."""
        n_bytes = body.nbytes
        started = self._meter.begin()
        try:
            return self._send(body, n_records, timeout_s, *content_type)
        finally:
            self._meter.end(started, n_bytes)
