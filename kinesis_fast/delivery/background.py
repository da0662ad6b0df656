"""Deliveries in the background without a spool, as the Go plugin's experimental_concurrency."""

import threading
from dataclasses import dataclass, field, replace

from kinesis_fast.condition import Condition
from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.context import DeliveryContext, Pauses
from kinesis_fast.delivery.foreground import n_bytes_of
from kinesis_fast.delivery.protocols import Chunk
from kinesis_fast.delivery.retry import backoff_s
from kinesis_fast.delivery.settle import MAX_TAG
from kinesis_fast.errors import SendFailureTimeout
from kinesis_fast.limits import BACKGROUND_BACKOFF_BASE_S, BACKGROUND_BACKOFF_CAP_S
from kinesis_fast.logs import printable
from kinesis_fast.stats import ChunkAccount
from kinesis_fast.transport.secrets import failure_text


@dataclass(eq=False)
class _Copy:
    """A chunk that was taken over.

    Attributes:
        chunk: the copy.
        tag: of the chunk.
        account: its share in the counters.
        settled: a bit per event that needs no sending any more.
        is_begun: whether a thread delivers it.
        n_tries: tries since records of it arrived, that one included.
        is_waiting: whether its next try is not due yet, because the service takes nothing.
        is_isolated: whether what is left fails alone, so that others need not wait.
        is_last: whether no further try follows the next one.
        is_settled: whether every record is settled.
        is_over: whether nothing is left to do for it.
    """

    chunk: bytes
    tag: str
    account: ChunkAccount
    settled: bytearray = field(default_factory=bytearray)
    is_begun: bool = False
    n_tries: int = 0
    is_waiting: bool = False
    is_isolated: bool = False
    is_last: bool = False
    is_settled: bool = False
    is_over: bool = False

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
        self._last_context = replace(context, pauses=Pauses(context.timing))  # of tries after close
        self._final_context = replace(context, is_last_try=True)  # of tries without a retry left
        self._n_slots = n_slots
        self._n_retries = n_retries
        self._changed = Condition(threading.Lock())
        self._is_closing = False
        self._copies: set[_Copy] = set()
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
        account = ChunkAccount(context.stats)
        copy = None
        try:
            n_records = context.encoder.count(chunk)
            context.stats.chunk(n_bytes_of(chunk))
            account.taken_over(n_records)
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            context.threads.revive()
            if not self._has_free_slot():
                return False
            whole = chunk if isinstance(chunk, bytes) else bytes(memoryview(chunk))
            copy = _Copy(whole, tag, account)
            return self._start(copy)
        finally:
            if copy not in self._copies:
                account.close()

    def close(self, timeout_s: float) -> bool:
        """Try what waits once more, and wait for all. Returns whether nothing is in flight.

        That try is the last that a record gets, so it may make pauses of its own until the time
        is up.
        """
        self._context.threads.revive()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        try:
            self._context.pauses.end()
            with self._changed:
                return self._changed.wait_for(lambda: not self._copies, timeout_s)
        finally:  # also when the wait is interrupted
            self._last_context.pauses.end()

    def n_unread(self) -> int:
        """Return how many chunks of an earlier run wait to be read: there are none."""
        return 0

    def _has_free_slot(self) -> bool:
        is_one_waiting = any(copy.is_waiting for copy in list(self._copies))
        return not is_one_waiting and len(self._copies) < self._n_slots

    def _start(self, copy: _Copy) -> bool:
        """Begin to deliver it; False when that is not possible."""
        try:
            with self._changed:
                if not self._has_free_slot():
                    return False
                self._copies.add(copy)
            self._context.watchdog.begin(copy)
            self._context.threads.run(lambda: self._deliver(copy))
            return True
        except RuntimeError as error:  # the system has no more threads
            self._context.log.error("chunk '%s': returned to Fluent Bit: %s", copy.name, error)
            self._cancel(copy)
            return False
        except BaseException:
            self._cancel(copy)
            raise

    def _cancel(self, copy: _Copy) -> None:
        """Let go of a copy, unless a thread delivers it already."""
        with self._changed:
            if not copy.is_begun:
                self._changed.notify_all()
                self._copies.discard(copy)
        if copy not in self._copies:
            self._context.watchdog.end(copy, returned=True)

    def _deliver(self, copy: _Copy) -> None:
        """Try until nothing is left to do for a copy; the thread pool repeats it if it raises."""
        with self._changed:
            if copy not in self._copies:
                return
            copy.is_begun = True
        while not copy.is_over:
            self._try(copy)
        # Records that were given up did not arrive: for the watchdog the time goes on.
        self._context.watchdog.end(copy, returned=not copy.is_settled)
        with self._changed:
            self._changed.notify_all()  # first, so that no exception comes in between
            self._copies.discard(copy)

    def _try(self, copy: _Copy) -> None:
        """Deliver what is left of a copy; if that fails, wait, or give it up."""
        was_last, n_before = copy.is_last, copy.account.n_pending
        copy.n_tries += 1
        try:
            copy.is_settled = self._run(copy)
        except SendFailureTimeout as error:
            self._failure = error
            self._context.log.error("chunk '%s': %s", copy.name, error)
        except BaseException:  # SystemExit, for instance: it must not end the host
            self._context.log.error("chunk '%s': unexpected failure\n%s", copy.name, failure_text())
        finally:  # a log handler may raise; without a pause the pool would repeat this at once
            if copy.account.n_pending < n_before:
                copy.n_tries = 1
            self._end_try(copy, was_last=was_last)

    def _end_try(self, copy: _Copy, *, was_last: bool) -> None:
        """Wait for the next try of a copy, unless it is over."""
        has_retries = copy.n_tries <= self._n_retries or (self._is_closing and not was_last)
        if not has_retries and not copy.is_settled:
            n_lost = copy.account.n_pending
            copy.account.close("dead")
            copy.is_over = True
            self._context.log.error(
                "chunk '%s': records given up and lost: %d (retries: %d)",
                *(copy.name, n_lost, self._n_retries),
            )
        elif copy.is_settled or was_last:
            copy.is_over = True
        else:
            self._wait_to_retry(copy)

    def _run(self, copy: _Copy) -> bool:
        context = self._context
        if copy.is_last:
            context = self._last_context
        elif copy.n_tries > self._n_retries:
            context = self._final_context
        delivery = ChunkDelivery(context, copy.chunk, copy.tag, copy.account, copy.settled)
        try:
            is_complete = delivery.run()
        finally:
            delivery.close()
        copy.is_isolated = delivery.is_isolated
        if delivery.failure_reason:
            self._context.log.warning("chunk '%s': %s", delivery.tag, delivery.failure_reason)
        return is_complete

    def _wait_to_retry(self, copy: _Copy) -> None:
        """Wait until the next try is due. After close() it is due at once, and the last."""
        timing = self._context.timing
        wait_s = backoff_s(
            copy.n_tries, BACKGROUND_BACKOFF_BASE_S, BACKGROUND_BACKOFF_CAP_S, timing.random
        )
        due = timing.clock() + wait_s
        with self._changed:
            copy.is_waiting = not copy.is_isolated
            try:
                while not self._is_closing and (left_s := due - timing.clock()) > 0:
                    timing.wait(self._changed, left_s)
                copy.is_last = self._is_closing
            finally:
                copy.is_waiting = False
