"""What is in flight: deliveries that their host waits for, and deliveries in the background.

A delivery in the background has a thread of the crew's; each delivery may call in more of them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from kinesis_fast.delivery import Delivery, RequestStream
from kinesis_fast.errors import ClosedError, SendFailureTimeout
from kinesis_fast.limits import BACKGROUND_BACKOFF_BASE_S, BACKGROUND_BACKOFF_CAP_S
from kinesis_fast.retry import backoff_s
from kinesis_fast.tools import Tools

Chunk = bytes | bytearray | memoryview


class Encoder(Protocol):
    """Makes requests of chunks; see `kinesis_fast.encoder`."""

    def requests(
        self, chunk: Chunk, /, *, max_lanes: int, settled: bytes | None
    ) -> RequestStream: ...
    def count(self, chunk: Chunk, /) -> int: ...


class Sender:
    """Runs deliveries; every method may be called by several threads at once.

    Args:
        encoder: makes requests of chunks.
        tools: what deliveries work with.
        n_background: deliveries in the background at a time, at least 0.
        n_retries: how often a delivery in the background is tried again before it is given up.
    """

    def __init__(self, encoder: Encoder, tools: Tools, n_background: int, n_retries: int) -> None:
        self._encoder = encoder
        self._tools = tools
        self._n_background = n_background
        self._n_retries = n_retries
        self._changed = threading.Condition(threading.Lock())
        self._closing = False
        self._n_calls = 0  # flush calls under way
        self._n_deliveries = 0  # deliveries in the background
        self._n_waiting = 0  # those of them that wait to be tried again
        self._failure: SendFailureTimeout | None = None  # of the background, for the next call

    def deliver(self, chunk: Chunk, tag: str) -> bool:
        """Deliver a chunk within this call; of one that was given back before, what is left of it.

        Returns:
            Whether every record is settled. If not, the rest counts as returned.

        Raises:
            ClosedError: after close().
            SendFailureTimeout: the watchdog's time is up; the rest counts as returned.
            TypeError: the chunk is not bytes-like.
        """
        with self._call():
            resume = self._tools.resume
            earlier = resume.take(chunk, tag)
            try:
                delivery = self._begin(chunk, tag, counted=False, settled=earlier)
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
                self._end(delivery, settled)
            return settled

    def take_over(self, chunk: Chunk, tag: str) -> bool:
        """Deliver a copy of a chunk in the background.

        Returns:
            False when there are enough deliveries under way, or when one of them waits to be tried
            again; then all records count as returned.

        Raises:
            ClosedError: after close().
            SendFailureTimeout: the watchdog's time was up in the background since the last call.
            TypeError: the chunk is not bytes-like.
        """
        with self._call():
            n_records = self._encoder.count(chunk)
            self._tools.stats.chunk(_n_bytes(chunk))
            failure, self._failure = self._failure, None
            if failure is not None or not self._reserve():
                self._tools.stats.returned_unread(n_records)
                if failure is not None:
                    raise failure
                return False
            try:
                copy = chunk if isinstance(chunk, bytes) else bytes(memoryview(chunk))
                delivery = self._begin(copy, tag, counted=True)
            except BaseException:
                self._free()
                self._tools.stats.returned_unread(n_records)
                raise
            self._tools.stats.taken_over(n_records)
            return self._start(delivery)

    def close(self, timeout_s: float) -> bool:
        """Take no more chunks, try those that wait once more, and wait for what is in flight.

        Args:
            timeout_s: seconds to wait at most.

        Returns:
            Whether nothing is in flight any more.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: self._n_calls == 0 and self._n_deliveries == 0, timeout_s
            )

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._changed:
            if self._closing:
                raise ClosedError("flush() after close(): this output takes no more chunks")
            self._n_calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_calls -= 1
                self._changed.notify_all()

    def _begin(
        self, chunk: Chunk, tag: str, *, counted: bool, settled: bytes | None = None
    ) -> Delivery:
        stream = self._encoder.requests(chunk, max_lanes=self._tools.max_in_flight, settled=settled)
        try:
            delivery = Delivery(stream, self._tools, tag, counted=counted)
            self._tools.watchdog.begin()
        except BaseException:
            stream.close()
            raise
        return delivery

    def _end(self, delivery: Delivery, settled: bool) -> None:
        try:
            if settled:
                delivery.finish()
            else:
                n_records = delivery.give_back()
                if delivery.trouble:
                    self._tools.log.error(
                        "chunk '%s': %d records are given back; PutRecords %s",
                        delivery.tag,
                        n_records,
                        delivery.trouble,
                    )
        finally:
            self._tools.watchdog.end(returned=not settled)

    def _reserve(self) -> bool:
        with self._changed:
            if self._n_waiting or self._n_deliveries >= self._n_background:
                return False
            self._n_deliveries += 1
            return True

    def _free(self) -> None:
        with self._changed:
            self._n_deliveries -= 1
            self._changed.notify_all()

    def _start(self, delivery: Delivery) -> bool:
        try:
            self._tools.crew.start(lambda: self._run_background(delivery))
        except RuntimeError as error:  # the system has no more threads
            delivery.trouble = f"not called: {error}"
            self._end(delivery, settled=False)
            self._free()
            return False
        return True

    def _run_background(self, delivery: Delivery) -> None:
        settled = False
        try:
            settled = self._run_with_retries(delivery)
        except BaseException as error:  # SystemExit, say: the thread ends, the host must not
            delivery.leave()
            self._tools.log.error(
                "chunk '%s': its delivery ended with %r; the rest stays pending",
                delivery.tag,
                error,
            )
        finally:
            # Records that were given up did not arrive: for the watchdog the time goes on.
            self._tools.watchdog.end(returned=not settled)
            self._free()

    def _run_with_retries(self, delivery: Delivery) -> bool:
        n_failures = 0
        is_last = False
        while not self._run_once(delivery):
            n_failures += 1
            if n_failures > self._n_retries:
                self._tools.log.error(
                    "chunk '%s': %d records are given up and lost after %d retries",
                    delivery.tag,
                    delivery.give_up(),
                    self._n_retries,
                )
                return False
            if is_last:
                delivery.leave()
                return False
            is_last = self._wait_to_retry(n_failures)
        delivery.finish()
        return True

    def _run_once(self, delivery: Delivery) -> bool:
        try:
            if delivery.run():
                return True
            self._tools.log.warning("chunk '%s': PutRecords %s", delivery.tag, delivery.trouble)
        except SendFailureTimeout as error:
            self._tools.log.error("chunk '%s': %s", delivery.tag, error)
            self._failure = error
        except Exception:
            self._tools.log.exception("chunk '%s': unexpected failure", delivery.tag)
        return False

    def _wait_to_retry(self, n_failures: int) -> bool:
        """Wait until the next retry is due, or until close(). Returns whether it is the last."""
        chance = self._tools.timing.random
        wait_s = backoff_s(n_failures, BACKGROUND_BACKOFF_BASE_S, BACKGROUND_BACKOFF_CAP_S, chance)
        with self._changed:
            self._n_waiting += 1
            try:
                return self._changed.wait_for(lambda: self._closing, wait_s)
            finally:
                self._n_waiting -= 1


def _n_bytes(chunk: Chunk) -> int:
    with memoryview(chunk) as view:
        return view.nbytes
