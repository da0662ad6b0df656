"""Deliveries in the background without a spool, as the Go plugin's experimental_concurrency."""

import threading

from kinesis_fast.delivery.chunk_delivery import Delivery, begin
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Chunk
from kinesis_fast.delivery.retry import backoff_s
from kinesis_fast.errors import SendFailureTimeout
from kinesis_fast.limits import BACKGROUND_BACKOFF_BASE_S, BACKGROUND_BACKOFF_CAP_S


class Background:
    """Delivers copies of chunks; what is in flight is lost with the process.

    Args:
        tools: what deliveries work with.
        n_slots: deliveries at a time, at least 1.
        n_retries: how often a delivery is tried again before it is given up.
    """

    def __init__(self, tools: DeliveryContext, n_slots: int, n_retries: int) -> None:
        self._tools = tools
        self._n_slots = n_slots
        self._n_retries = n_retries
        self._changed = threading.Condition(threading.Lock())
        self._closing = False
        self._n_deliveries = 0
        self._n_waiting = 0  # deliveries that wait to be tried again
        self._failure: SendFailureTimeout | None = None  # for the next call

    def take_over(self, chunk: Chunk, tag: str, n_records: int) -> bool:
        """Deliver a copy of a chunk.

        Returns:
            False when there are enough deliveries under way, or when one of them waits to be tried
            again; then all records count as returned.

        Raises:
            SendFailureTimeout: the watchdog's time was up since the last call.
        """
        failure, self._failure = self._failure, None
        if failure is not None or not self._reserve():
            self._tools.stats.returned_unread(n_records)
            if failure is not None:
                raise failure
            return False
        try:
            copy = chunk if isinstance(chunk, bytes) else bytes(memoryview(chunk))
            delivery = begin(self._tools, copy, tag, counted=True)
        except BaseException:
            self._free()
            self._tools.stats.returned_unread(n_records)
            raise
        self._tools.stats.taken_over(n_records)
        return self._start(delivery)

    def close(self, timeout_s: float) -> bool:
        """Try those that wait once more, and wait for all. Returns whether nothing is in flight."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._n_deliveries == 0, timeout_s)

    def _reserve(self) -> bool:
        with self._changed:
            if self._n_waiting or self._n_deliveries >= self._n_slots:
                return False
            self._n_deliveries += 1
            return True

    def _free(self) -> None:
        with self._changed:
            self._n_deliveries -= 1
            self._changed.notify_all()

    def _start(self, delivery: Delivery) -> bool:
        try:
            self._tools.crew.start(lambda: self._run(delivery))
        except RuntimeError as error:  # the system has no more threads
            delivery.trouble = f"not called: {error}"
            delivery.end(settled=False)
            self._free()
            return False
        return True

    def _run(self, delivery: Delivery) -> None:
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
