"""What must hold for the requests of an output that aggregates or compresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from invariants import MAX_RECORDS, Limits, body_of
from oracle_entries import Sent, sent_of

from kinesis_fast._core.request import Request
from kinesis_fast._core.request_stream import RequestStream


def drained(stream: RequestStream, limits: Limits) -> list[Sent]:
    """Take all requests, check each, and return their entries in the order they were made."""
    lanes: dict[int, list[list[Sent]]] = {}
    for request in stream:
        sent = check_request(request, limits)
        lanes.setdefault(request.lane, []).append(sent)
        everything = range(request.n_entries)
        check_subset_of(request, everything)
        check_subset_of(request, everything[::-3])
        check_retained(request, everything[1::2] or everything)
        request.release()
    for requests in lanes.values():
        check_full(requests, limits)
    assert len(lanes) <= stream.n_lanes
    return [entry for requests in lanes.values() for sent in requests for entry in sent]


def check_request(request: Request, limits: Limits) -> list[Sent]:
    """Assert that a request is within its limits and agrees with its entries."""
    sent = sent_of(request)
    assert 1 <= len(sent) <= MAX_RECORDS
    assert request.n_entries == len(sent)
    assert request.n_records == sum(len(entry.events) for entry in sent)
    assert [request.n_bytes_of(i) for i in range(len(sent))] == [entry.n_bytes for entry in sent]
    assert request.n_bytes == sum(entry.n_bytes for entry in sent) <= limits.request
    assert max(entry.n_bytes for entry in sent) <= limits.record
    assert bytes(request.body) == body_of(map(request.entry, range(len(sent))))
    return sent


def check_subset_of(request: Request, indexes: Sequence[int]) -> None:
    """Assert that a subset holds the chosen entries with all their records."""
    part = request.subset(indexes)
    assert [part.events_of(i) for i in range(len(indexes))] == [
        request.events_of(i) for i in indexes
    ]
    assert part.n_records == sum(len(request.events_of(i)) for i in indexes)
    assert bytes(part.body) == body_of(request.entry(i) for i in indexes)


def check_retained(request: Request, indexes: Sequence[int]) -> None:
    """Assert that retain() keeps the chosen entries, and that only random keys are renewed."""
    kept = [sent_of(request)[i] for i in indexes]
    random = [request.has_random_key(i) for i in indexes]
    request.retain(indexes)
    assert sent_of(request) == kept
    request.renew_random_keys()
    for is_random, before, after in zip(random, kept, sent_of(request), strict=True):
        if not is_random:
            assert after == before
            continue
        assert after.partition_key != before.partition_key
        assert (after.events, after.hash_key) == (before.events, None)
        assert len(after.data) == len(before.data)


def check_full(requests: Iterable[Sequence[Sent]], limits: Limits) -> None:
    """Assert that no request of a lane was closed while the next entry still fitted into it."""
    sizes = [[entry.n_bytes for entry in sent] for sent in requests]
    for batch, following in pairwise(sizes):
        assert len(batch) == MAX_RECORDS or sum(batch) + following[0] > limits.request
