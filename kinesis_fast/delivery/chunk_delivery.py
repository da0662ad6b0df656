"""One chunk on its way: what is not encoded yet, what is not acknowledged yet, when to stop."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from kinesis_fast.delivery.chunk_letters import ChunkLetters
from kinesis_fast.delivery.chunk_report import MAX_REASON, ChunkReport
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.in_flight import InFlightRequest, RetryBudget
from kinesis_fast.delivery.leader_followers import PATIENCE_S, LeaderFollowers
from kinesis_fast.delivery.protocols import Chunk, Request, RequestStream
from kinesis_fast.delivery.retry import (
    Outcome,
    Verdict,
    halves,
)
from kinesis_fast.logs import printable

MAX_TAG: Final = 100  # characters in a log line
ANY_LANE: Final = -1


class Delivery:
    """Owns what is left of a chunk: the rest of its stream and the requests that are not settled.

    Several threads work on it: each takes a request that is written and sees to it until it is
    settled, or writes the next one. So one request is written while others are in flight, and no
    request is handed from thread to thread; turns.py says who does what when. Every delivery ends
    with exactly one of `finish`, `give_back`, `give_up` and `leave`, which release its memory.

    Args:
        stream: the chunk's requests; closed at the end.
        tools: what to work with.
        tag: names the chunk in log lines.
        lost: where its records go that can never be delivered; None: nowhere.
        counted: whether the records of the chunk stand in the account as pending already.
        on_settled: called with this delivery after each request that is settled, by any thread.
    """

    def __init__(
        self,
        stream: RequestStream,
        tools: DeliveryContext,
        tag: str,
        lost: ChunkLetters | None = None,
        *,
        counted: bool,
        on_settled: Callable[["Delivery"], None] | None = None,
    ) -> None:
        self._stream = stream
        self._tools = tools
        self._lost = lost
        self._counted = counted
        self._on_settled = on_settled
        self._lock = lock = threading.Lock()
        self._written = threading.Condition(lock)  # the request that was being written
        self._turns = LeaderFollowers(lock, tools.max_in_flight + 1)
        self._ready: deque[InFlightRequest] = deque()  # written, not in flight
        self._sending: list[InFlightRequest] = []
        self._busy_lanes: set[int] = set()
        self._slots: list[RetryBudget] = []  # that are free
        self._is_encoding = False
        self._lacks_arena = False  # a record waits until a request is settled
        self._stopped = False
        self._is_told_to_stop = False  # for good
        self._is_over = False
        self._failure: BaseException | None = None
        # Each lane may write a request while others are in flight.
        self._max_arenas = tools.max_in_flight + stream.n_lanes
        self.tag = printable(tag, MAX_TAG)
        self.trouble = ""
        self._remarks = ChunkReport(tools.log, self.tag)

    def run(self) -> bool:
        """Send until every record is settled, or until it is no use to go on for now.

        A further call goes on where this one stopped: nothing is encoded twice, and what was
        acknowledged is not sent again. When it returns or raises, no thread is at work any more.

        Returns:
            Whether every record is settled. If not, `trouble` says why.

        Raises:
            SendFailureTimeout: the watchdog's time is up.
        """
        self._slots = [RetryBudget() for _ in range(self._tools.max_in_flight)]
        with self._lock:
            self._stopped = self._is_told_to_stop
            self._turns.begin(n_workers=1)
        self._failure = None
        self._work()
        self._wait_for_workers()
        if self._failure is not None:
            raise self._failure
        return not self._ready and self._stream.is_exhausted

    def finish(self) -> None:
        """End a delivery that has settled everything."""
        self._end()
        self._stream.close()
        self._remarks.write()

    def give_back(self) -> int:
        """End it: what is left goes back to the host. Returns the number of records."""
        stats = self._tools.stats
        n_encoded = self._release_unsettled()
        stats.returned(n_encoded)
        n_unread = self._count_unread()
        if self._counted:
            stats.returned(n_unread)
        else:
            stats.returned_unread(n_unread)
        self._remarks.write()
        return n_encoded + n_unread

    def give_up(self) -> int:
        """End it: what is left of a chunk that was taken over is dead. Returns how many records."""
        stats = self._tools.stats
        n_encoded = self._release_unsettled()
        stats.dead(n_encoded)
        n_unread = self._count_unread()
        stats.dead(n_unread)
        self._remarks.write()
        return n_encoded + n_unread

    def leave(self) -> int:
        """End it: what is left of a chunk that was taken over stays pending. Returns how many."""
        n_records = self._release_unsettled() + self._count_unread()
        self._remarks.write()
        return n_records

    def end(self, *, settled: bool) -> None:
        """End a run whose host waits for it: `finish`, or `give_back` with a line that says why."""
        try:
            if settled:
                self.finish()
            else:
                n_records = self.give_back()
                if self.trouble:
                    self._tools.log.error(
                        "chunk '%s': %d records are given back; PutRecords %s",
                        self.tag,
                        n_records,
                        self.trouble,
                    )
        finally:
            self._tools.watchdog.end(returned=not settled)

    def settled_events(self) -> bytearray:
        """A bit per event, as `settled` of `RecordEncoder.requests`; while no thread is at work."""
        bits = self._stream.settled_events()
        for unsettled in (*self._ready, *self._sending):
            for part in unsettled.requests():
                part.clear_events(bits)
        return bits

    def progress(self) -> bytes | None:
        """The same while threads are at work; it waits while one of them is writing a request.

        None once the delivery has ended: nobody knows any more what it has let go.
        """
        with self._lock:
            self._written.wait_for(lambda: not self._is_encoding)
            return None if self._is_over else bytes(self.settled_events())

    def stop(self) -> None:
        """Let `run`, also one to come, begin no more requests, and end with those in flight."""
        self._is_told_to_stop = True
        self._stop()

    # --- the threads ---

    def _work(self) -> None:
        """Write and send until there is nothing left to do here; never raises."""
        try:
            while (job := self._next_job()) is not None:
                job()
        except BaseException as error:
            self._stop(error)
        with self._lock:
            self._turns.leave()

    def _next_job(self) -> Callable[[], None] | None:
        """What this thread is to do, None when there will be nothing more for it."""
        turns = self._turns
        with self._lock:
            turns.come_back()
            while not self._stopped:
                wait_s: float | None = turns.left_s()
                place = self._first_ready()
                if place is not None or self._may_encode():
                    if wait_s == 0:
                        turns.lead()
                        return self._begin(place)
                elif self._is_encoding:
                    wait_s = PATIENCE_S
                elif self._stream.is_exhausted:
                    return None
                else:
                    wait_s = None
                turns.stand_by(wait_s)
            return None

    def _begin(self, place: int | None) -> Callable[[], None]:
        """Begin to send the request at that place, or to write the next one."""
        if place is not None:
            return self._begin_sending(place)
        self._is_encoding = True
        return self._encode_next

    def _first_ready(self) -> int | None:
        """The place of the first request that may be sent now."""
        if self._slots and len(self._sending) < self._tools.pace.in_flight:
            for place, unsettled in enumerate(self._ready):
                if unsettled.request.lane not in self._busy_lanes:
                    return place
        return None

    def _may_encode(self) -> bool:
        return (
            not self._is_encoding
            and not self._lacks_arena
            and self._n_unsettled() < self._max_arenas
            and not self._stream.is_exhausted
        )

    def _n_unsettled(self) -> int:
        return len(self._ready) + len(self._sending)

    def _begin_sending(self, place: int) -> Callable[[], None]:
        unsettled, slot = self._ready[place], self._slots.pop()
        del self._ready[place]
        self._sending.append(unsettled)
        if unsettled.request.lane != ANY_LANE:
            self._busy_lanes.add(unsettled.request.lane)
        return partial(self._send, unsettled, slot, self._wants_help())

    def _wants_help(self) -> bool:
        """Whether somebody new has to be there in case that this thread waits for an answer.

        Nobody else is told when there is more to do: who brought it about takes a part of it, and
        sees to it that one more thread watches when that begins.
        """
        if self._first_ready() is None and not self._may_encode():
            return False
        return self._turns.call()

    def _call_help(self) -> None:
        try:
            self._tools.crew.start(self._help)
        except RuntimeError as error:  # the system has no more threads: this one does it all
            self._tools.log.debug("chunk '%s': nobody to help: %s", self.tag, error)
            with self._lock:
                self._turns.stay_away()

    def _help(self) -> None:
        with self._lock:
            self._turns.arrive()
        self._work()

    def _stop(self, failure: BaseException | None = None) -> None:
        with self._lock:
            self._stopped = True
            self._failure = self._failure or failure
            self._turns.call_all()

    def _wait_for_workers(self) -> None:
        """Wait for the other threads, come what may: they read the host's memory."""
        while True:
            try:
                with self._lock:
                    self._turns.wait_for_all()
                    return
            except BaseException as error:  # KeyboardInterrupt, say
                self._stop(error)

    # --- writing requests ---

    def _encode_next(self) -> None:
        n_unsettled = self._n_unsettled()
        request: Request | None = None
        try:
            with contextlib.suppress(StopIteration):
                request = self._stream.take(self._max_arenas - n_unsettled)
        finally:
            tally = self._stream.take_tally()
            self._tools.stats.encoded(tally, counted=self._counted)
            self._remarks.encoded(tally)
            if self._lost is not None:
                self._lost.skipped(self._stream.take_skipped())
            with self._lock:
                self._is_encoding = False
                if request is not None:
                    self._ready.append(InFlightRequest(request))
                else:
                    self._lacks_arena = 0 < n_unsettled <= self._n_unsettled()
                self._written.notify_all()

    # --- sending requests ---

    def _send(self, unsettled: InFlightRequest, slot: RetryBudget, wants_help: bool) -> None:
        """Send a request until it is settled, or divided, or it is no use to go on."""
        settled = False
        try:
            if wants_help:
                self._call_help()
            slot.keep_pace(self._tools)
            settled = self._settle(unsettled, slot)
        finally:
            with self._lock:
                self._sending.remove(unsettled)
                self._busy_lanes.discard(unsettled.request.lane)
                self._slots.append(slot)
                self._lacks_arena = False
                if not settled:
                    self._ready.extendleft(reversed(unsettled.parts()))
        if settled:
            unsettled.release()
            if self._on_settled is not None:
                self._on_settled(self)

    def _settle(self, unsettled: InFlightRequest, slot: RetryBudget) -> bool:
        """Returns whether nothing is left of the request. If it is no use to go on, all stop."""
        timing = self._tools.timing
        attempts = 0
        while not self._stopped:
            started = timing.clock()
            verdict = unsettled.attempt(self._tools)
            attempts += 1
            if verdict.outcome is Outcome.REFUSED:
                return self._divide(unsettled, verdict)
            self._book(unsettled, verdict)
            if verdict.outcome is Outcome.SETTLED:
                return True
            self._tools.watchdog.check()
            wait_s = None
            if verdict.outcome is not Outcome.BLOCKED:
                wait_s = slot.pause_s(self._tools, attempts, timing.clock() - started)
            if wait_s is None:
                self.trouble = self.trouble or _describe(verdict, attempts)
                self._stop()
                return False
            reason = printable(verdict.reason, MAX_REASON)
            self._tools.log.debug(
                "chunk '%s': the next attempt in %.2f s: %s", self.tag, wait_s, reason
            )
            timing.sleep(wait_s)
        return False

    def _book(self, unsettled: InFlightRequest, verdict: Verdict) -> None:
        """Count what was acknowledged, and keep what was not."""
        request, failed = unsettled.request, verdict.failed
        n_records, n_bytes = request.n_records, request.n_bytes
        if verdict.outcome is not Outcome.SETTLED:
            if len(failed) not in range(1, n_records):
                return
            with self._lock:
                unsettled.keep(failed)
            n_records -= unsettled.request.n_records
            n_bytes -= unsettled.request.n_bytes
        self._tools.stats.delivered(n_records, n_bytes)
        self._tools.watchdog.progress()

    def _divide(self, unsettled: InFlightRequest, verdict: Verdict) -> bool:
        """Close in on the record that the service refuses; alone it is dead."""
        request = unsettled.request
        if request.n_records > 1:
            first, second = halves(request.n_records)
            rest = request.subset(second)
            with self._lock:  # what is in neither half would be taken for settled
                unsettled.keep(first)
                unsettled.second_half = rest
            return False
        self._remarks.refused(request.event_of(0), request.n_bytes_of(0), verdict.reason)
        if self._lost is not None:
            self._lost.refused(request.event_at(0), verdict.reason)
        self._tools.stats.dead(1)
        return True

    # --- the end ---

    def _end(self) -> None:
        with self._lock:
            self._is_over = True

    def _release_unsettled(self) -> int:
        self._end()
        n_records = 0
        while self._ready:
            unsettled = self._ready.popleft()
            n_records += unsettled.request.n_records
            unsettled.release()
        return n_records

    def _count_unread(self) -> int:
        try:
            n_records = self._stream.count_rest()
            self._tools.stats.encoded(self._stream.take_tally(), counted=self._counted)
            return n_records
        finally:
            self._stream.close()


def begin(
    tools: DeliveryContext,
    chunk: Chunk,
    tag: str,
    *,
    counted: bool,
    settled: bytes | None = None,
    on_settled: Callable[[Delivery], None] | None = None,
) -> Delivery:
    """Make the delivery of a chunk; the watchdog hears of it, and is to hear of its end.

    Args:
        tools: what to work with.
        chunk: bytes-like, unchanged until the delivery has ended.
        tag: names it.
        counted: as for `Delivery`.
        settled: a bit for each event that needs no sending; None: all do.
        on_settled: as for `Delivery`.

    Raises:
        TypeError: the chunk is not bytes-like.
    """
    letters = tools.letters
    stream = tools.encoder.requests(
        chunk,
        max_lanes=tools.max_in_flight,
        settled=settled,
        keep_skipped=letters is not None,
    )
    try:
        lost = (
            ChunkLetters(letters, tools.encoder.span, chunk, tag) if letters is not None else None
        )
        delivery = Delivery(stream, tools, tag, lost, counted=counted, on_settled=on_settled)
        tools.watchdog.begin()
    except BaseException:
        stream.close()
        raise
    return delivery


def _describe(verdict: Verdict, attempts: int) -> str:
    times = "once" if attempts == 1 else f"{attempts} times"
    hint = f" ({verdict.hint})" if verdict.hint else ""
    return f"tried {times}: {printable(verdict.reason, MAX_REASON)}{hint}"
