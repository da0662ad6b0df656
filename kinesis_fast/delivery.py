"""One chunk on its way: what is not encoded yet, what is not acknowledged yet, when to stop."""

import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from kinesis_fast.limits import MAX_NESTING
from kinesis_fast.logs import Log, printable
from kinesis_fast.retry import (
    Outcome,
    Verdict,
    classify,
    classify_exception,
    halves,
    pause_s,
)
from kinesis_fast.stats import REMARKS, SKIP_REASONS, Stats
from kinesis_fast.transport import NotSentError, Transport
from kinesis_fast.watchdog import Watchdog

if TYPE_CHECKING:
    from kinesis_fast._core.tally import Tally

MAX_DEAD_LINES: Final = 10  # error lines about refused records per chunk; the rest is summed up
MAX_TAG, MAX_REASON = 100, 500  # characters in a log line

REMARK_TEXTS: Final = {
    "skipped_not_map": "skipped because the body of the event is no map",
    "skipped_too_deep": f"skipped because they nest deeper than {MAX_NESTING} levels",
    "skipped_no_log_key": "skipped because log_key is missing",
    "skipped_bad_key": "skipped because a key in them has no text (a map, an array)",
    "random_keys": "with a random partition key because the configured one is missing",
    "truncated": "cut to max_record_size",
}


class Request(Protocol):
    """A finished PutRecords request; see `kinesis_fast.encoder`."""

    @property
    def n_records(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def body(self) -> memoryview: ...
    def n_bytes_of(self, index: int, /) -> int: ...
    def event_of(self, index: int, /) -> int: ...
    def subset(self, indexes: Sequence[int], /) -> "Request": ...
    def release(self) -> None: ...


class RequestStream(Protocol):
    """The requests of one chunk, encoded one by one; see `kinesis_fast.encoder`."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Request: ...
    def take_tally(self) -> "Tally": ...
    def count_rest(self) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Timing:
    """Time and chance, so that a test can have its own.

    Attributes:
        clock: gives seconds that never go back.
        sleep: waits so many seconds between two attempts of a request.
        random: gives a float from 0 up to, not including, 1, for the length of the waits.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


REAL_TIME: Final = Timing()


@dataclass(frozen=True)
class Tools:
    """What all deliveries of an output work with.

    Attributes:
        transport: sends bodies.
        timeout_s: seconds for one request, None for no bound.
        stats: the account.
        watchdog: hears of progress and of failed attempts.
        timing: clock and waits.
        log: where lines about deliveries go.
    """

    transport: Transport
    timeout_s: float | None
    stats: Stats
    watchdog: Watchdog
    timing: Timing
    log: Log


@dataclass
class _Unsettled:
    """A request that is waiting for its acknowledgement."""

    request: Request
    was_sent: bool = False


class Delivery:
    """Owns what is left of a chunk: the rest of its stream and the requests that are not settled.

    Every delivery ends with exactly one of `finish`, `give_back`, `give_up` and `leave`, which
    release its memory.

    Args:
        stream: the chunk's requests; closed at the end.
        tools: what to work with.
        tag: names the chunk in log lines.
        counted: whether the records of the chunk stand in the account as pending already.
    """

    def __init__(self, stream: RequestStream, tools: Tools, tag: str, *, counted: bool) -> None:
        self._stream = stream
        self._tools = tools
        self._counted = counted
        self._unsettled: deque[_Unsettled] = deque()
        self._remarks: Counter[str] = Counter()
        self._malformed_at = -1
        self._n_refused = 0
        self._retrying_s: float | None = None  # spent in this run, None before the first failure
        self.tag = printable(tag, MAX_TAG)
        self.trouble = ""

    def run(self) -> bool:
        """Send until every record is settled, or until it is no use to go on for now.

        A further call goes on where this one stopped: nothing is encoded twice, and what was
        acknowledged is not sent again.

        Returns:
            Whether every record is settled. If not, `trouble` says why.

        Raises:
            SendFailureTimeout: the watchdog's time is up.
        """
        self._retrying_s = None
        while self._unsettled or self._encode_next():
            if not self._settle_first():
                return False
        return True

    def finish(self) -> None:
        """End a delivery that has settled everything."""
        self._stream.close()
        self._log_remarks()

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
        self._log_remarks()
        return n_encoded + n_unread

    def give_up(self) -> int:
        """End it: what is left of a chunk that was taken over is dead. Returns how many records."""
        stats = self._tools.stats
        n_encoded = self._release_unsettled()
        stats.dead(n_encoded)
        n_unread = self._count_unread()
        stats.dead(n_unread)
        self._log_remarks()
        return n_encoded + n_unread

    def leave(self) -> None:
        """End it: what is left of a chunk that was taken over stays pending for good."""
        self._release_unsettled()
        self._stream.close()
        self._log_remarks()

    def _encode_next(self) -> bool:
        request = next(self._stream, None)
        if request is not None:
            self._unsettled.append(_Unsettled(request))
        tally = self._stream.take_tally()
        self._tools.stats.encoded(tally, counted=self._counted)
        for name in (*SKIP_REASONS, *REMARKS):
            self._remarks[name] += getattr(tally, name)
        if tally.skipped_malformed:
            self._malformed_at = tally.malformed_at
        return request is not None

    def _settle_first(self) -> bool:
        """Send the first unsettled request until it is settled or cut in two, or give up."""
        timing = self._tools.timing
        attempts = 0
        while True:
            first = self._unsettled[0]
            started = timing.clock()
            verdict = self._attempt(first)
            attempts += 1
            if self._take_note(first.request, verdict):
                return True
            self._tools.watchdog.check()
            wait_s = None
            if verdict.outcome is not Outcome.BLOCKED:
                wait_s = self._pause_s(attempts, timing.clock() - started)
            if wait_s is None:
                self.trouble = _describe(verdict, attempts)
                return False
            reason = printable(verdict.reason, MAX_REASON)
            self._tools.log.debug(
                "chunk '%s': the next attempt in %.2f s: %s", self.tag, wait_s, reason
            )
            timing.sleep(wait_s)

    def _pause_s(self, attempts: int, failed_s: float) -> float | None:
        """Say how long to wait after an attempt that took so long and failed; None: stop here.

        All attempts and waits of this run count, but for the first that failed: it alone may have
        taken longer than there is to spend, waiting for an answer.
        """
        self._retrying_s = 0.0 if self._retrying_s is None else self._retrying_s + failed_s
        wait_s = pause_s(attempts, self._retrying_s, self._tools.timing.random)
        if wait_s is not None:
            self._retrying_s += wait_s
        return wait_s

    def _attempt(self, unsettled: _Unsettled) -> Verdict:
        request, tools = unsettled.request, self._tools
        n_resent = request.n_records if unsettled.was_sent else 0
        tools.stats.attempt(n_resent)
        body = request.body
        try:
            response = tools.transport.send(body, request.n_records, tools.timeout_s)
        except NotSentError as error:
            tools.stats.attempt_not_made(n_resent)
            return classify_exception(error)
        except Exception as error:
            verdict = classify_exception(error)
        else:
            verdict = classify(response, request.n_records)
        finally:
            # Frames of an exception may hold this view for long; released it holds nothing.
            with contextlib.suppress(BufferError):
                body.release()
        unsettled.was_sent = True
        if verdict.throttled:
            tools.stats.throttled()
        return verdict

    def _take_note(self, request: Request, verdict: Verdict) -> bool:
        """Draw the consequences of an attempt. False: what is left is to be sent again."""
        if verdict.outcome is Outcome.REFUSED:
            self._divide(request, verdict)
        elif verdict.outcome is Outcome.SETTLED or len(verdict.failed) in range(
            1, request.n_records
        ):
            self._settle(request, verdict.failed)
        return verdict.outcome in {Outcome.SETTLED, Outcome.REFUSED}

    def _settle(self, request: Request, failed: Sequence[int]) -> None:
        """Book the entries that were acknowledged; those that failed take the request's place."""
        rest = request.subset(failed) if failed else None
        n_records = request.n_records - len(failed)
        n_bytes = request.n_bytes - (rest.n_bytes if rest else 0)
        self._replace_first([rest] if rest else [])
        self._tools.stats.delivered(n_records, n_bytes)
        self._tools.watchdog.progress()

    def _divide(self, request: Request, verdict: Verdict) -> None:
        """Close in on the record that the service refuses; alone it is dead."""
        if request.n_records > 1:
            self._replace_first([request.subset(half) for half in halves(request.n_records)])
            return
        self._n_refused += 1
        if self._n_refused <= MAX_DEAD_LINES:
            self._tools.log.error(
                "event %d of chunk '%s' (%d bytes) is refused by the service and lost: %s",
                request.event_of(0),
                self.tag,
                request.n_bytes_of(0),
                printable(verdict.reason, MAX_REASON),
            )
        self._replace_first([])
        self._tools.stats.dead(1)

    def _replace_first(self, requests: Sequence[Request]) -> None:
        first = self._unsettled.popleft()
        self._unsettled.extendleft(_Unsettled(request, True) for request in reversed(requests))
        _release(first.request)

    def _release_unsettled(self) -> int:
        n_records = 0
        while self._unsettled:
            request = self._unsettled.popleft().request
            n_records += request.n_records
            _release(request)
        return n_records

    def _count_unread(self) -> int:
        try:
            return self._stream.count_rest()
        finally:
            self._stream.close()

    def _log_remarks(self) -> None:
        """Say once per chunk what happened to its records; sums, never a line per record."""
        remarks = list(self._describe_remarks())
        if remarks:
            self._tools.log.warning("chunk '%s': %s", self.tag, "; ".join(remarks))

    def _describe_remarks(self) -> Iterator[str]:
        for name, text in REMARK_TEXTS.items():
            if self._remarks[name]:
                yield f"records {text}: {self._remarks[name]}"
        if self._malformed_at >= 0:
            yield f"malformed or cut off from byte {self._malformed_at} on, the rest is skipped"
        if self._n_refused > MAX_DEAD_LINES:
            yield f"records refused by the service and lost: {self._n_refused}"


def _release(request: Request) -> None:
    # A transport that kept a view keeps the memory; it returns when the view is collected.
    with contextlib.suppress(BufferError):
        request.release()


def _describe(verdict: Verdict, attempts: int) -> str:
    times = "once" if attempts == 1 else f"{attempts} times"
    hint = f" ({verdict.hint})" if verdict.hint else ""
    return f"tried {times}: {printable(verdict.reason, MAX_REASON)}{hint}"
