"""A stream in memory behind the calls of a client of botocore, with a clock that a test moves."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from kinesis_fast.reading.shards import Timing

END_S = 10_000.0  # no test lasts that long
EPOCH = datetime(2026, 11, 27, tzinfo=UTC)


def client_error(code: str, operation: str = "GetRecords", status: int = 400) -> ClientError:
    """Return the exception of an error response."""
    response = {
        "Error": {"Code": code, "Message": "said the service."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation)


class FakeTime:
    """A clock; events that are due happen while something waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def timing(self) -> Timing:
        """Clock and waits, without chance."""
        return Timing(lambda: self.now, self.wait, lambda: 1.0)

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen later."""
        heapq.heappush(self._events, (seconds, len(self._events), event))

    def wait(self, seconds: float) -> None:
        """Move the clock."""
        assert seconds > 0
        assert self.now < END_S, "it waits for ever"
        self.waits.append(seconds)
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until


class FakeStream:
    """The service with one stream.

    Attributes:
        calls: the operations in their order, each with its parameters.
        failures: by operation, exceptions for the next calls; None lets a call pass.
        page_size: shards on a page of ListShards.
        n_empty: by shard, how many calls of GetRecords return nothing though records follow.
    """

    meta = SimpleNamespace(endpoint_url="http://127.0.0.1:1")

    def __init__(self, time: FakeTime, n_shards: int = 1) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failures: dict[str, deque[Exception | None]] = defaultdict(deque)
        self.page_size = 1000
        self.n_empty: dict[str, int] = defaultdict(int)
        self._time = time
        self._shards: dict[str, dict[str, Any]] = {}
        self._records: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for index in range(n_shards):
            self._add(index * 100, index * 100 + 99)

    def put(self, shard_id: str, data: bytes, key: str = "k") -> None:
        """Store a record."""
        assert "EndingSequenceNumber" not in self._shards[shard_id]["SequenceNumberRange"]
        self._records[shard_id].append(
            {
                "SequenceNumber": str(len(self._records[shard_id]) + 1),
                "PartitionKey": key,
                "Data": data,
                "ApproximateArrivalTimestamp": EPOCH + timedelta(seconds=self._time.now),
            }
        )

    def split(self, shard_id: str) -> tuple[str, str]:
        """Close a shard, and return its children."""
        first, last = self._close(shard_id)
        middle = (first + last) // 2
        return self._add(first, middle, shard_id), self._add(middle + 1, last, shard_id)

    def merge(self, left: str, right: str) -> str:
        """Close two shards, and return their child."""
        (first, _), (_, last) = self._close(left), self._close(right)
        return self._add(first, last, left, right)

    def remove(self, shard_id: str) -> None:
        """Forget a shard whose records are too old."""
        del self._shards[shard_id]

    def n_calls(self, operation: str) -> int:
        """Return how often an operation was called."""
        return sum(name == operation for name, _ in self.calls)

    def list_shards(self, **parameters: Any) -> dict[str, Any]:
        """Return a page."""
        self._called("ListShards", parameters)
        begin = int(parameters.get("NextToken", "0"))
        shards = list(self._shards.values())
        page: dict[str, Any] = {"Shards": shards[begin : begin + self.page_size]}
        if begin + self.page_size < len(shards):
            page["NextToken"] = str(begin + self.page_size)
        assert parameters.keys() in ({"StreamName"}, {"NextToken"})
        return page

    def get_shard_iterator(self, **parameters: Any) -> dict[str, Any]:
        """Return an iterator, the shard and an index."""
        self._called("GetShardIterator", parameters)
        records = self._records[parameters["ShardId"]]
        kind = parameters["ShardIteratorType"]
        index = {"TRIM_HORIZON": 0, "LATEST": len(records)}.get(kind, 0)
        if kind == "AFTER_SEQUENCE_NUMBER":
            index = int(parameters["StartingSequenceNumber"])
        elif kind == "AT_TIMESTAMP":
            since = parameters["Timestamp"]
            index = sum(record["ApproximateArrivalTimestamp"] < since for record in records)
        now = EPOCH + timedelta(seconds=self._time.now)
        headers = {"date": now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return {
            "ShardIterator": f"{parameters['ShardId']}:{index}",
            "ResponseMetadata": {"HTTPHeaders": headers},
        }

    def get_records(self, **parameters: Any) -> dict[str, Any]:
        """Return records from an iterator on."""
        self._called("GetRecords", parameters)
        shard_id, _, begin = parameters["ShardIterator"].rpartition(":")
        records = self._records[shard_id]
        found = records[int(begin) : int(begin) + parameters["Limit"]]
        if self.n_empty[shard_id] and found:
            self.n_empty[shard_id] -= 1
            found = []
        end = int(begin) + len(found)
        answer = {"Records": found, "MillisBehindLatest": 1000 * (len(records) - end)}
        is_closed = "EndingSequenceNumber" in self._shards[shard_id]["SequenceNumberRange"]
        if not (is_closed and end == len(records)):
            answer["NextShardIterator"] = f"{shard_id}:{end}"
        return answer

    def _called(self, operation: str, parameters: dict[str, Any]) -> None:
        self.calls.append((operation, parameters))
        if self.failures[operation] and (error := self.failures[operation].popleft()):
            raise error

    def _add(self, first: int, last: int, *parents: str) -> str:
        shard_id = f"shard-{len(self._records)}"
        self._records[shard_id] = []
        names = ("ParentShardId", "AdjacentParentShardId")
        self._shards[shard_id] = {
            "ShardId": shard_id,
            "HashKeyRange": {"StartingHashKey": str(first), "EndingHashKey": str(last)},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
            **dict(zip(names, parents, strict=False)),
        }
        return shard_id

    def _close(self, shard_id: str) -> tuple[int, int]:
        shard = self._shards[shard_id]
        shard["SequenceNumberRange"]["EndingSequenceNumber"] = str(len(self._records[shard_id]))
        keys = shard["HashKeyRange"]
        return int(keys["StartingHashKey"]), int(keys["EndingHashKey"])
