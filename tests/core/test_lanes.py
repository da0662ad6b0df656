"""Lanes of partition keys, requests reduced in place, events that are already settled."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import pytest
from chunks import chunk_names, chunk_of, event, load_chunk, old_event, output_config
from encoded import drain, entries_of, requests_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinesis_fast import RecordEncoder
from kinesis_fast._core.request import Request
from kinesis_fast._core.request_stream import RequestStream

KEYED = {"partition_key": "k"}
BAD = b"\x92\x92\x00\x80\x07"  # the body is not a map


def keyed_chunk(n: int, seed: int = 0, n_keys: int = 30) -> bytes:
    rng = Random(seed)
    return chunk_of({"n": i, "k": f"key-{rng.randrange(n_keys)}"} for i in range(n))


def stream_of(chunk: bytes, max_lanes: int, **more: Any) -> RequestStream:
    return RecordEncoder(output_config(KEYED)).requests(chunk, max_lanes=max_lanes, **more)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 4000), max_lanes=st.integers(1, 32), seed=st.integers(0, 1000))
@example(n=2000, max_lanes=4, seed=0)
def test_lanes_share_out_the_records(n: int, max_lanes: int, seed: int) -> None:
    chunk = keyed_chunk(n, seed)
    whole = drain(chunk, output_config(KEYED)).entries
    lanes: dict[str, set[int]] = {}
    found = []
    for request in stream_of(chunk, max_lanes):
        for entry in entries_of(request):
            lanes.setdefault(entry.partition_key, set()).add(request.lane)
            found.append(entry)
    assert sorted(found) == sorted(whole)
    assert all(len(of_key) == 1 for of_key in lanes.values())
    assert {lane for of_key in lanes.values() for lane in of_key} <= set(
        range(max(1, min(max_lanes, n // 500)))
    )
    for key in lanes:
        events = [entry.event for entry in found if entry.partition_key == key]
        assert events == sorted(events)


@pytest.mark.parametrize("max_open", [1, 2, 5])
def test_no_more_lanes_are_open_than_allowed(max_open: int) -> None:
    stream = stream_of(keyed_chunk(6000), 8)
    assert stream.n_lanes == 8
    n = 0
    while True:
        request = stream.take(max_open)
        assert stream.n_open <= max_open
        if request is None:
            assert stream.n_open == max_open
            break
        n += request.n_records
    assert not stream.is_exhausted
    rest = list(stream)
    assert n + sum(request.n_records for request in rest) == 6000
    assert stream.is_exhausted


def test_random_keys_have_no_lane() -> None:
    stream = RecordEncoder(output_config()).requests(keyed_chunk(3000), max_lanes=4)
    assert stream.n_lanes == 1
    assert {request.lane for request in stream} == {-1}


@pytest.mark.parametrize("max_lanes", [0, 33])
def test_an_impossible_number_of_lanes_is_rejected(max_lanes: int) -> None:
    with pytest.raises(ValueError, match="1 to 32"):
        stream_of(b"", max_lanes)


def test_a_stream_that_ends_early_counts_what_its_lanes_hold() -> None:
    stream = stream_of(keyed_chunk(3000) + BAD, 4)
    taken = next(stream).n_records
    assert stream.count_rest() == 3001 - taken
    assert stream.is_exhausted
    assert list(stream) == []


# --- retain ---


@settings(max_examples=100, deadline=None)
@given(kept=st.sets(st.integers(0, 299), min_size=1))
@example(kept={1, 7, 299})
def test_retain_is_subset_in_place(kept: set[int]) -> None:
    (request,) = requests_of(keyed_chunk(300), output_config(KEYED))
    expected = request.subset(sorted(kept))
    request.retain(sorted(kept))
    assert bytes(request.body) == bytes(expected.body)
    assert entries_of(request) == entries_of(expected)
    assert (request.n_records, request.n_bytes) == (expected.n_records, expected.n_bytes)
    assert [request.events_of(i)[0][1] for i in range(len(kept))] == [
        expected.events_of(i)[0][1] for i in range(len(kept))
    ]


@settings(max_examples=100, deadline=None)
@given(
    with_key=st.lists(st.booleans(), min_size=1, max_size=300),
    kept=st.sets(st.integers(0, 299)),
    is_subset=st.booleans(),
)
@example(with_key=[True, False] * 150, kept={1, 2, 3, 299}, is_subset=False)
def test_only_random_keys_are_renewed(
    with_key: list[bool], kept: set[int], is_subset: bool
) -> None:
    chunk = chunk_of({"n": i, **({"k": f'"{i}"'} if has else {})} for i, has in enumerate(with_key))
    (request,) = requests_of(chunk, output_config(KEYED))
    before = entries_of(request)
    indexes = sorted(i for i in kept if i < len(with_key)) or [0]
    if is_subset:
        request = request.subset(indexes)
    else:
        request.retain(indexes)
    keys = [entry.partition_key for entry in entries_of(request)]
    request.renew_random_keys()
    after = entries_of(request)
    assert [e._replace(partition_key="") for e in after] == [
        before[i]._replace(partition_key="") for i in indexes
    ]
    for place, index in enumerate(indexes):
        assert request.has_random_key(place) is not with_key[index]
        assert keys[place] == before[index].partition_key
        assert (after[place].partition_key == keys[place]) is with_key[index]
        assert with_key[index] or re.fullmatch("[a-zA-Z0-9]{8}", after[place].partition_key)
    assert request.n_bytes == sum(request.n_bytes_of(i) for i in range(len(indexes)))


def test_renewed_keys_do_not_repeat() -> None:
    (request,) = requests_of(keyed_chunk(500), output_config())
    parts = [request, request.subset(range(500)), request.subset(range(500))]
    keys = {entry.partition_key for entry in entries_of(request)}
    for _ in range(3):
        for part in parts:
            part.renew_random_keys()
            keys |= {entry.partition_key for entry in entries_of(part)}
    assert len(keys) == 10 * 500


def test_keys_are_not_renewed_while_a_view_is_alive() -> None:
    (request,) = requests_of(keyed_chunk(20), output_config())
    with request.body as body:
        before = bytes(body)
        with pytest.raises(BufferError):
            request.renew_random_keys()
        assert bytes(body) == before
    request.renew_random_keys()
    request.release()
    with pytest.raises(ValueError, match="released"):
        request.renew_random_keys()


def one_request() -> Request:
    return next(requests_of(keyed_chunk(20), output_config(KEYED)))


@pytest.mark.parametrize("indexes", [[3, 2], [1, 1], []])
def test_retain_rejects_wrong_indexes(indexes: list[int]) -> None:
    request = one_request()
    with pytest.raises(ValueError, match=r"ascend|0 indexes"):
        request.retain(indexes)
    with pytest.raises(IndexError):
        request.retain([0, 20])
    assert request.n_records == 20


def test_retain_is_refused_while_a_view_is_alive() -> None:
    request = one_request()
    with request.body, pytest.raises(BufferError):
        request.retain([0])
    request.retain([0])
    request.release()
    with pytest.raises(ValueError, match="released"):
        request.retain([0])


# --- events that are settled ---


def bits_of(events: set[int], n: int) -> bytes:
    bits = bytearray((n + 7) // 8)
    for number in events:
        bits[number >> 3] |= 1 << (number & 7)
    return bytes(bits)


@settings(max_examples=60, deadline=None)
@given(
    settled=st.sets(st.integers(0, 799)),
    n_bits=st.integers(0, 900),
    max_lanes=st.sampled_from([1, 4]),
)
@example(settled={0, 9, 799}, n_bits=800, max_lanes=1)
def test_settled_events_are_left_out(settled: set[int], n_bits: int, max_lanes: int) -> None:
    settled = {number for number in settled if number < n_bits}
    chunk = keyed_chunk(800)
    stream = stream_of(chunk, max_lanes, settled=bits_of(settled, n_bits))
    events = sorted(entry.event for request in stream for entry in entries_of(request))
    assert events == sorted(set(range(800)) - settled)
    tally = stream.take_tally()
    assert (tally.records, tally.resumed) == (800 - len(settled), len(settled))
    rest = stream_of(chunk, max_lanes, settled=bits_of(settled, n_bits))
    assert rest.count_rest() == 800 - len(settled)


def marked(requests: list[Request], *indexes: int) -> bytearray:
    """The bits of the events of all entries but these of the first request."""
    bits = bytearray()
    for kept, request in zip([indexes, *[()] * len(requests)], requests, strict=False):
        request.mark_events(bits, kept)
    return bits


@pytest.mark.parametrize("n_taken", [0, 1, 2, 5])
@pytest.mark.parametrize("max_lanes", [1, 3])
def test_the_marks_of_requests_and_skips_are_what_needs_no_sending(
    n_taken: int, max_lanes: int
) -> None:
    chunk = BAD + keyed_chunk(1600) + BAD + keyed_chunk(400, 1) + b"\xc1"
    earlier = {5, 1900, 2002}
    stream = stream_of(chunk, max_lanes, settled=bits_of(earlier, 2003))
    requests = [request for _, request in zip(range(n_taken), stream, strict=False)]
    bits = marked(requests)
    stream.mark_skipped(bits)
    taken = {request.events_of(i)[0][0] for request in requests for i in range(request.n_records)}
    skipped = {event for event in (0, 1601, *earlier) if event < stream.n_events}
    assert bits == bytearray(bits_of(taken | skipped, 8 * len(bits)))
    rest = stream_of(chunk, 1, settled=bytes(bits))
    left = {r.events_of(i)[0][0] for r in rest for i in range(r.n_records)}
    everything = {r.events_of(i)[0][0] for r in stream_of(chunk, 1) for i in range(r.n_records)}
    assert left == everything - taken - skipped


def test_marks_of_a_whole_chunk_are_all_its_events() -> None:
    chunk = keyed_chunk(3000) + BAD + b"\xc1"
    stream = stream_of(chunk, 4)
    bits = marked(list(stream))
    stream.mark_skipped(bits)
    assert stream.n_events == 3002
    assert int.from_bytes(bits, "little").bit_count() == 3002


def test_kept_entries_are_not_marked() -> None:
    request = one_request()
    everything = {request.events_of(i)[0][0] for i in range(request.n_records)}
    kept = [1, request.n_records - 1]
    bits = bytearray(b"\0")
    n_new, n_bytes = request.mark_events(bits, kept)
    assert n_new == request.n_records - 2
    assert request.mark_events(bits, kept) == (0, 0)
    marks = {i for i in range(8 * len(bits)) if bits[i >> 3] >> (i & 7) & 1}
    assert marks == everything - {request.events_of(i)[0][0] for i in kept}
    assert n_bytes == request.n_bytes - sum(map(request.n_bytes_of, kept))
    with pytest.raises(IndexError):
        request.mark_events(bits, [request.n_records])


def test_the_record_that_did_not_fit_is_not_settled() -> None:
    """The stream has already read and encoded it when it returns the full request."""
    chunk = event({"log": "x" * 1_000_000}) * 8
    stream = requests_of(chunk, output_config())
    request = next(stream)
    bits = marked([request])
    stream.mark_skipped(bits)
    left = RecordEncoder(output_config()).count(chunk, bytes(bits))
    assert (request.n_records, left) == (5, 3)


@pytest.mark.parametrize("name", chunk_names())
def test_resumed_at_every_request(name: str) -> None:
    config = output_config()
    chunk = load_chunk(name)
    whole = drain(chunk, config).entries
    stream = requests_of(chunk, config)
    bits = bytearray()
    for request in stream:
        request.mark_events(bits)
        stream.mark_skipped(bits)
        rest = RecordEncoder(config)._core.requests(chunk, now_ns=0, seed=0, settled=bytes(bits))
        left = [entry.data for part in rest for entry in entries_of(part)]
        n_taken = request.events_of(request.n_records - 1)[0][0]
        assert left == [entry.data for entry in whole if entry.event > n_taken]
        break


# --- events that were skipped ---


def test_skipped_events_are_reported() -> None:
    good = event({"k": "x"}, 1_790_000_000)
    no_map = b"\x92\x92\x05\x80\x07"
    chunk = good + no_map + good + b"\x92\x92\x05"
    stream = RecordEncoder(output_config()).requests(chunk, keep_skipped=True)
    list(stream)
    found = stream.take_skipped()
    first = len(good)
    assert found == [
        ("skipped_not_map", first, first + 5, 5 * 10**9),
        ("skipped_malformed", len(chunk) - 3, len(chunk), -1),
    ]
    assert stream.take_skipped() == []


def test_skipped_events_are_reported_only_on_request() -> None:
    stream = RecordEncoder(output_config()).requests(BAD)
    assert list(stream) == []
    assert stream.take_skipped() == []
    assert stream.take_tally().skipped_not_map == 1


def test_the_place_of_an_event() -> None:
    chunk = BAD + keyed_chunk(10)
    (request,) = stream_of(chunk, 1)
    for i in range(10):
        (again,) = stream_of(chunk[request.events_of(i)[0][1] :], 1)
        assert json.loads(again.entry(0)) == json.loads(request.entry(i))


def test_a_skipped_event_of_a_far_year_has_its_time() -> None:
    """From the year 2262 on, nanoseconds since 1970 need more than 64 bits."""
    for seconds in (9_223_372_036, 9_223_372_037, 10**10, 253_402_300_799):
        stream = RecordEncoder(output_config()).requests(
            old_event("no map", seconds), keep_skipped=True
        )
        assert list(stream) == []
        assert [time_ns for *_, time_ns in stream.take_skipped()] == [seconds * 10**9]
