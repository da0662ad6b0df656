"""A service and a clock that do as a test tells them."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kinesis_fast.delivery.context import Timing
from kinesis_fast.transport import Response

THROTTLED: Final = "ProvisionedThroughputExceededException"
INTERNAL: Final = "InternalFailure"


class Answer(NamedTuple):
    """What the service does with a request: what it says and which entries it keeps."""

    says: Response | BaseException
    keeps: Sequence[int] = ()


Step = Callable[[list[bytes]], Answer]


def accept(records: list[bytes]) -> Answer:
    """Accept every entry."""
    return Answer(entries_answer([None] * len(records)), range(len(records)))


def fail(*indexes: int, code: str = THROTTLED) -> Step:
    """Return a step that accepts all entries but these."""
    return fail_with(dict.fromkeys(indexes, code))


def fail_with(codes: Mapping[int, str]) -> Step:
    """Return a step that refuses some entries, each with its code."""

    def step(records: list[bytes]) -> Answer:
        said = [codes.get(index) for index in range(len(records))]
        return Answer(entries_answer(said), [i for i, code in enumerate(said) if code is None])

    return step


def fail_all(code: str = THROTTLED) -> Step:
    """Return a step that refuses every entry."""
    return lambda records: Answer(entries_answer([code] * len(records)))


def error(status: int, code: str, message: str = "because") -> Step:
    """Return a step that refuses the whole request as the JSON 1.1 protocol does."""
    return raw(json.dumps({"__type": code, "message": message}).encode(), status)


def raw(body: bytes, status: int = 200, keep: bool = False) -> Step:
    """Return a step that answers with any bytes, keeping all entries or none."""
    return lambda records: Answer(
        Response(status, {"Content-Type": "application/x-amz-json-1.1"}, body),
        range(len(records)) if keep else (),
    )


def raise_it(exception: BaseException) -> Step:
    """Return a step that gives no answer."""
    return lambda _: Answer(exception)


def refuse_if(is_bad: Callable[[bytes], bool], code: str = "ValidationException") -> Step:
    """Return a step that refuses the content of any request with a bad record in it."""

    def step(records: list[bytes]) -> Answer:
        if any(map(is_bad, records)):
            return error(400, code, "1 validation error detected: at 'records'")(records)
        return accept(records)

    return step


def entries_answer(
    codes: Sequence[str | None], separators: tuple[str, str] = (",", ":")
) -> Response:
    """Return the answer to a request whose entries failed with these codes (None: accepted)."""
    entries = [
        {"SequenceNumber": f"{index:056d}", "ShardId": "shardId-000000000000"}
        if code is None
        else {"ErrorCode": code, "ErrorMessage": f"{code} on shard 0"}
        for index, code in enumerate(codes)
    ]
    answer = {"FailedRecordCount": sum(c is not None for c in codes), "Records": entries}
    return Response(200, {}, json.dumps(answer, separators=separators).encode())


class FakeTransport:
    """Answers with one step after the other, then always with the last argument.

    Args:
        steps: what to do with the first requests.
        then: what to do with all others.
    """

    def __init__(self, *steps: Step, then: Step = accept) -> None:
        self._steps = deque(steps)
        self._then = then
        self._lock = threading.Lock()
        self.requests: list[list[bytes]] = []  # the data of the entries of each request
        self.kept: list[bytes] = []  # what the service has
        self.timeouts: list[float | None] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Do the next step."""
        entries: list[dict[str, Any]] = json.loads(bytes(body))["Records"]
        assert len(entries) == n_records
        records = [b64decode(entry["Data"]) for entry in entries]
        with self._lock:
            step = self._steps.popleft() if self._steps else self._then
            self.requests.append(records)
            self.timeouts.append(timeout_s)
        answer = step(records)
        with self._lock:
            self.kept += [records[index] for index in answer.keeps]
        if isinstance(answer.says, BaseException):
            raise answer.says
        return answer.says

    @property
    def sizes(self) -> list[int]:
        """Return the number of entries of each request."""
        return list(map(len, self.requests))


class FakeTime:
    """A clock that moves by what a thread waits, at once, or only when told to.

    Args:
        chance: what `random` always returns.
        is_manual: whether a thread that waits goes on only after `advance`, or when it is notified.
    """

    def __init__(self, chance: float = 0.5, *, is_manual: bool = False) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self._chance = chance
        self._is_manual = is_manual
        self._waiting: list[threading.Condition] = []

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for condition in list(self._waiting):
            with condition:
                condition.notify_all()

    def timing(self) -> Timing:
        """Return what an output takes."""
        return Timing(lambda: self.now, self._wait, lambda: self._chance)

    def _wait(self, condition: threading.Condition, seconds: float) -> None:
        self.waits.append(seconds)
        if not self._is_manual:
            self.now += seconds
            condition.wait(0)
            return
        self._waiting.append(condition)
        try:
            condition.wait()
        finally:
            self._waiting.remove(condition)
