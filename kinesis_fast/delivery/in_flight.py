"""One request on its way: sending it, what is left of it, its memory, and its retry budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Request
from kinesis_fast.delivery.refusals import Failure
from kinesis_fast.delivery.retry import Verdict, classify, classify_exception, halves, pause_s
from kinesis_fast.limits import RETRY_BUDGET_S
from kinesis_fast.transport import CBOR_TYPE, CborTransport, Response, Transport


@dataclass(eq=False)
class RetryBudget:
    """A permit for one in-flight request, with its retry budget.

    Attributes:
        retrying_s: seconds spent on retrying in this run, None before the first failure.
    """

    retrying_s: float | None = None

    def pace_s(self, context: DeliveryContext) -> float:
        """Return the seconds to wait before a request; above 0 when the stream takes little."""
        wait_s = context.concurrency.pause_s()
        if self.retrying_s is not None:
            self.retrying_s += wait_s
        return wait_s

    def pause_s(self, context: DeliveryContext, attempts: int, failed_s: float) -> float | None:
        """Return the seconds to wait before the next attempt; None: the budget is spent.

        All attempts and waits with this permit count, except the first attempt that failed: that
        one alone may have waited for its answer longer than the budget.

        Args:
            context: with the clock and the random numbers.
            attempts: attempts of the request since a part of it was accepted, at least 1.
            failed_s: seconds that the last one took.
        """
        self.retrying_s = 0.0 if self.retrying_s is None else self.retrying_s + failed_s
        wait_s = pause_s(attempts, self.retrying_s, context.timing.random)
        if wait_s is not None:
            self.retrying_s += wait_s
        return wait_s

    def spend(self, seconds: float) -> bool:
        """Spend time on a request that will be divided. Returns whether any is left."""
        self.retrying_s = (self.retrying_s or 0.0) + seconds
        return self.retrying_s <= RETRY_BUDGET_S


@dataclass(eq=False)
class InFlightRequest:
    """A request until it is settled; one thread at a time works with it.

    Attributes:
        request: what is left to send.
        n_attempts: how often it was sent, or the request that it is a part of.
        was_sent: whether it has been sent before.
        other_parts: the rest of a request that was divided.
        refused_at: how many records of the chunk were accepted when the service first refused the
            request that its records were in; None before.
        failure: what is known since it failed; None before.
        is_suspect: whether it fails while others are accepted; then it is divided, not tried again.
        gives_way: whether all others are sent before it.
        is_set_aside: whether it is not sent any more in this run.
    """

    request: Request
    n_attempts: int = 0
    was_sent: bool = False
    other_parts: list[Request] = field(default_factory=list)
    refused_at: int | None = None
    failure: Failure | None = None
    is_suspect: bool = False
    gives_way: bool = False
    is_set_aside: bool = False

    @property
    def is_single(self) -> bool:
        """Whether it cannot be divided any further."""
        return self.request.n_records == 1

    @property
    def n_resent(self) -> int:
        """Records that the next attempt sends again."""
        return self.request.n_records if self.was_sent else 0

    def send(self, context: DeliveryContext) -> Verdict:
        """Send it once and tell what came of it.

        A request that was sent before gets new random keys first: the shard of the old ones may be
        the one that is throttled. If the service turns out not to take CBOR, the request goes out
        once more, as JSON; that is one attempt.
        """
        if self.was_sent:
            self._renew_random_keys()
        self.n_attempts += 1
        n_before = 0
        while True:
            if self.request.is_cbor and not context.protocol.is_cbor:
                self._become_json()
            try:
                response = self._exchange(context)
            except Exception as error:
                verdict = classify_exception(error)
                break
            verdict = classify(response, self.request.n_entries)
            if verdict.is_astray:
                _reconnect(context.transport)
            if not self.request.is_cbor or context.protocol.counts(response, verdict):
                break
            n_before += verdict.n_sent
        return verdict._replace(n_sent=verdict.n_sent + n_before) if n_before else verdict

    def _exchange(self, context: DeliveryContext) -> Response:
        n_entries = self.request.n_entries
        body = self.request.body
        try:
            if self.request.is_cbor:
                transport = cast("CborTransport", context.transport)
                return transport.send(body, n_entries, context.timeout_s, CBOR_TYPE)
            return context.transport.send(body, n_entries, context.timeout_s)
        finally:
            # Frames of an exception may keep this view for long; released, it holds no memory.
            try:  # noqa: SIM105 (contextlib is three calls, of each request)
                body.release()
            except BufferError:
                pass

    def _become_json(self) -> None:
        whole = self.request
        self.request = whole.as_json()
        _release(whole)

    def keep(self, indexes: Sequence[int]) -> None:
        """Drop all entries but these; without new memory, unless a view of the body is in use."""
        try:
            self.request.retain(indexes)
        except BufferError:
            self._copy(indexes)

    def divide(self) -> None:
        """Cut it in two; `parts` returns the halves."""
        self._cut(*halves(self.request.n_entries))

    def split_off(self, share: float, position: float) -> None:
        """Cut a part out of it; `parts` returns that and the rest.

        Args:
            share: of its entries, above 0 and at most 1/2; it is at least one.
            position: of the part, from 0, the start, up to, not including, 1.
        """
        n_entries = self.request.n_entries
        n_part = max(1, int(n_entries * share))
        start = int(position * (n_entries - n_part + 1))
        part = range(start, start + n_part)
        self._cut(part, [index for index in range(n_entries) if index not in part])

    def _cut(self, first: Sequence[int], second: Sequence[int]) -> None:
        self.other_parts = [self.request.subset(second)]
        self.keep(first)

    def become(self, requests: Sequence[Request]) -> None:
        """Let other requests, at least one, stand for the same events; `parts` returns them."""
        _release(self.request)
        self.request, *self.other_parts = requests

    def parts(self) -> list["InFlightRequest"]:
        """Return this request and, if it was divided, each other part as one of its own."""
        requests, self.other_parts = self.other_parts, []
        others = (replace(self, request=part, other_parts=[], was_sent=True) for part in requests)
        return [self, *others]

    def _renew_random_keys(self) -> None:
        try:
            self.request.renew_random_keys()
        except BufferError:
            self._copy(range(self.request.n_entries))
            self.request.renew_random_keys()

    def _copy(self, indexes: Sequence[int]) -> None:
        """Move these entries into new memory, because a view of the old one is in use."""
        whole = self.request
        self.request = whole.subset(indexes)
        _release(whole)

    def release(self) -> None:
        """Give its memory back to the encoder."""
        _release(self.request)
        for part in self.other_parts:
            _release(part)


def _reconnect(transport: Transport) -> None:
    reconnect = getattr(transport, "reconnect", None)
    if reconnect is not None:
        reconnect()


def _release(request: Request) -> None:
    # A transport that kept a view keeps the memory; it returns when the view is collected.
    try:  # noqa: SIM105 (as above)
        request.release()
    except BufferError:
        pass
