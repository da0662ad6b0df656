"""One chunk on its way: which thread writes a request, which sends one, and when they stop."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from kinesis_fast.condition import Condition
from kinesis_fast.delivery.chunk_report import MAX_REASON, described
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.in_flight import InFlightRequest, RetryBudget
from kinesis_fast.delivery.leader_followers import PATIENCE_S, LeaderFollowers
from kinesis_fast.delivery.protocols import Chunk, Request
from kinesis_fast.delivery.request_queue import RequestQueue
from kinesis_fast.delivery.retry import Outcome, Verdict
from kinesis_fast.delivery.settle import Settlement, refused_aggregates
from kinesis_fast.limits import MAX_ATTEMPTS, MAX_REFUSALS
from kinesis_fast.logs import printable
from kinesis_fast.stats import ChunkAccount

MAX_HALVINGS: Final = 9  # of a request, to the size of a part that is tried; 500 records to one
N_PROBES: Final = 2  # of MAX_ATTEMPTS, those that others get when a request has failed before

Job = Callable[[], None]


class ChunkDelivery:
    """Sends one chunk, once through; what is left is for another delivery of the same chunk.

    Several threads work on it: each takes a request that is written and sends it until it is
    settled, or writes the next one. So one request is written while others are in flight, and no
    request goes from thread to thread; `leader_followers` says which thread does what when.
    `settle` remembers which events are settled, so a request that gets lost here, because of an
    exception for instance, is sent again with the rest.

    Args:
        context: what to work with.
        chunk: bytes-like, unchanged until `close`.
        tag: Fluent Bit's name for its source.
        account: the chunk's share in the counters.
        settled: a bit for each event that needs no sending; see Settlement.
        on_settled: called with this delivery after each request that is settled, by any thread.

    Raises:
        TypeError: the chunk is not bytes-like.
    """

    def __init__(
        self,
        context: DeliveryContext,
        chunk: Chunk,
        tag: str,
        account: ChunkAccount,
        settled: bytearray,
        on_settled: Callable[["ChunkDelivery"], None] | None = None,
    ) -> None:
        self._context = context
        self._settlement = Settlement(context, chunk, tag, account, settled)
        self._on_settled = on_settled
        self._stream = stream = context.encoder.requests(
            chunk,
            max_lanes=context.max_in_flight,
            settled=bytes(settled),
            keep_skipped=context.dead_letters is not None,
            as_cbor=context.protocol.is_cbor,
        )
        self._lock = lock = threading.Lock()
        self._stopped = Condition(lock)
        self._workers = LeaderFollowers(lock, context.max_in_flight + 1)
        self._queue = RequestQueue(context.timing.random)
        self._sending: list[InFlightRequest] = []
        self._budgets = [RetryBudget() for _ in range(context.max_in_flight)]  # those not in use
        self._is_encoding = False
        self._waits_for_buffer = False  # a record waits until a request is settled
        self._is_stopped = False
        self._is_complete = False
        self._failure: BaseException | None = None
        self._doubt = (-1, 0)  # accepted records, and attempts in vain since, of several requests
        self._set_aside_reason = ""
        # Each lane may fill a buffer while others are in flight.
        self._max_buffers = context.max_in_flight + stream.n_lanes
        self.tag = self._settlement.tag
        self.failure_reason = ""
        self.is_refused = False  # it stopped because the service refuses its content
        self.is_isolated = False  # what is left fails alone, while other records are accepted

    def name_events(self, name: Callable[[int], str]) -> None:
        """Set how log lines call the event of a number; by its place in the chunk by default."""
        self._settlement.name_events(name)

    def run(self) -> bool:
        """Send until every record is settled, or until going on is pointless for now.

        When it returns or raises, no other thread is at work any more.

        Returns:
            Whether every record is settled. If not, `failure_reason` says why.

        Raises:
            SendFailureTimeout: the watchdog's time is up.
        """
        is_done = False
        try:
            is_done = self._work()
        finally:
            self._wait_for_workers(is_done)
        failure, self._failure = self._failure, None  # else its frames keep this object, in a cycle
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
        self.is_isolated = bool(self._set_aside_reason) and not self._is_stopped
        if self.is_isolated:
            self.failure_reason = f"{self._set_aside_reason}; other records are accepted"
        self._is_complete = self._settlement.is_complete(self._stream)
        return self._is_complete

    def stop(self) -> None:
        """Begin no more requests; `run` ends when those in flight have ended."""
        with self._lock:
            self._is_stopped = True
            self._workers.wake_all()
            self._stopped.notify_all()

    def settled_events(self) -> bytes:
        """Return a bit per event, as `settled`, at any time."""
        return self._settlement.settled_events()

    def close(self) -> int:
        """Let go of the chunk and of all memory.

        It waits for the threads once more: an exception may have kept `run` from that.

        Returns:
            The number of records that are not settled. They stay pending in the chunk's account.
        """
        try:
            self._wait_for_workers(is_done=False)
            return self._settlement.close(is_complete=self._is_complete)
        finally:
            self._stream.close()
            for in_flight in self._sending:
                in_flight.release()
            self._queue.release()

    # --- the threads ---

    def _work(self) -> bool:
        """Write and send until nothing is left for this thread. Returns False after a failure."""
        with self._lock:
            if not self._workers.join():
                return True
        try:
            while (job := self._next_job()) is not None:
                job()
            return True
        except BaseException as error:
            self._failure = self._failure or error
            self._is_stopped = True
            return False
        finally:
            with self._lock:
                self._workers.leave()

    def _next_job(self) -> Job | None:
        """Return what this thread is to do, None when there will be nothing more for it."""
        with self._lock:
            workers = self._workers
            workers.resign()
            while not self._is_stopped:
                wait_s: float | None = workers.s_until_lead()
                in_flight = self._first_ready()
                if in_flight is not None or self._may_encode():
                    if wait_s == 0:
                        workers.lead()
                        if in_flight is not None:
                            return self._begin_sending(in_flight)
                        self._is_encoding = True
                        return self._encode_next
                elif self._is_encoding:
                    wait_s = PATIENCE_S
                elif self._stream.is_exhausted:
                    return None
                else:
                    wait_s = None
                workers.follow(wait_s)
            return None

    def _first_ready(self) -> InFlightRequest | None:
        """Return the first request that may be sent now."""
        queue, sending = self._queue, self._sending
        if not (queue.has_ready or sending or self._is_encoding or self._may_encode()):
            queue.let_last_go()
        if not queue.has_ready or not self._budgets:
            return None
        if self._doubt[1] and any(in_flight.gives_way for in_flight in sending):
            return None  # that one shows first whether the service takes any
        if len(sending) >= self._context.concurrency.in_flight:
            return None
        return queue.first(sending)

    def _may_encode(self) -> bool:
        return not (
            self._is_encoding
            or self._waits_for_buffer
            or len(self._queue) + len(self._sending) >= self._max_buffers
            or self._stream.is_exhausted
        )

    def _begin_sending(self, in_flight: InFlightRequest) -> Job:
        self._queue.take(in_flight)
        self._sending.append(in_flight)
        return partial(self._send, in_flight, self._budgets.pop(), self._needs_help())

    def _needs_help(self) -> bool:
        """Tell whether a new thread has to start, in case this one waits long for its answer.

        A thread that makes more work possible does a part of it itself, and finds a watcher when
        it begins. So nothing else has to wake the others.
        """
        if self._workers.has_watcher or (self._first_ready() is None and not self._may_encode()):
            return False
        return self._workers.want_watcher()

    def _start_helper(self) -> None:
        try:
            self._context.threads.run(self._help)
        except RuntimeError as error:  # the system has no more threads: this one does everything
            self._context.log.debug("chunk '%s': no helping thread: %s", self.tag, error)
            with self._lock:
                self._workers.start_up()

    def _help(self) -> None:
        is_done = False
        try:
            with self._lock:
                self._workers.start_up()
            is_done = self._work()
        finally:
            # Once more: an exception in the last lines of _work must not leave the others waiting.
            if not is_done:
                self.stop()
            with self._lock:
                self._workers.leave()

    def _wait_for_workers(self, is_done: bool) -> None:
        """Wait for the other threads, even if interrupted: they read the host's memory."""
        while True:
            try:
                if not is_done:
                    self.stop()
                with self._lock:
                    self._workers.wait_for_all()
                    return
            except BaseException as error:  # KeyboardInterrupt, for instance
                self._failure = self._failure or error
                is_done = False

    # --- writing and sending requests ---

    def _encode_next(self) -> None:
        n_unsettled = len(self._queue) + len(self._sending)
        request: Request | None = None
        try:
            request = self._stream.take(self._max_buffers - n_unsettled)
        except StopIteration:
            pass
        finally:
            self._settlement.encoded(self._stream)
            with self._lock:
                self._is_encoding = False
                if request is not None:
                    self._queue.add(InFlightRequest(request))
                else:
                    n_now = len(self._queue) + len(self._sending)
                    self._waits_for_buffer = 0 < n_unsettled <= n_now

    def _send(self, in_flight: InFlightRequest, budget: RetryBudget, needs_help: bool) -> None:
        """Send a request until it is settled or divided, or until going on is pointless."""
        is_settled = False
        try:
            if needs_help:
                self._start_helper()
            wait_s = budget.pace_s(self._context)
            if wait_s:
                self._pause(wait_s)
            is_settled = self._settle(in_flight, budget)
        finally:
            with self._lock:
                self._sending.remove(in_flight)
                self._budgets.append(budget)
                self._waits_for_buffer = False
                if not is_settled:
                    self._queue.put_back(in_flight, self._settlement.n_refusals)
        if is_settled:
            in_flight.release()
            if self._on_settled is not None:
                self._on_settled(self)

    def _settle(self, in_flight: InFlightRequest, budget: RetryBudget) -> bool:
        """Send until every record is settled; False when it goes to the queue, or when all stop."""
        timing = self._context.timing
        # Attempts since a part of the request was accepted.
        in_vain = self._n_in_vain() if self._doubt[1] else 0
        while not self._is_stopped:
            started = timing.clock()
            n_entries = in_flight.request.n_entries
            self._settlement.attempted(in_flight)
            verdict = in_flight.send(self._context)
            if self._settlement.answered(in_flight, verdict):
                return True
            failed_s = timing.clock() - started
            if verdict.outcome is Outcome.REFUSED:
                self._close_in(in_flight, verdict, budget.spend(failed_s))
                return False
            if verdict.outcome is Outcome.PARTIAL and self._take_apart(in_flight, verdict):
                return False
            in_vain = 1 if in_flight.request.n_entries < n_entries else in_vain + 1
            if not self._may_go_on(in_flight, verdict, budget, in_vain, failed_s):
                return False
        return False

    def _take_apart(self, in_flight: InFlightRequest, verdict: Verdict) -> bool:
        """Keep what is to be sent again; refused aggregates become requests of single records.

        Returns whether there were any.
        """
        refused = refused_aggregates(in_flight.request, verdict)
        singles = self._settlement.without_aggregates(in_flight.request, refused) if refused else []
        if verdict.again:
            in_flight.keep(verdict.again)
            in_flight.other_parts = singles
        elif singles:
            in_flight.become(singles)
        return bool(refused)

    def _divide(self, in_flight: InFlightRequest) -> None:
        """Cut a request in two; an aggregate on its own becomes its records."""
        if in_flight.request.n_entries > 1:
            in_flight.divide()
        else:
            in_flight.become(self._settlement.without_aggregates(in_flight.request, [0]))

    def _may_go_on(
        self,
        in_flight: InFlightRequest,
        verdict: Verdict,
        budget: RetryBudget,
        in_vain: int,
        failed_s: float,
    ) -> bool:
        """Pause after a failed attempt; False when others are sent before it, or when all stop."""
        failure = self._settlement.failed(in_flight, verdict)
        if failure and in_flight.is_suspect:
            self._isolate(in_flight, verdict, budget.spend(failed_s))
            return False
        self._context.watchdog.check()
        is_blocked = verdict.outcome is Outcome.BLOCKED
        is_known = failure is not None and failure.n_before > 0
        is_doubted = is_known or (failure is not None and self._context.is_last_try)
        has_probes = is_doubted and not verdict.is_for_all and self._has_probes(in_flight)
        wait_s = None if is_blocked else budget.pause_s(self._context, in_vain, failed_s)
        if is_blocked and has_probes and in_vain <= N_PROBES:
            wait_s = 0.0
        may_divide = not in_flight.is_single and verdict.outcome is not Outcome.PARTIAL
        if failure and failure.is_to_blame and (wait_s is None or (is_known and may_divide)):
            self._isolate(in_flight, verdict, budget.spend(0.0))
            return False
        if has_probes and not is_blocked and in_vain < MAX_ATTEMPTS and budget.spend(0.0):
            wait_s = wait_s or 0.0  # there is no time for a pause, but for an attempt
        if wait_s is not None:
            reason = printable(verdict.reason, MAX_REASON)
            self._context.log.debug(
                "chunk '%s': next attempt in %.2f s: %s", self.tag, wait_s, reason
            )
        if wait_s is None or not self._pause(wait_s):
            end = "" if wait_s is None else "; close() ended the pause before the next attempt"
            reason = described(verdict, max(in_flight.n_attempts, in_vain)) + end
            self.failure_reason = self.failure_reason or reason
            self.stop()
            return False
        if has_probes and (is_blocked or in_vain >= MAX_ATTEMPTS - N_PROBES):
            self._give_way(in_flight, in_vain)
            return False
        return True

    def _n_in_vain(self) -> int:
        """Return the attempts in vain of those that gave way since a record was accepted."""
        n_delivered, in_vain = self._doubt
        return in_vain if n_delivered == self._context.stats.n_delivered() else 0

    def _has_probes(self, in_flight: InFlightRequest) -> bool:
        """Tell whether other requests, or its halves, can show if the service takes any."""
        return self._has_others() or not (in_flight.is_single or self._n_in_vain())

    def _give_way(self, in_flight: InFlightRequest, in_vain: int) -> None:
        """Let another request take the next attempt: a part of this one, at first."""
        if not (in_flight.is_single or self._n_in_vain()):
            self._split_off(in_flight)
        in_flight.gives_way = True
        self._doubt = (self._context.stats.n_delivered(), in_vain)

    def _split_off(self, in_flight: InFlightRequest) -> None:
        """Cut a part out of a request, the smaller, the more often the request failed.

        Each half of it may have a record that fails.
        """
        if in_flight.request.n_entries == 1:
            self._divide(in_flight)
            return
        n_before = max(1, in_flight.failure.n_before) if in_flight.failure else 1
        in_flight.split_off(0.5 ** min(n_before, MAX_HALVINGS), self._context.timing.random())

    def _isolate(self, in_flight: InFlightRequest, verdict: Verdict, has_time: bool) -> None:
        """Close in on the record that fails while others are accepted, and set it aside."""
        in_flight.is_suspect, in_flight.gives_way = True, False
        if has_time and verdict.outcome is not Outcome.PARTIAL and not in_flight.is_single:
            self._divide(in_flight)
        else:
            self._settlement.set_aside(in_flight, verdict)
            self._set_aside_reason = self._set_aside_reason or described(
                verdict, in_flight.n_attempts
            )
        if self._settlement.n_refusals >= (MAX_REFUSALS if has_time else N_PROBES):
            self.failure_reason = self.failure_reason or described(verdict, in_flight.n_attempts)
            self.stop()

    def _has_others(self) -> bool:
        """Tell whether there is another request than the one that is being sent."""
        return len(self._queue) + len(self._sending) > 1 or not self._stream.is_exhausted

    def _close_in(self, in_flight: InFlightRequest, verdict: Verdict, has_time: bool) -> None:
        """Close in on the record that is refused, or stop: the service may refuse everything."""
        is_alone = in_flight.is_single and not self._has_others()
        if not in_flight.is_single:
            self._divide(in_flight)
        if is_alone or not has_time or self._settlement.n_refusals >= MAX_REFUSALS:
            self.failure_reason = self.failure_reason or described(verdict, in_flight.n_attempts)
            self.is_refused = True
            self.stop()

    def _pause(self, wait_s: float) -> bool:
        """Wait between two attempts; `stop` ends it. Returns False when close() has ended it."""
        if not wait_s:
            return True
        with self._lock:
            return self._is_stopped or self._context.pauses.wait(self._stopped, wait_s)
