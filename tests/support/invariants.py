"""What must hold for the requests of any chunk, well-formed or not."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from encoded import Entry

from kinesis_fast._core.request import Request
from kinesis_fast._core.tally import Tally

MAX_RECORDS = 500
MAX_KEY_UNITS = 256
SUFFIX = b"[Truncated...]"


class Limits(NamedTuple):
    """Sizes in bytes of data plus partition key."""

    record: int
    request: int


def n_read(tally: Tally) -> int:
    """Return how many records a tally covers, as RecordEncoder.count() counts them."""
    return (
        tally.records
        + tally.skipped_not_map
        + tally.skipped_too_deep
        + tally.skipped_no_log_key
        + tally.skipped_bad_key
        + tally.skipped_malformed
        + tally.resumed
    )


def check_request(request: Request, limits: Limits) -> list[Entry]:
    """Assert that a request is well-formed, within the limits and consistent."""
    body = bytes(request.body)
    parsed = json.loads(body)
    assert parsed.keys() == {"Records", "StreamName"}
    records = parsed["Records"]
    assert 1 <= len(records) <= MAX_RECORDS
    assert request.n_records == request.n_entries == len(records)
    assert len(request) == len(body)
    assert request.n_bytes <= limits.request
    entries = [check_entry(request, i, record, limits) for i, record in enumerate(records)]
    assert body == body_of(map(request.entry, range(len(records))))
    assert request.n_bytes == sum(request.n_bytes_of(i) for i in range(len(records)))
    events = [entry.event for entry in entries]
    assert events == sorted(set(events)), "the events are out of order"
    return entries


def check_entry(request: Request, index: int, record: dict[str, str], limits: Limits) -> Entry:
    """Assert the same of one entry."""
    assert record.keys() == {"Data", "PartitionKey"}
    data, key = b64decode(record["Data"], validate=True), record["PartitionKey"]
    assert 1 <= len(key.encode("utf-16-le")) // 2 <= MAX_KEY_UNITS
    assert len(data) + len(key.encode()) == request.n_bytes_of(index)
    assert request.n_bytes_of(index) <= limits.record
    return Entry(request.events_of(index)[0][0], data, key)


def check_subset(request: Request, indexes: Sequence[int]) -> None:
    """Assert that a subset holds exactly the chosen entries."""
    part = request.subset(indexes)
    assert part.n_records == len(indexes)
    assert [part.entry(i) for i in range(len(indexes))] == [request.entry(i) for i in indexes]
    events = [part.events_of(i) for i in range(len(indexes))]
    assert events == [request.events_of(i) for i in indexes]
    assert part.n_bytes == sum(request.n_bytes_of(i) for i in indexes)
    assert bytes(part.body) == body_of(request.entry(i) for i in indexes)


def body_of(entries: Iterable[bytes]) -> bytes:
    """Return the body of a request for the stream of the tests."""
    return b'{"Records":[' + b",".join(entries) + b'],"StreamName":"logs"}'


def check_retained(request: Request, indexes: Sequence[int], limits: Limits) -> None:
    """Assert that retain() keeps exactly the chosen entries."""
    kept = [request.entry(i) for i in indexes]
    events = [request.events_of(i)[0][0] for i in indexes]
    request.retain(indexes)
    assert [request.entry(i) for i in range(request.n_records)] == kept
    assert [entry.event for entry in check_request(request, limits)] == events


def check_batches(requests: Sequence[Sequence[Entry]], limits: Limits) -> None:
    """Assert that no request of a lane was closed while the next record still fitted into it."""
    sizes = [[len(e.data) + len(e.partition_key.encode()) for e in batch] for batch in requests]
    for batch, following in pairwise(sizes):
        assert len(batch) == MAX_RECORDS or sum(batch) + following[0] > limits.request
    events = [entry.event for batch in requests for entry in batch]
    assert events == sorted(set(events)), "the events are out of order"
