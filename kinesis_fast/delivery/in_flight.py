"""A request until it is acknowledged: attempts, what is left of it, its memory."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Request
from kinesis_fast.delivery.retry import Outcome, Verdict, classify, classify_exception, pause_s
from kinesis_fast.transport import NotSentError


@dataclass(eq=False)
class RetryBudget:
    """Leave to have one request in flight.

    Attributes:
        retrying_s: seconds spent on retrying in this run, None before the first failure.
    """

    retrying_s: float | None = None

    def keep_pace(self, tools: DeliveryContext) -> None:
        """Wait before a request as the pace demands."""
        wait_s = tools.pace.pause_s()
        if wait_s:
            tools.timing.sleep(wait_s)
            if self.retrying_s is not None:
                self.retrying_s += wait_s

    def pause_s(self, tools: DeliveryContext, attempts: int, failed_s: float) -> float | None:
        """Say how long to wait after an attempt that took so long and failed; None: stop here.

        All attempts and waits of this run with this slot count, but for the first that failed: it
        alone may have taken longer than there is to spend, waiting for an answer.
        """
        self.retrying_s = 0.0 if self.retrying_s is None else self.retrying_s + failed_s
        wait_s = pause_s(attempts, self.retrying_s, tools.timing.random)
        if wait_s is not None:
            self.retrying_s += wait_s
        return wait_s


@dataclass(eq=False)
class InFlightRequest:
    """A request that is waiting for its acknowledgement; in the hands of one thread at a time."""

    request: Request
    was_sent: bool = False
    second_half: Request | None = None  # of a request that was divided

    def requests(self) -> list[Request]:
        """All that is left of it."""
        return [self.request] if self.second_half is None else [self.request, self.second_half]

    def parts(self) -> list["InFlightRequest"]:
        """This request, and its second half if it was divided, each on its own from now on."""
        if self.second_half is None:
            return [self]
        second, self.second_half = InFlightRequest(self.second_half, was_sent=True), None
        return [self, second]

    def attempt(self, tools: DeliveryContext) -> Verdict:
        """Send it once and see what came of it; statistics and pace hear of it."""
        n_records = self.request.n_records
        n_resent = n_records if self.was_sent else 0
        tools.stats.attempt(n_resent)
        body = self.request.body
        try:
            response = tools.transport.send(body, n_records, tools.timeout_s)
        except NotSentError as error:
            tools.stats.attempt_not_made(n_resent)
            return classify_exception(error)
        except Exception as error:
            verdict = classify_exception(error)
        else:
            verdict = classify(response, n_records)
        finally:
            # Frames of an exception may hold this view for long; released it holds nothing.
            with contextlib.suppress(BufferError):
                body.release()
        self.was_sent = True
        if verdict.throttled:
            tools.stats.throttled()
            tools.pace.throttled((len(verdict.failed) or n_records) / n_records)
        elif verdict.outcome is Outcome.SETTLED:
            tools.pace.accepted()
        return verdict

    def keep(self, indexes: Sequence[int]) -> None:
        """Drop all entries but these, within the memory there is if nobody looks at it."""
        try:
            self.request.retain(indexes)
        except BufferError:  # a transport that kept a view keeps the memory as it is
            whole = self.request
            self.request = whole.subset(indexes)
            _release(whole)

    def release(self) -> None:
        """Give its memory back."""
        _release(self.request)


def _release(request: Request) -> None:
    # A transport that kept a view keeps the memory; it returns when the view is collected.
    with contextlib.suppress(BufferError):
        request.release()
