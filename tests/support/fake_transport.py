"""A transport and a clock that a test controls."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from kinesis_fast.condition import Condition
from kinesis_fast.delivery.context import Timing
from kinesis_fast.transport import Response

THROTTLED: Final = "ProvisionedThroughputExceededException"
INTERNAL: Final = "InternalFailure"


class Reply(NamedTuple):
    """What the service does with a request: its response, or the exception that the transport
    raises, and the indexes of the entries that it stores."""

    response: Response | BaseException
    stored: Sequence[int] = ()


Step = Callable[[list[bytes]], Reply]


def accept(records: list[bytes]) -> Reply:
    """Accept every entry."""
    return Reply(entries_answer([None] * len(records)), range(len(records)))


def fail(*indexes: int, code: str = THROTTLED) -> Step:
    """Return a step that accepts all entries but these."""
    return fail_with(dict.fromkeys(indexes, code))


def fail_with(codes: Mapping[int, str]) -> Step:
    """Return a step that refuses some entries, each with its code."""

    def step(records: list[bytes]) -> Reply:
        given = [codes.get(index) for index in range(len(records))]
        return Reply(entries_answer(given), [i for i, code in enumerate(given) if code is None])

    return step


def fail_all(code: str = THROTTLED) -> Step:
    """Return a step that refuses every entry."""
    return lambda records: Reply(entries_answer([code] * len(records)))


def error(status: int, code: str, message: str = "because") -> Step:
    """Return a step that refuses the whole request as the JSON 1.1 protocol does."""
    return raw(json.dumps({"__type": code, "message": message}).encode(), status)


def raw(body: bytes, status: int = 200) -> Step:
    """Return a step that responds with any bytes and stores nothing."""
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return lambda _: Reply(Response(status, headers, body))


def raise_it(exception: BaseException) -> Step:
    """Return a step without a response: the transport raises."""
    return lambda _: Reply(exception)


def refuse_if(is_bad: Callable[[bytes], bool], code: str = "ValidationException") -> Step:
    """Return a step that refuses every request in which a record is bad."""

    def step(records: list[bytes]) -> Reply:
        if any(map(is_bad, records)):
            return error(400, code, "1 validation error detected: at 'records'")(records)
        return accept(records)

    return step


def entries_answer(
    codes: Sequence[str | None], separators: tuple[str, str] = (",", ":")
) -> Response:
    """Return the response to a request whose entries failed with these codes (None: accepted)."""
    entries = [
        {"SequenceNumber": f"{index:056d}", "ShardId": "shardId-000000000000"}
        if code is None
        else {"ErrorCode": code, "ErrorMessage": f"{code} on shard 0"}
        for index, code in enumerate(codes)
    ]
    body = {"FailedRecordCount": sum(c is not None for c in codes), "Records": entries}
    return Response(200, {}, json.dumps(body, separators=separators).encode())


class FakeTransport:
    """A transport that takes one step per request.

    Args:
        steps: for the first requests, in order.
        then: for all requests after them.

    Attributes:
        requests: the data of the entries of each request.
        sent: the entries of each request, as they stand in its body.
        kept: the data of all entries that the service stored.
        timeouts: the time-out of each request, in seconds.
    """

    def __init__(self, *steps: Step, then: Step = accept) -> None:
        self._steps = deque(steps)
        self._then = then
        self._lock = threading.Lock()
        self.requests: list[list[bytes]] = []
        self.sent: list[list[dict[str, str]]] = []
        self.kept: list[bytes] = []
        self.timeouts: list[float | None] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Take the next step."""
        entries: list[dict[str, str]] = json.loads(bytes(body))["Records"]
        assert len(entries) == n_records
        records = [b64decode(entry["Data"]) for entry in entries]
        with self._lock:
            step = self._steps.popleft() if self._steps else self._then
            self.requests.append(records)
            self.sent.append(entries)
            self.timeouts.append(timeout_s)
        reply = step(records)
        with self._lock:
            self.kept += [records[index] for index in reply.stored]
        if isinstance(reply.response, BaseException):
            raise reply.response
        return reply.response

    @property
    def sizes(self) -> list[int]:
        """Return the number of entries of each request."""
        return list(map(len, self.requests))


class FakeTime:
    """A clock that moves by what a thread waits, at once, or only when a test moves it.

    Args:
        chance: what `random` always returns.
        is_manual: whether a thread that waits goes on only after `advance`, or when another thread
            notifies it.

    Attributes:
        now: the time, in seconds.
        waits: the length of each wait, in seconds. With `is_manual` a thread that stands in it is
            certain to notice the next `advance`.
    """

    def __init__(self, chance: float = 0.5, *, is_manual: bool = False) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self._chance = chance
        self._is_manual = is_manual
        self._waiting: list[Condition] = []

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for condition in list(self._waiting):
            with condition:
                condition.notify_all()

    def timing(self) -> Timing:
        """Return what an output takes."""
        return Timing(lambda: self.now, self._wait, lambda: self._chance)

    def _wait(self, condition: Condition, seconds: float) -> None:
        if not self._is_manual:
            self.waits.append(seconds)
            self.now += seconds
            condition.wait(0)
            return
        # `advance` must find the condition as soon as a test sees the wait.
        self._waiting.append(condition)
        self.waits.append(seconds)
        try:
            condition.wait()
        finally:
            self._waiting.remove(condition)
