"""Reads the shards of a stream: parents before their children, each in order, several in turn."""

import email.utils
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from kinesis_fast.delivery.retry import HINTS, PASSING_CODES, THROTTLE_CODES
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.limits import BACKGROUND_BACKOFF_BASE_S, BACKGROUND_BACKOFF_CAP_S
from kinesis_fast.reading.kcl import HashRange
from kinesis_fast.transport import NotSentError
from kinesis_fast.transport.errors import explain, stream_parameter
from kinesis_fast.transport.secrets import presentable

READ_LIMIT: Final = 10_000  # records; GetRecords: the most that a call may ask for
READ_PERIOD_S: Final = 0.25  # seconds between two calls for a shard; GetRecords: 5 a second
POLL_S: Final = 1.0  # seconds between two calls for a shard that has nothing new
MAX_DOUBLINGS: Final = 10  # of the backoff; its cap is reached long before
EXPIRED: Final = "ExpiredIteratorException"
PASSING_HERE: Final = {EXPIRED, "ResourceInUseException"}  # the stream is being created
SERVER_ERROR: Final = 500
NOT_ALLOWED: Final = ("AccessDenied", "AccessDeniedException", "NotAuthorized")
OPERATIONS: Final = ("GetRecords", "GetShardIterator", "ListShards")
ALLOW: Final = (
    "allow kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords on the stream for "
    "these credentials, and kms:Decrypt on the key of an encrypted stream"
)


class ReadError(KinesisFastError):
    """The stream cannot be read; the message says why and what to do."""


class Start(NamedTuple):
    """Where reading begins.

    Attributes:
        kind: TRIM_HORIZON (the oldest record), LATEST or AT_TIMESTAMP.
        time: of AT_TIMESTAMP.
    """

    kind: str
    time: datetime | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of GetShardIterator."""
        moment = {} if self.time is None else {"Timestamp": self.time}
        return {"ShardIteratorType": self.kind, **moment}


OLDEST: Final = Start("TRIM_HORIZON")
LATEST: Final = Start("LATEST")


class Shard(NamedTuple):
    """A shard as ListShards describes it."""

    id: str
    range: HashRange
    parents: frozenset[str]
    is_closed: bool


_NO_SHARD: Final = Shard("", HashRange(0, 0), frozenset(), False)


class Batch(NamedTuple):
    """The records that one call of GetRecords returned."""

    shard: Shard
    records: list[dict[str, Any]]


class Timing(NamedTuple):
    """Clock, waits and random numbers; a test passes its own.

    Attributes:
        clock: returns seconds that never go back.
        wait: waits for seconds. KeyboardInterrupt ends it.
        random: returns a number from 0 to 1.
    """

    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


@dataclass
class _Cursor:
    """How far one shard has been read."""

    shard: Shard
    start: Start
    iterator: str | None = None
    last_number: str | None = None  # sequence number of the last record that was read
    due_s: float = 0.0
    n_failures: int = 0  # in a row
    is_done: bool = False


_REAL_TIME: Final = Timing()


@dataclass
class StreamReader:
    """Reads a stream; memory holds two responses of GetRecords at most, of 10 MiB each.

    A shard begins when its parents have been read to their ends, so records of one partition key
    keep their order through splits and merges. Without `follow`, reading ends when all that was
    there has been read.

    Args:
        client: a client for Kinesis of botocore, without retries of its own.
        stream: name or ARN.
        start: where to begin. Shards that appear later are read from their beginning.
        shard_id: the only shard to read; None for all.
        follow: whether to go on with what arrives later.
        patience_s: seconds in which every request may fail before reading ends with an error.
        tell: gets a text once for each series of failures that are waited out.
        timing: clock and waits.
    """

    client: Any
    stream: str
    start: Start = OLDEST
    shard_id: str | None = None
    follow: bool = False
    patience_s: float = 60.0
    tell: Callable[[str], None] = lambda _text: None
    timing: Timing = _REAL_TIME
    _cursors: dict[str, _Cursor] = field(default_factory=dict, init=False)
    _last_success_s: float = field(default=0.0, init=False)
    _told: str = field(default="", init=False)  # of the series of failures that goes on

    def batches(self, limit: Callable[[], int] = lambda: READ_LIMIT) -> Iterator[Batch]:
        """Yield what is read.

        Args:
            limit: returns how many stored records the next call may ask for; at most 10,000.

        Raises:
            ReadError: the stream or the shard does not exist, access is denied, or requests failed
                for patience_s.
        """
        self._last_success_s = self.timing.clock()
        self._look_for_shards(self.start)
        while cursor := self._next():
            self._wait(cursor.due_s)
            try:
                batch = self._read(cursor, min(limit(), READ_LIMIT))
            except (ClientError, BotoCoreError, OSError) as error:
                self._failed(cursor, error)
                continue
            if batch.records:
                yield batch

    def _next(self) -> _Cursor | None:
        """Return the cursor that is due first, of those whose parents have been read."""
        ready = [cursor for cursor in self._cursors.values() if self._is_ready(cursor)]
        return min(ready, key=lambda cursor: cursor.due_s, default=None)

    def _is_ready(self, cursor: _Cursor) -> bool:
        parents = (self._cursors.get(parent) for parent in cursor.shard.parents)
        return not cursor.is_done and all(parent is None or parent.is_done for parent in parents)

    def _wait(self, until_s: float) -> None:
        seconds = until_s - self.timing.clock()
        if seconds > 0:
            self.timing.wait(seconds)

    def _look_for_shards(self, start: Start) -> None:
        """Add a cursor for each shard that has none."""
        shards = self._shards()
        for shard in shards:
            if self.shard_id in (None, shard.id) and shard.id not in self._cursors:
                # A closed shard has nothing that is latest.
                is_done = start == LATEST and shard.is_closed
                self._cursors[shard.id] = _Cursor(shard, start, is_done=is_done)
        if self.shard_id is not None and not self._cursors:
            known = ", ".join(shard.id for shard in shards)
            raise ReadError(f"the stream has no shard {self.shard_id!r}; its shards: {known}")

    def _shards(self) -> list[Shard]:
        """List all shards; a failure that may pass is waited out."""
        shards: list[Shard] = []
        target: dict[str, str] = stream_parameter(self.stream)
        while True:
            page = self._list(target)
            shards += map(_shard, page["Shards"])
            if not page.get("NextToken"):
                return shards
            target = {"NextToken": page["NextToken"]}  # the service refuses a name beside it

    def _list(self, target: dict[str, str]) -> dict[str, Any]:
        attempts = _Cursor(_NO_SHARD, OLDEST)
        while True:
            self._wait(attempts.due_s)
            try:
                page: dict[str, Any] = self.client.list_shards(**target)
            except (ClientError, BotoCoreError, OSError) as error:
                self._failed(attempts, error)
            else:
                self._succeeded(attempts)
                return page

    def _read(self, cursor: _Cursor, limit: int) -> Batch:
        if cursor.iterator is None:
            cursor.iterator = self._iterator(cursor)
        answer = self.client.get_records(ShardIterator=cursor.iterator, Limit=limit)
        self._succeeded(cursor)
        records = answer["Records"]
        if records:
            cursor.last_number = records[-1]["SequenceNumber"]
        cursor.iterator = answer.get("NextShardIterator")
        is_behind = bool(records or answer.get("MillisBehindLatest"))
        cursor.due_s = self.timing.clock() + (READ_PERIOD_S if is_behind else POLL_S)
        if cursor.iterator is None:
            cursor.is_done = True
            self._look_for_shards(OLDEST)  # its children, if they are new
        elif not is_behind:
            cursor.is_done = cursor.shard.is_closed or not self.follow
        return Batch(cursor.shard, records)

    def _iterator(self, cursor: _Cursor) -> str:
        """Return where to go on: behind the last record that was read, or at the start."""
        position = cursor.start.parameters
        if cursor.last_number is not None:
            position = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": cursor.last_number,
            }
        answer = self.client.get_shard_iterator(
            **stream_parameter(self.stream), ShardId=cursor.shard.id, **position
        )
        if cursor.start == LATEST:  # should the iterator expire, what arrives now is not skipped
            cursor.start = Start("AT_TIMESTAMP", _time_of(answer))
        return str(answer["ShardIterator"])

    def _succeeded(self, cursor: _Cursor) -> None:
        cursor.n_failures = 0
        self._told = ""
        self._last_success_s = self.timing.clock()

    def _failed(self, cursor: _Cursor, error: Exception) -> None:
        """Prepare another attempt, or raise ReadError."""
        is_expired = isinstance(error, ClientError) and _code(error) == EXPIRED
        if is_expired:
            cursor.iterator = None
            if not cursor.n_failures:
                cursor.n_failures = 1
                return
        text, may_pass = self._explained(error)
        now = self.timing.clock()
        if not may_pass:
            raise ReadError(text) from error
        if now - self._last_success_s > self.patience_s:
            raise ReadError(f"every request failed for {self.patience_s:.0f} s: {text}") from error
        if text != self._told:
            self._told = text
            self.tell(f"{text}; trying again")
        backoff = BACKGROUND_BACKOFF_BASE_S * 2 ** min(cursor.n_failures, MAX_DOUBLINGS)
        cursor.n_failures += 1
        cursor.due_s = now + min(backoff, BACKGROUND_BACKOFF_CAP_S) * (1 + self.timing.random()) / 2

    def _explained(self, error: Exception) -> tuple[str, bool]:
        """Return what to say about a failure, and whether it may pass."""
        if not (isinstance(error, ClientError) and error.operation_name in OPERATIONS):
            said = explain(error, self.client.meta.endpoint_url)  # the network, or credentials
            return str(said), not isinstance(said, NotSentError)
        code = _code(error)
        message = presentable(f"{code}: {error.response['Error'].get('Message', '')}").rstrip(" .:")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in THROTTLE_CODES:
            return f"{message}; each shard takes 5 reads and 2 MB a second from all readers", True
        if code in PASSING_CODES | PASSING_HERE or status >= SERVER_ERROR:
            return message, True
        hint = ALLOW if code in NOT_ALLOWED else HINTS.get(code, "")
        return f"{message}; {hint}" if hint else message, False


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _shard(described: dict[str, Any]) -> Shard:
    keys = described["HashKeyRange"]
    parents = (described.get("ParentShardId"), described.get("AdjacentParentShardId"))
    return Shard(
        described["ShardId"],
        HashRange(int(keys["StartingHashKey"]), int(keys["EndingHashKey"])),
        frozenset(filter(None, parents)),
        "EndingSequenceNumber" in described["SequenceNumberRange"],
    )


def _time_of(answer: dict[str, Any]) -> datetime:
    """Return the service's time; its clock, not ours, stamps the records."""
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return email.utils.parsedate_to_datetime(text)
    except ValueError:
        return datetime.now(UTC)
