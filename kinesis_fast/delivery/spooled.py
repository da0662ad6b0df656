"""Deliveries in the background out of a spool: a chunk is on disk before its flush says OK."""

import heapq
import itertools
import threading
from dataclasses import dataclass, field
from typing import Final

from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.foreground import n_bytes_of
from kinesis_fast.delivery.protocols import Chunk, Storage, StoredChunk
from kinesis_fast.delivery.retry import backoff_s
from kinesis_fast.delivery.settle import MAX_TAG
from kinesis_fast.errors import DamagedChunk, SendFailureTimeout, StorageError
from kinesis_fast.limits import (
    BACKGROUND_BACKOFF_BASE_S,
    BACKGROUND_BACKOFF_CAP_S,
    SPOOL_BACKOFF_CAP_S,
    SPOOL_START_SPREAD_S,
)
from kinesis_fast.logs import printable
from kinesis_fast.stats import ChunkAccount

REQUESTS_PER_NOTE: Final = 8  # settled requests of a chunk after which its progress is written down
QUIET_S: Final = 60.0  # seconds between two lines about chunks that are refused


@dataclass(order=True)
class _Entry:
    """A chunk on disk that is to be delivered; entries are ordered by when they are due.

    Attributes:
        due: when it may be tried, in seconds of the clock.
        number: entries that are due at the same time go in this order.
        stored: the chunk.
        account: its share in the counters; None before the first try of an earlier run's chunk.
        n_failures: how often it failed for reasons of its own.
        n_settled: requests that were settled since its progress was written down.
        is_done: whether nothing is left to do for it.
    """

    due: float
    number: int
    stored: StoredChunk = field(compare=False)
    account: ChunkAccount | None = field(compare=False, default=None)
    n_failures: int = field(compare=False, default=0)
    n_settled: int = field(compare=False, default=0)
    is_done: bool = field(compare=False, default=False)
    lock: threading.Lock = field(compare=False, default_factory=threading.Lock)

    def note(self, delivery: ChunkDelivery) -> None:
        """Write down which events are settled."""
        with self.lock:  # held while it is written: no older note overtakes a newer one
            self._save(delivery)

    def note_request(self, delivery: ChunkDelivery) -> None:
        """Count a request that is settled; write the progress down every few requests."""
        with self.lock:
            self.n_settled += 1
            if self.n_settled % REQUESTS_PER_NOTE == 0:
                self._save(delivery)

    def _save(self, delivery: ChunkDelivery) -> None:
        self.stored.save_progress(delivery.settled_events())


class Spooled:
    """Delivers chunks from disk, the oldest first; none is given up.

    While the service takes nothing, all chunks wait, with growing pauses, and the oldest is tried.
    Which events of a chunk are settled is written down after each REQUESTS_PER_NOTE requests and
    when a try ends. So of each chunk that is being delivered when the process is killed, the next
    start sends at most REQUESTS_PER_NOTE + max_in_flight requests twice, of at most n_slots chunks.

    Args:
        context: what deliveries work with.
        storage: where the chunks are. What is in it already is delivered, too.
        n_slots: deliveries at a time, at least 1.
        n_retries: tries that fail one after the other before lines about them become errors.
    """

    def __init__(
        self, context: DeliveryContext, storage: Storage, n_slots: int, n_retries: int
    ) -> None:
        self._context = context
        self._storage = storage
        self._n_slots = n_slots
        self._n_retries = n_retries
        self._changed = threading.Condition(threading.Lock())
        self._is_closing = False  # nothing is waited for any more
        self._is_stopped = False  # nothing is begun any more
        self._n_workers = 0
        self._numbers = itertools.count()
        self._waiting: list[_Entry] = []  # a heap
        self._running: dict[int, _Entry] = {}  # by the thread that delivers it
        self._deliveries: dict[ChunkDelivery, _Entry] = {}
        self._failure: SendFailureTimeout | None = None  # for the next call
        self._n_failures = 0  # tries that failed one after the other, of any chunk
        self._last_logged_at = -QUIET_S
        self._hold_until = 0.0
        self._resume_backlog()

    def take_over(self, chunk: Chunk, tag: str) -> bool:
        """Write a chunk to the disk, to be delivered.

        Returns:
            False when it cannot be written or the spool is full. Then all records count as
            returned.

        Raises:
            SendFailureTimeout: the watchdog's time was up since the last call.
            TypeError: the chunk is not bytes-like.
        """
        context = self._context
        account = ChunkAccount(context.stats)
        stored = None
        is_taken = False
        try:
            n_records = context.encoder.count(chunk)
            context.stats.chunk(n_bytes_of(chunk))
            account.taken_over(n_records)
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            stored = self._storage.put(chunk, tag)
            with self._changed:
                self._add(_Entry(context.timing.clock(), next(self._numbers), stored, account))
                is_taken = True
                self._call_workers()
        except StorageError as error:
            self._log_storage_error(error)
        finally:
            if not is_taken:
                account.close()
                if stored is not None:  # the host brings it again
                    stored.remove()
        return is_taken

    def close(self, timeout_s: float) -> bool:
        """Go on until the time is up or a try fails; what is left then stays in the spool.

        When it returns, no more requests begin; those in flight may still arrive, and twice.

        Returns:
            Whether nothing is in flight any more.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            is_idle = self._changed.wait_for(lambda: self._n_workers == 0, timeout_s)
            self._is_stopped = True
            deliveries = dict(self._deliveries)
        for delivery, entry in deliveries.items():
            delivery.stop()
            entry.note(delivery)
        self._storage.close()
        return is_idle

    def _resume_backlog(self) -> None:
        """Queue the chunks of an earlier run."""
        backlog = self._storage.pending()
        if not backlog:
            return
        self._context.log.info(
            "%d chunks of an earlier run are in the spool %s; sending them now, oldest first",
            *(len(backlog), self._storage.path),
        )
        # Many hosts may start at once: the spread keeps them from sending in step.
        timing = self._context.timing
        start = timing.clock() + timing.random() * SPOOL_START_SPREAD_S
        with self._changed:
            for stored in backlog:
                self._add(_Entry(start, next(self._numbers), stored))
            self._call_workers()

    def _add(self, entry: _Entry) -> None:
        """Queue an entry. The watchdog hears of it until it is done; the lock is held."""
        heapq.heappush(self._waiting, entry)
        self._context.watchdog.begin(entry.number)

    def _log_storage_error(self, error: StorageError) -> None:
        with self._changed:
            now = self._context.timing.clock()
            is_due, self._last_logged_at = now - self._last_logged_at >= QUIET_S, now
        if is_due:
            self._context.log.error("%s; returning chunks to Fluent Bit (RETRY)", error)

    # --- the workers ---

    def _call_workers(self) -> None:
        """Wake a worker, and start those that are missing; the lock is held."""
        self._changed.notify()
        n_wanted = min(self._n_slots, len(self._waiting) + len(self._running))
        while self._n_workers < n_wanted and not self._is_closing:
            self._n_workers += 1
            try:
                self._context.threads.run(self._work)
            except RuntimeError as error:  # no more threads: the next chunk tries again
                self._n_workers -= 1
                self._context.log.warning("no thread to deliver from the spool: %s", error)
                return

    def _work(self) -> None:
        try:
            while (entry := self._next_entry()) is not None:
                self._deliver(entry)
        except BaseException as error:
            self._context.log.error("a delivery from the spool failed unexpectedly: %r", error)
        finally:
            with self._changed:
                self._n_workers -= 1
                self._put_back()
                self._changed.notify_all()
                if not self._is_stopped:
                    self._call_workers()

    def _next_entry(self) -> _Entry | None:
        """Wait for an entry that is due; None when none is left, or none is due after close()."""
        timing = self._context.timing
        with self._changed:
            self._put_back()
            while self._waiting and not self._is_stopped:
                wait_s = max(self._waiting[0].due, self._hold_until) - timing.clock()
                if wait_s <= 0:
                    entry = self._running[threading.get_ident()] = self._waiting[0]
                    heapq.heappop(self._waiting)
                    return entry
                if self._is_closing:
                    return None
                timing.wait(self._changed, wait_s)
            return None

    def _put_back(self) -> None:
        """Queue the entry of this thread again, unless it is done; the lock is held."""
        entry = self._running.get(threading.get_ident())
        if entry is not None and not entry.is_done and entry not in self._waiting[:1]:
            heapq.heappush(self._waiting, entry)
        self._running.pop(threading.get_ident(), None)

    def _deliver(self, entry: _Entry) -> None:
        """Try to deliver an entry; then it is done, or due again."""
        try:
            chunk = entry.stored.read()
            if entry.account is None:
                count = self._context.encoder.count
                n_records = count(chunk, bytes(entry.stored.progress))
                entry.account = ChunkAccount(self._context.stats)
                entry.account.taken_over(n_records)
                entry.account.resumed(count(chunk) - n_records)
            delivery = self._new_delivery(entry, chunk, entry.account)
        except DamagedChunk as error:  # it is set aside, and its records are in no stream
            self._context.log.error("%s; its records count as dead", error)
            if entry.account is not None:
                entry.account.close("dead")
            self._finish(entry)
            return
        except (StorageError, MemoryError) as error:
            self._postpone(entry, f"it cannot be read: {error}")
            return
        except Exception as error:
            self._postpone(entry, f"it cannot be encoded: {error!r}")
            return
        self._run(delivery, entry)

    def _new_delivery(self, entry: _Entry, chunk: bytes, account: ChunkAccount) -> ChunkDelivery:
        return ChunkDelivery(
            self._context,
            chunk,
            entry.stored.tag,
            account,
            bytearray(entry.stored.progress),
            on_settled=entry.note_request,
        )

    def _run(self, delivery: ChunkDelivery, entry: _Entry) -> None:
        try:
            if self._send(delivery, entry):
                entry.stored.remove()
                self._n_failures = 0
                self._finish(entry)
            elif not self._is_stopped or delivery.failure_reason:
                self._hold(delivery)
        except SendFailureTimeout as error:
            self._failure = error
            self._context.log.error("chunk '%s': %s", delivery.tag, error)
            self._hold(delivery)
        except BaseException as error:  # SystemExit, for instance: it must not end the host
            self._postpone(entry, f"unexpected failure: {error!r}")

    def _send(self, delivery: ChunkDelivery, entry: _Entry) -> bool:
        is_complete = False
        try:
            with self._changed:
                self._deliveries[delivery] = entry
                is_late = self._is_stopped
            if is_late:  # close() did not see it
                delivery.stop()
            is_complete = delivery.run()
            return is_complete
        finally:
            if not is_complete:
                entry.note(delivery)
            delivery.close()
            with self._changed:
                self._deliveries.pop(delivery, None)

    def _finish(self, entry: _Entry) -> None:
        entry.is_done = True
        self._context.watchdog.end(entry.number, returned=False)

    def _hold(self, delivery: ChunkDelivery) -> None:
        """Let all chunks wait: the service takes nothing. This one is due first, being older."""
        with self._changed:
            self._n_failures += 1
            is_error = self._n_failures > self._n_retries
            cap_s = SPOOL_BACKOFF_CAP_S if is_error else BACKGROUND_BACKOFF_CAP_S
            wait_s = self._backoff_s(self._n_failures, cap_s)
            self._hold_until = max(self._hold_until, self._context.timing.clock() + wait_s)
            self._is_stopped |= self._is_closing
            n_waiting = len(self._waiting) + len(self._running)
        (self._context.log.error if is_error else self._context.log.warning)(
            "chunk '%s': %s; %d chunks wait in the spool, next try in %.1f s",
            delivery.tag,
            delivery.failure_reason or "PutRecords got no response in time",
            n_waiting,
            wait_s,
        )

    def _postpone(self, entry: _Entry, reason: str) -> None:
        """Let the other chunks go first: something is wrong with this one, or with this host."""
        with self._changed:
            entry.n_failures += 1
            wait_s = self._backoff_s(entry.n_failures, SPOOL_BACKOFF_CAP_S)
            entry.due = self._context.timing.clock() + wait_s
            self._is_stopped |= self._is_closing
        self._context.log.error(
            "chunk '%s' stays in the spool, next try in %.1f s: %s",
            printable(entry.stored.tag, MAX_TAG),
            wait_s,
            reason,
        )

    def _backoff_s(self, n_failures: int, cap_s: float) -> float:
        random = self._context.timing.random
        return backoff_s(n_failures, BACKGROUND_BACKOFF_BASE_S, cap_s, random)
