"""Deliveries in the background without a spool, as the Go plugin's experimental_concurrency."""

import threading
from dataclasses import dataclass

from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.foreground import n_bytes_of
from kinesis_fast.delivery.protocols import Chunk
from kinesis_fast.delivery.retry import backoff_s
from kinesis_fast.delivery.settle import MAX_TAG
from kinesis_fast.errors import SendFailureTimeout
from kinesis_fast.limits import BACKGROUND_BACKOFF_BASE_S, BACKGROUND_BACKOFF_CAP_S
from kinesis_fast.logs import printable
from kinesis_fast.stats import ChunkAccount


@dataclass(eq=False)
class _Copy:
    """A chunk that was taken over.

    Attributes:
        chunk: the copy.
        tag: of the chunk.
        account: its share in the counters.
        settled: a bit per event that needs no sending any more.
        n_failures: tries that failed.
    """

    chunk: bytes
    tag: str
    account: ChunkAccount
    settled: bytes = b""
    n_failures: int = 0

    @property
    def name(self) -> str:
        """The tag for log lines."""
        return printable(self.tag, MAX_TAG)


class Background:
    """Delivers copies of chunks; those that are not settled are lost with the process.

    Args:
        context: what deliveries work with.
        n_slots: chunks at a time, at least 1.
        n_retries: tries of a chunk after the first one, before its records are given up.
    """

    def __init__(self, context: DeliveryContext, n_slots: int, n_retries: int) -> None:
        self._context = context
        self._n_slots = n_slots
        self._n_retries = n_retries
        self._changed = threading.Condition(threading.Lock())
        self._is_closing = False
        self._copies: set[_Copy] = set()
        self._n_waiting = 0  # of them, before their next try
        self._failure: SendFailureTimeout | None = None  # for the next call

    def take_over(self, chunk: Chunk, tag: str) -> bool:
        """Deliver a copy of a chunk.

        Returns:
            False when every slot is taken, or when a chunk waits for its next try. Then all
            records count as returned.

        Raises:
            SendFailureTimeout: the watchdog's time was up since the last call.
            TypeError: the chunk is not bytes-like.
        """
        context = self._context
        n_records = context.encoder.count(chunk)
        context.stats.chunk(n_bytes_of(chunk))
        account = ChunkAccount(context.stats, n_records)
        copy = None
        try:
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            if not self._has_free_slot():
                return False
            whole = chunk if isinstance(chunk, bytes) else bytes(memoryview(chunk))
            copy = _Copy(whole, tag, account)
            return self._start(copy)
        finally:
            if copy not in self._copies:
                account.close()

    def close(self, timeout_s: float) -> bool:
        """Try what waits once more, and wait for all. Returns whether nothing is in flight."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._copies, timeout_s)

    def _has_free_slot(self) -> bool:
        return not self._n_waiting and len(self._copies) < self._n_slots

    def _start(self, copy: _Copy) -> bool:
        """Begin to deliver it; False when that is not possible."""
        is_started = False
        self._context.watchdog.begin()
        try:
            with self._changed:
                if not self._has_free_slot():
                    return False
                self._copies.add(copy)
            self._context.threads.run(lambda: self._deliver(copy))
            is_started = True
        except RuntimeError as error:  # the system has no more threads
            self._context.log.error("chunk '%s': returned to Fluent Bit: %s", copy.name, error)
        finally:
            if not is_started:
                self._forget(copy, returned=True)
        return is_started

    def _forget(self, copy: _Copy, *, returned: bool) -> None:
        self._context.watchdog.end(returned=returned)
        with self._changed:
            self._copies.discard(copy)
            self._changed.notify_all()

    def _deliver(self, copy: _Copy) -> None:
        is_settled = False
        try:
            is_settled = self._deliver_with_retries(copy)
        except BaseException as error:  # SystemExit, for instance: it must not end the host
            self._context.log.error(
                "chunk '%s': its delivery ended with %r; %d records stay pending",
                *(copy.name, error, copy.account.n_pending),
            )
        finally:
            # Records that were given up did not arrive: for the watchdog the time goes on.
            self._forget(copy, returned=not is_settled)

    def _deliver_with_retries(self, copy: _Copy) -> bool:
        is_last = False
        while not self._try(copy):
            copy.n_failures += 1
            if copy.n_failures > self._n_retries:
                self._context.log.error(
                    "chunk '%s': %d records are given up and lost after %d retries",
                    *(copy.name, copy.account.n_pending, self._n_retries),
                )
                copy.account.close("dead")
                return False
            if is_last:
                return False
            is_last = self._wait_to_retry(copy.n_failures)
        return True

    def _try(self, copy: _Copy) -> bool:
        """Deliver what is left of it; returns whether every record is settled."""
        log = self._context.log
        try:
            return self._run(copy)
        except SendFailureTimeout as error:
            log.error("chunk '%s': %s", copy.name, error)
            self._failure = error
        except Exception:
            log.exception("chunk '%s': unexpected failure", copy.name)
        return False

    def _run(self, copy: _Copy) -> bool:
        delivery = ChunkDelivery(
            self._context, copy.chunk, copy.tag, copy.account, settled=copy.settled
        )
        try:
            is_complete = delivery.run()
        finally:
            copy.settled = delivery.settled_events()
            delivery.close()
        if delivery.failure_reason:
            self._context.log.warning("chunk '%s': %s", delivery.tag, delivery.failure_reason)
        return is_complete

    def _wait_to_retry(self, n_failures: int) -> bool:
        """Wait until the next try is due, or until close(). Returns whether it is the last."""
        wait_s = backoff_s(
            n_failures,
            BACKGROUND_BACKOFF_BASE_S,
            BACKGROUND_BACKOFF_CAP_S,
            self._context.timing.random,
        )
        timing = self._context.timing
        due = timing.clock() + wait_s
        with self._changed:
            self._n_waiting += 1
            try:
                while not self._is_closing and (left_s := due - timing.clock()) > 0:
                    timing.wait(self._changed, left_s)
                return self._is_closing
            finally:
                self._n_waiting -= 1
