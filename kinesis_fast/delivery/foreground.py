"""What is in flight: deliveries that their host waits for, and those in the background."""

import threading
from typing import Protocol

from kinesis_fast.delivery.chunk_delivery import begin
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Chunk
from kinesis_fast.errors import ClosedError


class TakesOver(Protocol):
    """Delivers chunks in the background: `background` or `spooled`."""

    def take_over(self, chunk: Chunk, tag: str, n_records: int, /) -> bool: ...
    def close(self, timeout_s: float, /) -> bool: ...


class Foreground:
    """Runs deliveries; every method may be called by several threads at once.

    Args:
        tools: what deliveries work with.
        background: where chunks go that the host does not wait for; None when it always waits.
    """

    def __init__(self, tools: DeliveryContext, background: TakesOver | None) -> None:
        self._tools = tools
        self._background = background
        self._changed = threading.Condition(threading.Lock())
        self._closing = False
        self._n_calls = 0  # flush calls under way

    def flush(self, chunk: Chunk, tag: str) -> bool:
        """Deliver a chunk, or have it delivered in the background.

        Returns:
            Whether every record is settled or taken over. If not, the rest counts as returned.

        Raises:
            ClosedError: after close().
            SendFailureTimeout: the watchdog's time is up; the rest counts as returned.
            TypeError: the chunk is not bytes-like.
        """
        self._begin_call()
        try:
            if self._background is None:
                return self._deliver(chunk, tag)
            n_records = self._tools.encoder.count(chunk)
            self._tools.stats.chunk(_n_bytes(chunk))
            return self._background.take_over(chunk, tag, n_records)
        finally:
            self._end_call()

    def close(self, timeout_s: float) -> bool:
        """Take no more chunks and wait for what is in flight.

        Args:
            timeout_s: seconds to wait at most.

        Returns:
            Whether nothing is in flight any more.
        """
        clock = self._tools.timing.clock
        end = clock() + timeout_s
        with self._changed:
            self._closing = True
        idle = self._background is None or self._background.close(timeout_s)
        with self._changed:
            left_s = max(0.0, end - clock())
            return self._changed.wait_for(lambda: self._n_calls == 0, left_s) and idle

    def _begin_call(self) -> None:
        with self._changed:
            if self._closing:
                raise ClosedError("flush() after close(): this output takes no more chunks")
            self._n_calls += 1

    def _end_call(self) -> None:
        with self._changed:
            self._n_calls -= 1
            if self._closing:
                self._changed.notify_all()

    def _deliver(self, chunk: Chunk, tag: str) -> bool:
        """Deliver within this call; of a chunk that was given back before, what is left of it."""
        resume = self._tools.resume
        earlier = resume.take(chunk, tag)
        try:
            delivery = begin(self._tools, chunk, tag, counted=False, settled=earlier)
        except BaseException:
            resume.put(chunk, tag, earlier or b"")
            raise
        self._tools.stats.chunk(_n_bytes(chunk))
        settled = False
        try:
            settled = delivery.run()
        finally:
            if not settled:
                resume.put(chunk, tag, bytes(delivery.settled_events()))
            delivery.end(settled=settled)
        return settled


def _n_bytes(chunk: Chunk) -> int:
    with memoryview(chunk) as view:
        return view.nbytes
