"""What an answer changes: counters, concurrency, watchdog, dead letters and the report.

All of it is booked here and nowhere else. An event is settled when its bit is set, and its bit is
set when the service has acknowledged the record, when the encoder has skipped the event, or when
the record is dead. Every event without a bit is sent again, whatever happened in between.
"""

import threading
from collections.abc import Callable, Iterable, Sequence

from kinesis_fast.delivery.chunk_letters import ChunkLetters
from kinesis_fast.delivery.chunk_report import ChunkReport
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.in_flight import InFlightRequest
from kinesis_fast.delivery.protocols import Chunk, Request, RequestStream
from kinesis_fast.delivery.refusals import Failure
from kinesis_fast.delivery.retry import Outcome, Verdict
from kinesis_fast.limits import DEFAULT_MAX_RECORD_BYTES
from kinesis_fast.logs import printable
from kinesis_fast.stats import ChunkAccount

MAX_TAG = 100  # characters in a log line


class Settlement:
    """Books one delivery of a chunk; the threads that deliver it may call any method.

    Args:
        context: what the delivery works with.
        chunk: bytes-like; looked at until `close`.
        tag: Fluent Bit's name for its source.
        account: the chunk's share in the counters.
        settled: a bit per event that needs no sending: bit i % 8 of byte i // 8 is event i. It
            belongs to the caller, and every event that is settled here is added to it at once.
    """

    def __init__(
        self,
        context: DeliveryContext,
        chunk: Chunk,
        tag: str,
        account: ChunkAccount,
        settled: bytearray,
    ) -> None:
        self._context = context
        self._chunk = chunk
        self._account = account
        self._before = bytes(settled)
        self._bits = settled
        self._lock = threading.Lock()
        self._n_accepted = 0  # records
        self.n_refusals = 0  # requests refused, or failed as suspects, since one was accepted
        self.tag = printable(tag, MAX_TAG)
        self._report = ChunkReport(context.log, self.tag, context.missing_keys)
        self._letters = None
        if context.dead_letters is not None:
            self._letters = ChunkLetters(context.dead_letters, context.encoder.span, chunk, tag)

    def name_events(self, name: Callable[[int], str]) -> None:
        """Set how log lines call the event of a number."""
        self._report.name_event = name

    def encoded(self, stream: RequestStream) -> None:
        """Book what the encoder found when it wrote a request."""
        tally, skipped, packing = stream.take_tally(), stream.take_skipped(), stream.take_packing()
        self._report.n_records += tally.records
        if tally.is_plain:
            self._account.encoded(tally.records, packing)
            return
        self._report.found(tally)
        if self._letters is not None:
            self._letters.skipped(skipped)
        with self._lock:
            stream.mark_skipped(self._bits)
        self._account.skipped(tally, packing)

    def attempted(self, in_flight: InFlightRequest) -> None:
        """Book that a request goes out."""
        self._account.attempted(in_flight.n_resent)

    def answered(self, in_flight: InFlightRequest, verdict: Verdict) -> bool:
        """Book the answer to a request. Returns whether all of its records are settled by it."""
        request = in_flight.request
        if verdict.codes and self._context.errors is not None:
            self._context.errors.count_errors(verdict.codes, of_entries=bool(verdict.failed))
        if not verdict.n_sent:
            self._account.not_attempted(in_flight.n_resent)
            return False
        in_flight.was_sent = True
        for _ in range(1, verdict.n_sent):  # over a new connection, or with another time
            self._account.attempted(request.n_records)
        if verdict.throttled:
            self._account.throttled()
            n_failed = len(verdict.failed) or request.n_entries
            self._context.concurrency.throttled(n_failed / request.n_entries)
        elif verdict.outcome is Outcome.SETTLED:
            self._context.concurrency.accepted()
        if verdict.outcome is Outcome.SETTLED:
            self._acknowledge(request, ())
            return True
        if verdict.outcome is Outcome.PARTIAL and len(verdict.failed) < request.n_entries:
            self._acknowledge(request, verdict.failed)
            in_flight.failure = None  # of what is left, nothing is known yet
            for index, reason in verdict.refused.items():
                if not is_aggregate(request, index):
                    self._bury(request, index, reason)
            return not verdict.again and not refused_aggregates(request, verdict)
        return verdict.outcome is Outcome.REFUSED and self._refused(in_flight, verdict)

    def _refused(self, in_flight: InFlightRequest, verdict: Verdict) -> bool:
        """Book a request whose content is refused. Returns whether its one record is dead.

        A service that refuses everything must not kill everything. So a record is dead only if
        another one was accepted since the refusal, of this chunk or, see `refusals`, of any other;
        or if it is larger than a stream takes unless its limit was raised.
        """
        request = in_flight.request
        if in_flight.refused_at is None:
            in_flight.refused_at = self._n_accepted
        is_blamed = self._n_accepted > in_flight.refused_at
        self.n_refusals = 0 if is_blamed else self.n_refusals + 1
        if not in_flight.is_single:
            return False
        is_blamed |= request.n_bytes_of(0) > DEFAULT_MAX_RECORD_BYTES
        if is_blamed or self._context.refusals.refused(self._event_of(request)):
            self._bury(request, 0, verdict.reason)
            return True
        return False

    def failed(self, in_flight: InFlightRequest, verdict: Verdict) -> Failure | None:
        """Take in that a request failed. Returns what is known of it.

        None when the failure says nothing about the request: it was throttled, or not sent.
        """
        if verdict.throttled or not verdict.n_sent:
            return None
        request, refusals = in_flight.request, self._context.refusals
        event = self._event_of(request)
        in_flight.failure = refusals.failed(event, request.n_records, in_flight.failure)
        self.n_refusals += in_flight.is_suspect
        return in_flight.failure

    def set_aside(self, in_flight: InFlightRequest, verdict: Verdict) -> None:
        """Take in that a request fails alone, and waits for the next delivery."""
        in_flight.is_set_aside = True
        request = in_flight.request
        if in_flight.is_single:
            ((event, _),) = request.events_of(0)
            self._report.fails(event, request.n_bytes_of(0), verdict.reason)

    def _event_of(self, request: Request) -> bytes:
        """Return the first event of a request."""
        _, start = request.events_of(0)[0]
        end, _ = self._context.encoder.span(self._chunk, start)
        return bytes(memoryview(self._chunk)[start:end])

    def without_aggregates(self, request: Request, indexes: Iterable[int]) -> list[Request]:
        """Encode the records of some entries once more, each of them as an entry of its own."""
        unwanted = bytearray(b"\xff") * (len(self._chunk) // 8 + 1)  # there is a byte per event
        for index in indexes:
            for event, _ in request.events_of(index):
                unwanted[event >> 3] &= ~(1 << (event & 7))
        return list(
            self._context.encoder.requests(
                self._chunk,
                max_lanes=self._context.max_in_flight,
                settled=bytes(unwanted),
                keep_skipped=False,
                alone=True,
                as_cbor=self._context.protocol.is_cbor,
            )
        )

    def settled_events(self) -> bytes:
        """Return the bits of the events that are settled by now."""
        with self._lock:
            return bytes(self._bits)

    def is_complete(self, stream: RequestStream) -> bool:
        """Tell whether every event that the stream has read is settled."""
        n_settled = int.from_bytes(self.settled_events(), "little").bit_count()
        return stream.is_exhausted and n_settled >= stream.n_events

    def close(self, *, is_complete: bool) -> int:
        """End this delivery; the account goes on. Returns how many records are not settled."""
        try:
            if not is_complete:
                count = self._context.encoder.count
                n_left = count(self._chunk, self.settled_events())
                self._account.correct(n_left, count(self._chunk, self._before))
            return self._account.n_pending
        finally:
            self._chunk = b""
            self._letters = None
            self._report.write()

    def _acknowledge(self, request: Request, failed: Sequence[int]) -> None:
        with self._lock:
            n_records, n_bytes = request.mark_events(self._bits, failed)
            self._n_accepted += n_records
            self.n_refusals = 0
        self._account.delivered(n_records, n_bytes)
        self._context.watchdog.progress()

    def _bury(self, request: Request, index: int, reason: str) -> None:
        """Book a record that the service refuses for good."""
        ((event, start),) = request.events_of(index)
        self._report.refused(event, request.n_bytes_of(index), reason)
        if self._letters is not None:
            self._letters.refused(start, reason)
        others = [other for other in range(request.n_entries) if other != index]
        with self._lock:
            n_records, _ = request.mark_events(self._bits, others)
        self._account.dead(n_records)


def is_aggregate(request: Request, index: int) -> bool:
    """Tell whether an entry stands for several records."""
    return len(request.events_of(index)) > 1


def refused_aggregates(request: Request, verdict: Verdict) -> list[int]:
    """Return the aggregates that the service refused beside entries that it did not refuse."""
    return [index for index in verdict.refused if is_aggregate(request, index)]
