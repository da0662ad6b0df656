"""Deliveries in the background out of a spool: a chunk is on disk before its flush says OK."""

import heapq
import itertools
import threading
from collections import deque
from functools import partial

from kinesis_fast.condition import Condition
from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.chunk_group import (
    MAX_GROUP_BYTES,
    MIN_GROUP_BYTES,
    NOT_COUNTED,
    ChunkGroup,
    Entry,
    LoadedChunk,
    groups_of,
)
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.foreground import n_bytes_of
from kinesis_fast.delivery.protocols import Chunk, Storage, StoredChunk
from kinesis_fast.delivery.retry import backoff_s
from kinesis_fast.errors import DamagedChunk, SendFailureTimeout, StorageError
from kinesis_fast.limits import (
    BACKGROUND_BACKOFF_BASE_S,
    BACKGROUND_BACKOFF_CAP_S,
    SPOOL_BACKOFF_CAP_S,
    SPOOL_START_SPREAD_S,
)
from kinesis_fast.logs import LogLimit
from kinesis_fast.stats import ChunkAccount
from kinesis_fast.transport.secrets import presentable


class Spooled:
    """Delivers chunks from disk, the oldest first; none is given up.

    Small chunks that wait share a delivery, see `chunk_group`. While the service takes nothing, all
    chunks wait, with growing pauses, and they are tried in turn: it may be the first one alone that
    the service does not take. Which events are settled is written down after each REQUESTS_PER_NOTE
    requests and when a try ends. So when the process is killed, the next start sends at most
    REQUESTS_PER_NOTE + max_in_flight requests of each delivery twice, and there are at most n_slots
    deliveries.

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
        self._changed = Condition(threading.Lock())
        self._is_closing = False  # nothing is waited for any more
        self._is_stopped = False  # nothing is begun any more
        self._workers: set[object] = set()
        self._numbers = itertools.count()
        self._waiting: list[Entry] = []  # a heap
        self._backlog: deque[StoredChunk] = deque()  # of an earlier run, not in the heap yet
        self._backlog_due = 0.0
        self._running: dict[object, list[Entry]] = {}  # by worker
        self._deliveries: dict[ChunkDelivery, ChunkGroup] = {}
        self._failure: SendFailureTimeout | None = None  # for the next call
        self._n_failures = 0  # tries that failed one after the other, of any chunk
        self._n_delivered = 0  # groups
        self._log_limit = LogLimit(context.timing.clock)
        self._hold_until = 0.0
        self._queue_backlog()

    @property
    def storage(self) -> Storage:
        """Where the chunks are."""
        return self._storage

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
            context.threads.revive()
            n_records = context.encoder.count(chunk)
            context.stats.chunk(n_bytes_of(chunk))
            account.taken_over(n_records)
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            stored = self._storage.put(chunk, tag)
            with self._changed:
                now = context.timing.clock()
                entry = Entry(now, next(self._numbers), stored, account.n_pending)
                try:
                    heapq.heappush(self._waiting, entry)
                    is_taken = True
                finally:  # while the lock is held: no worker begins what goes back to the host
                    entry.is_done = not is_taken
                context.watchdog.begin(self)
                self._call_workers()
            self._queue_backlog()
        except StorageError as error:
            if self._log_limit.count():
                context.log.error("%s; returning chunks to Fluent Bit (RETRY)", error)
        finally:
            if not is_taken:
                try:
                    _give_back(account, stored)
                except BaseException:
                    _give_back(account, stored)  # what the exception kept it from
                    raise
        return is_taken

    def close(self, timeout_s: float) -> bool:
        """Go on until the time is up or a try fails; what is left then stays in the spool.

        When it returns, no more requests begin; those in flight may still arrive, and twice.

        Returns:
            Whether nothing is in flight any more.
        """
        try:
            with self._changed:
                self._is_closing = True
                self._changed.notify_all()
            self._context.pauses.end()
            with self._changed:
                return self._changed.wait_for(lambda: not self._workers, timeout_s)
        finally:  # also when the wait is interrupted
            self._stop()

    def n_unread(self) -> int:
        """Return how many chunks of an earlier run wait to be read; no counter includes them."""
        with self._changed:
            entries = itertools.chain(self._waiting, *self._running.values())
            n_queued = sum(e.n_pending == NOT_COUNTED and not e.is_done for e in entries)
            return len(self._backlog) + n_queued

    def _stop(self) -> None:
        """Begin no more requests, and write down what has arrived."""
        with self._changed:
            self._is_stopped = True
            deliveries = dict(self._deliveries)
        for delivery, group in deliveries.items():
            delivery.stop()
            group.note(delivery)
        self._storage.close()

    def _queue_backlog(self) -> None:
        """Queue the chunks of an earlier run that the storage has found."""
        backlog = self._storage.pending()
        if not backlog:
            return
        self._context.log.info(
            "chunks of an earlier run in the spool %s: %d; sending them now, oldest first",
            *(self._storage.path, len(backlog)),
        )
        # Many hosts may start at once: the spread keeps them from sending in step.
        timing = self._context.timing
        with self._changed:
            self._backlog_due = timing.clock() + timing.random() * SPOOL_START_SPREAD_S
            self._backlog.extend(backlog)
            self._context.watchdog.begin(self)
            self._call_workers()

    # --- the workers ---

    def _call_workers(self) -> None:
        """Wake a worker, and start those that are missing; the lock is held."""
        self._changed.notify()
        n_wanted = min(self._n_slots, self._n_waiting() + len(self._running))
        while len(self._workers) < n_wanted and not self._is_closing:
            worker = object()
            self._workers.add(worker)
            try:
                self._context.threads.run(partial(self._work, worker))
            except RuntimeError as error:  # no more threads: the next chunk tries again
                self._workers.discard(worker)
                self._context.log.warning("no thread to deliver from the spool: %s", error)
                return
            except BaseException:
                self._workers.discard(worker)
                raise

    def _work(self, worker: object) -> None:
        """Deliver entries until none is left; the thread pool repeats it if it raises."""
        try:
            while worker in self._workers and (entries := self._next_entries(worker)):
                self._deliver(entries)
        except BaseException as error:
            self._context.log.error(
                "a delivery from the spool failed unexpectedly: %s", presentable(repr(error))
            )
        finally:
            with self._changed:
                self._put_back(worker)
                self._workers.discard(worker)
                self._changed.notify_all()
                if not self._is_stopped:
                    self._call_workers()

    def _n_waiting(self) -> int:
        return len(self._waiting) + len(self._backlog)

    def _next_entries(self, worker: object) -> list[Entry]:
        """Wait for entries that are due; none when none is left, or none is due after close()."""
        timing = self._context.timing
        with self._changed:
            self._put_back(worker)
            while (first := self._first()) is not None and not self._is_stopped:
                wait_s = max(first.due, self._hold_until) - timing.clock()
                if wait_s <= 0:
                    entries = self._running[worker] = []
                    self._take_due(entries)
                    return entries.copy()
                if self._is_closing:
                    return []
                timing.wait(self._changed, wait_s)
            return []

    def _first(self) -> Entry | None:
        """Return the entry that is due first, and leave it in the heap; the lock is held."""
        while self._waiting and self._waiting[0].is_done:
            heapq.heappop(self._waiting)
        due = self._backlog_due
        if self._backlog and not (self._waiting and self._waiting[0].due < due):
            number = -len(self._backlog)
            heapq.heappush(self._waiting, Entry(due, number, self._backlog.popleft()))
        return self._waiting[0] if self._waiting else None

    def _take_due(self, entries: list[Entry]) -> None:
        """Take the first entry, and small ones that are due after it; the lock is held.

        No more than this worker's share, unless they are few bytes. While the service takes
        nothing, one chunk is enough to try it.
        """
        now = self._context.timing.clock()
        n_share = -(-self._n_waiting() // self._n_slots)
        n_bytes = 0
        while (entry := self._first()) is not None:
            n_bytes += entry.stored.n_bytes
            if entries:
                may_share = entries[0].may_share and entry.may_share and not self._n_failures
                if not may_share or entry.due > now or n_bytes > MAX_GROUP_BYTES:
                    return
                if len(entries) >= n_share and n_bytes > MIN_GROUP_BYTES:
                    return
            entries.append(entry)
            heapq.heappop(self._waiting)

    def _put_back(self, worker: object) -> None:
        """Queue the entries of a worker again, unless they are done; the lock is held."""
        entries = self._running.get(worker, [])
        while entries:
            is_queued = self._waiting and self._waiting[0] is entries[-1]
            if not entries[-1].is_done and not is_queued:
                heapq.heappush(self._waiting, entries[-1])
            entries.pop()
        self._running.pop(worker, None)
        if not self._running and self._first() is None:
            self._context.watchdog.end(self, returned=False)

    def _deliver(self, entries: list[Entry]) -> None:
        """Try to deliver entries; then each is done, or due again."""
        chunks = [chunk for entry in entries if (chunk := self._load(entry)) is not None]
        for group in groups_of(self._context, chunks):
            if not self._run(ChunkGroup(self._context, group)):
                return

    def _load(self, entry: Entry) -> LoadedChunk | None:
        """Read a chunk and count its records; None when that is not possible."""
        context = self._context
        try:
            tag, payload, settled = entry.stored.read()[:3]
            settled = entry.settled or settled
            if entry.n_pending == NOT_COUNTED:
                n_records = context.encoder.count(payload, settled)
                n_resumed = context.encoder.count(payload) - n_records
                account = ChunkAccount(context.stats)
                account.taken_over(n_records)
                entry.n_pending = account.n_pending
                account.resumed(n_resumed)
        except DamagedChunk as error:  # it is set aside, and its records are in no stream
            if entry.n_pending > 0:
                account = ChunkAccount(context.stats)
                account.adopt(entry.n_pending)
                account.close("dead")
            entry.is_done = True
            context.log.error("%s; its records count as dead", error)  # last: it may raise
            return None
        except (StorageError, MemoryError) as error:
            self._postpone([entry], "a chunk", f"it cannot be read: {error}")
            return None
        except Exception as error:
            self._postpone([entry], "a chunk", f"it cannot be counted: {error!r}")
            return None
        return LoadedChunk(entry, tag, payload, settled)

    def _run(self, group: ChunkGroup) -> bool:
        """Try to deliver a group. Returns whether it is worth while to go on with the next one."""
        try:
            delivery = group.new_delivery(self._context)
        except Exception as error:
            self._postpone(group.entries, group.name, f"it cannot be encoded: {error!r}")
            return True
        try:
            if self._send(delivery, group):
                self._n_failures = 0
                self._n_delivered += 1
                if not all(entry.is_done for entry in group.entries):
                    self._postpone(group.entries, group.name, "some events are not settled")
                return True
            if delivery.is_isolated:  # the others need not wait
                self._postpone(group.entries, group.name, delivery.failure_reason)
                return True
            if not self._is_stopped or delivery.failure_reason:
                self._hold(delivery)
            if delivery.is_refused:  # others go first: they show whether it is this chunk
                self._defer(group.entries)
            else:
                self._move_back(group.entries)
        except SendFailureTimeout as error:
            self._failure = error
            self._context.log.error("chunk '%s': %s", delivery.tag, error)
            self._hold(delivery)
            self._move_back(group.entries)
        except BaseException as error:  # SystemExit, for instance: it must not end the host
            self._postpone(group.entries, group.name, f"unexpected failure: {error!r}")
            return True
        return False

    def _send(self, delivery: ChunkDelivery, group: ChunkGroup) -> bool:
        is_complete = False
        try:
            with self._changed:
                self._deliveries[delivery] = group
                is_late = self._is_stopped
            if is_late:  # close() did not see it
                delivery.stop()
            is_complete = delivery.run()
            return is_complete
        finally:  # an exception at any line skips no other step
            try:
                if not is_complete:
                    group.note(delivery)
            finally:
                try:
                    delivery.close()
                finally:
                    try:
                        group.end(delivery, is_complete=is_complete)
                    except BaseException:
                        group.end(delivery, is_complete=is_complete)  # what it kept `end` from
                        raise
                    finally:
                        with self._changed:
                            self._deliveries.pop(delivery, None)

    def _hold(self, delivery: ChunkDelivery) -> None:
        """Let all chunks wait: the service takes nothing."""
        with self._changed:
            self._n_failures += 1
            is_error = self._n_failures > self._n_retries
            cap_s = SPOOL_BACKOFF_CAP_S if is_error else BACKGROUND_BACKOFF_CAP_S
            wait_s = self._backoff_s(self._n_failures, cap_s)
            self._hold_until = max(self._hold_until, self._context.timing.clock() + wait_s)
            self._is_stopped |= self._is_closing
            n_waiting = self._n_waiting() + sum(map(len, self._running.values()))
        (self._context.log.error if is_error else self._context.log.warning)(
            "chunk '%s': %s; chunks that wait in the spool: %d, next try in %.1f s",
            delivery.tag,
            delivery.failure_reason or "PutRecords got no response in time",
            n_waiting,
            wait_s,
        )

    def _move_back(self, entries: list[Entry]) -> None:
        """Let the others be tried next; and first, if some arrived since these failed before."""
        with self._changed:
            now = self._context.timing.clock()
            for entry in entries:
                if entry.is_done:
                    continue
                wait_s = 0.0
                if 0 <= entry.failed_after < self._n_delivered:
                    wait_s = self._backoff_s(entry.n_failures, SPOOL_BACKOFF_CAP_S)
                entry.due = now + wait_s
                entry.n_failures += 1
                entry.failed_after = self._n_delivered

    def _postpone(self, entries: list[Entry], name: str, reason: str) -> None:
        """Let the others go first: something is wrong with these chunks, or with this host."""
        wait_s = self._defer(entries)
        self._context.log.error(
            "%s: kept in the spool, next try in %.1f s: %s", name, wait_s, presentable(reason)
        )

    def _defer(self, entries: list[Entry]) -> float:
        """Let the others go first. Returns the seconds until these are due again."""
        with self._changed:
            open_entries = [entry for entry in entries if not entry.is_done]
            n_failures = 1 + max((entry.n_failures for entry in open_entries), default=0)
            wait_s = self._backoff_s(n_failures, SPOOL_BACKOFF_CAP_S)
            due = self._context.timing.clock() + wait_s
            for entry in open_entries:
                entry.n_failures, entry.due = n_failures, due
            self._is_stopped |= self._is_closing
        return wait_s

    def _backoff_s(self, n_failures: int, cap_s: float) -> float:
        random = self._context.timing.random
        return backoff_s(n_failures, BACKGROUND_BACKOFF_BASE_S, cap_s, random)


def _give_back(account: ChunkAccount, stored: StoredChunk | None) -> None:
    """Count a chunk as returned and forget it: the host brings it again."""
    account.close()
    if stored is not None:
        stored.remove()
