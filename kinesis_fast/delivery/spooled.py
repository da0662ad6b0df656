"""Deliveries in the background out of a spool: a chunk is on disk before its flush says OK."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from kinesis_fast.delivery.chunk_delivery import Delivery, begin
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Chunk
from kinesis_fast.delivery.retry import backoff_s
from kinesis_fast.errors import DamagedChunk, SendFailureTimeout, StorageError
from kinesis_fast.limits import (
    BACKGROUND_BACKOFF_BASE_S,
    BACKGROUND_BACKOFF_CAP_S,
    SPOOL_BACKOFF_CAP_S,
    SPOOL_START_SPREAD_S,
)

REQUESTS_PER_NOTE: Final = 8  # settled requests of a chunk after which its progress is written down
QUIET_S: Final = 60.0  # seconds between two lines about chunks that are refused


class StoredChunk(Protocol):
    """A chunk on disk; see `kinesis_fast.storage.spool`."""

    tag: str
    progress: bytearray

    def read(self) -> bytes: ...
    def save_progress(self, progress: bytes, /) -> bool: ...
    def remove(self) -> bool: ...


class Storage(Protocol):
    """Where chunks are kept; see `kinesis_fast.storage.spool`."""

    @property
    def path(self) -> str: ...
    def put(self, chunk: Chunk, tag: str, /) -> StoredChunk: ...
    def pending(self) -> Sequence[StoredChunk]: ...
    def close(self) -> None: ...


@dataclass(eq=False)
class _Entry:
    """A chunk that is to be delivered.

    Attributes:
        stored: the chunk.
        n_pending: its records that stand in the account as pending; None for a chunk of an earlier
            process, which is in no account yet.
        due: when it may be tried, in seconds of time.monotonic.
        n_failures: how often it failed for reasons of its own.
    """

    stored: StoredChunk
    n_pending: int | None
    due: float = 0.0
    n_failures: int = 0


class Spooled:
    """Delivers chunks from disk, the oldest first; none is given up.

    While the service takes nothing all chunks wait, with growing pauses, and the oldest is tried.
    Which events of a chunk are settled is written down after each REQUESTS_PER_NOTE requests and
    when a try ends. So of each chunk that is on its way when the process is killed, the next sends
    at most REQUESTS_PER_NOTE + max_in_flight requests twice, of at most n_slots chunks.

    Args:
        storage: where the chunks are. What is in it already is delivered, too.
        tools: what deliveries work with.
        n_slots: deliveries at a time, at least 1.
        n_retries: tries that fail one after the other before lines about them become errors.
    """

    def __init__(
        self, storage: Storage, tools: DeliveryContext, n_slots: int, n_retries: int
    ) -> None:
        self._storage = storage
        self._tools = tools
        self._n_slots = n_slots
        self._n_retries = n_retries
        self._changed = threading.Condition(threading.Lock())
        self._closing = False  # nothing is waited for any more
        self._stopped = False  # nothing is begun any more
        self._n_workers = 0
        self._running: list[tuple[Delivery, StoredChunk]] = []
        self._failure: SendFailureTimeout | None = None  # for the next call
        self._n_failures = 0  # tries that failed one after the other, of any chunk
        self._told_at = -QUIET_S
        self._hold_until = 0.0
        # Many hosts may start at once: they are not to send what they have in step.
        start = time.monotonic() + tools.timing.random() * SPOOL_START_SPREAD_S
        self._backlog = deque(_Entry(stored, None, start) for stored in storage.pending())
        if self._backlog:
            tools.log.info(
                "%d chunks of an earlier run are in the spool %s; they are sent now, oldest first",
                len(self._backlog),
                storage.path,
            )
        with self._changed:
            self._call_workers()

    def take_over(self, chunk: Chunk, tag: str, n_records: int) -> bool:
        """Write a chunk to the disk, to be delivered.

        Returns:
            False when it cannot be written or the spool is full; then all records count as
            returned.

        Raises:
            SendFailureTimeout: the watchdog's time was up since the last call.
        """
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
            stored = self._storage.put(chunk, tag)
        except StorageError as error:
            self._tools.stats.returned_unread(n_records)
            self._tell(error)
            return False
        except BaseException:
            self._tools.stats.returned_unread(n_records)
            raise
        self._tools.stats.taken_over(n_records)
        with self._changed:
            self._backlog.append(_Entry(stored, n_records))
            self._call_workers()
        return True

    def close(self, timeout_s: float) -> bool:
        """Go on until the time is up or a try fails; what is left then stays in the spool.

        When it returns, no more requests are begun; those in flight may still arrive, and twice.

        Returns:
            Whether nothing is in flight any more.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            idle = self._changed.wait_for(lambda: self._n_workers == 0, timeout_s)
            self._stopped = True
            running = list(self._running)
        for delivery, stored in running:
            delivery.stop()
            self._note(delivery, stored)
        self._storage.close()
        return idle

    def _tell(self, error: StorageError) -> None:
        with self._changed:
            now = time.monotonic()
            is_due, self._told_at = now - self._told_at >= QUIET_S, now
        if is_due:
            self._tools.log.error("%s; chunks are given back", error)

    # --- the workers ---

    def _call_workers(self) -> None:
        """See to it that somebody delivers; the lock is held."""
        self._changed.notify()
        while self._n_workers < min(self._n_slots, len(self._backlog)) and not self._closing:
            self._n_workers += 1
            try:
                self._tools.crew.start(self._work)
            except RuntimeError as error:  # no more threads: the next chunk tries again
                self._n_workers -= 1
                self._tools.log.warning("nobody to deliver from the spool: %s", error)
                return

    def _work(self) -> None:
        try:
            while (entry := self._next_entry()) is not None:
                self._deliver(entry)
        except BaseException as error:  # SystemExit, say: the thread ends, the host must not
            self._tools.log.error("a delivery from the spool ended with %r", error)
        finally:
            with self._changed:
                self._n_workers -= 1
                self._changed.notify_all()

    def _next_entry(self) -> _Entry | None:
        """Wait for a chunk that is due; None when there is none left, or none due after close()."""
        with self._changed:
            while self._backlog and not self._stopped:
                now = time.monotonic()
                entry = min(self._backlog, key=lambda entry: max(entry.due, now))
                wait_s = max(entry.due, self._hold_until) - now
                if wait_s <= 0:
                    self._backlog.remove(entry)
                    return entry
                if self._closing:
                    return None
                self._changed.wait(wait_s)
            return None

    def _deliver(self, entry: _Entry) -> None:
        try:
            chunk = entry.stored.read()
        except DamagedChunk as error:  # it is set aside, and its records are in no stream
            self._tools.log.error("%s; its records count as dead", error)
            self._tools.stats.dead(entry.n_pending or 0)
            return
        except (StorageError, MemoryError) as error:
            self._postpone(entry, f"it cannot be read: {error}")
            return
        try:
            delivery = self._begin(entry, chunk)
        except Exception as error:
            self._postpone(entry, f"it cannot be encoded: {error!r}")
            return
        settled = False
        with self._changed:
            self._running.append((delivery, entry.stored))
            is_late = self._stopped
        if is_late:  # close() did not see it
            delivery.stop()
        try:
            settled = self._run(delivery, entry)
        finally:
            with self._changed:
                self._running.remove((delivery, entry.stored))
            self._tools.watchdog.end(returned=not settled)

    def _begin(self, entry: _Entry, chunk: bytes) -> Delivery:
        settled = bytes(entry.stored.progress)
        delivery = begin(
            self._tools,
            chunk,
            entry.stored.tag,
            counted=True,
            settled=settled,
            on_settled=self._notes(entry.stored),
        )
        if entry.n_pending is None:
            entry.n_pending = self._tools.encoder.count(chunk, settled=settled)
            self._tools.stats.taken_over(entry.n_pending)
        return delivery

    def _run(self, delivery: Delivery, entry: _Entry) -> bool:
        try:
            if delivery.run():
                delivery.finish()
                entry.stored.remove()
                self._n_failures = 0
                return True
            if self._stopped and not delivery.trouble:  # by close()
                self._leave(entry, delivery)
                return False
            self._hold(entry, delivery)
        except SendFailureTimeout as error:
            self._failure = error
            self._tools.log.error("chunk '%s': %s", delivery.tag, error)
            self._hold(entry, delivery)
        except BaseException as error:
            self._leave(entry, delivery)
            self._postpone(entry, f"unexpected failure: {error!r}")
            if not isinstance(error, Exception):
                raise
        return False

    def _leave(self, entry: _Entry, delivery: Delivery) -> None:
        entry.stored.save_progress(bytes(delivery.settled_events()))
        entry.n_pending = delivery.leave()

    def _hold(self, entry: _Entry, delivery: Delivery) -> None:
        """The service takes nothing: let all chunks wait, and this one be the first again."""
        self._leave(entry, delivery)
        with self._changed:
            self._n_failures += 1
            n_failures = self._n_failures
            is_trouble = n_failures > self._n_retries
            wait_s = backoff_s(
                n_failures,
                BACKGROUND_BACKOFF_BASE_S,
                SPOOL_BACKOFF_CAP_S if is_trouble else BACKGROUND_BACKOFF_CAP_S,
                self._tools.timing.random,
            )
            self._hold_until = max(self._hold_until, time.monotonic() + wait_s)
            self._stopped |= self._closing
            self._backlog.appendleft(entry)
            n_waiting = len(self._backlog)
        (self._tools.log.error if is_trouble else self._tools.log.warning)(
            "chunk '%s': PutRecords %s; %d chunks wait in the spool, the next try is in %.1f s",
            delivery.tag,
            delivery.trouble or "got no answer in time",
            n_waiting,
            wait_s,
        )

    def _postpone(self, entry: _Entry, reason: str) -> None:
        """Something is wrong with this chunk, or here: let the others go first."""
        with self._changed:
            entry.n_failures += 1
            wait_s = backoff_s(
                entry.n_failures,
                BACKGROUND_BACKOFF_BASE_S,
                SPOOL_BACKOFF_CAP_S,
                self._tools.timing.random,
            )
            entry.due = time.monotonic() + wait_s
            self._stopped |= self._closing
            self._backlog.append(entry)
        self._tools.log.error(
            "chunk '%s' stays in the spool, the next try is in %.1f s: %s",
            entry.stored.tag,
            wait_s,
            reason,
        )

    # --- progress ---

    def _notes(self, stored: StoredChunk) -> Callable[[Delivery], None]:
        """What a delivery calls after each request that is settled."""
        lock = threading.Lock()
        n_settled = 0

        def settled(delivery: Delivery) -> None:
            nonlocal n_settled
            with lock:  # held while a note is written: nobody gets ahead, none overtakes another
                n_settled += 1
                if n_settled % REQUESTS_PER_NOTE == 0:
                    self._note(delivery, stored)

        return settled

    def _note(self, delivery: Delivery, stored: StoredChunk) -> None:
        progress = delivery.progress()
        if progress is not None:
            stored.save_progress(progress)
