"""Finding the events of a chunk: layouts, group markers, truncated and hostile bytes."""

from __future__ import annotations

import array
import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import pytest
import wire
from chunks import chunk_names, event, event_time, load_chunk, old_event, output_config, pack
from encoded import assert_as_oracle, data_of, drain, requests_of
from oracle import n_records, outcomes

from kinesis_fast import RecordEncoder

BODY = wire.mapping([(wire.string(b"a"), b"\x01")])
DATA = b'{"a":1}'
SECONDS = 1_700_000_000
DEPTHS = (1, 2, 127, 128, 129, 130, 200)
HUGE = 2**32 - 1


def counts_of(chunk: bytes, **options: str) -> dict[str, int]:
    return dict(drain(chunk, output_config(options)).tally)


def with_body(body: bytes) -> bytes:
    """Return an event with an encoded body."""
    return wire.array([wire.array([b"\x01", wire.mapping([])]), body])


# --- layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [wire.FIX, wire.W16, wire.W32])
@pytest.mark.parametrize(
    "moment", [b"\x01", wire.float64(1.5), wire.ext(0, bytes(8), wire.FIX), wire.ext(0, bytes(8))]
)
def test_both_layouts_in_every_width(moment: bytes, width: int) -> None:
    metadata = wire.mapping([(wire.string(b"m"), wire.array([b"\x01"], width))], width)
    old = wire.array([moment, BODY], width)
    new = wire.array([wire.array([moment, metadata], width), BODY], width)

    assert data_of(old + new + old) == [DATA] * 3


def test_metadata_may_be_anything() -> None:
    for metadata in (wire.NIL, wire.string(b"x"), wire.array([BODY]), b"\x91" * 1000 + wire.NIL):
        assert data_of(wire.array([wire.array([b"\x01", metadata]), BODY])) == [DATA]


@pytest.mark.parametrize("seconds", [-1, -2])
@pytest.mark.parametrize("make", [event, old_event])
def test_group_markers_are_not_records(make: Callable[..., bytes], seconds: int) -> None:
    marker = make({"resource": {}}, event_time(seconds))
    chunk = event({"a": 1}) + marker + event({"a": 1})

    drained = drain(chunk, output_config())

    assert [entry.event for entry in drained.entries] == [0, 2]
    assert drained.tally == {"records": 2, "group_markers": 1}
    assert RecordEncoder(output_config()).count(chunk) == 2


def test_a_group_marker_may_have_any_body_but_must_be_complete() -> None:
    marker = old_event("text", event_time(-1))

    assert counts_of(marker) == {"group_markers": 1}
    assert counts_of(marker[:-1]) == {"skipped_malformed": 1}


@pytest.mark.parametrize("moment", [-1, -2, -3, -1.0, event_time(-3), event_time(-(2**31))])
def test_other_negative_times_are_not_group_markers(moment: Any) -> None:
    assert counts_of(old_event({"a": 1}, moment) + event({"a": 1}, moment)) == {"records": 2}


@pytest.mark.parametrize(
    "odd",
    [
        wire.NIL,
        b"\x01",
        BODY,
        wire.array([]),
        wire.array([b"\x01"]),
        wire.array([b"\x01", BODY, BODY]),
        wire.array([wire.array([]), BODY]),
        wire.array([wire.array([b"\x01"]), BODY]),
        wire.array([wire.array([b"\x01", BODY, BODY]), BODY]),
        wire.NEVER_USED,
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_bytes_that_are_not_an_event_end_the_chunk(odd: bytes) -> None:
    chunk = old_event({"a": 1}) + odd + old_event({"a": 1})

    drained = drain(chunk, output_config())

    assert [entry.data for entry in drained.entries] == [DATA]
    assert drained.tally == {"records": 1, "skipped_malformed": 1}
    assert drained.malformed_at == len(old_event({"a": 1}))
    assert RecordEncoder(output_config()).count(chunk) == 2


@pytest.mark.parametrize("body", ["text", b"bin", 1, 1.5, None, True, [], [{"a": 1}]])
def test_a_body_that_is_not_a_map_is_skipped(body: Any) -> None:
    chunk = event(body) + event({"a": 1})

    assert counts_of(chunk) == {"records": 1, "skipped_not_map": 1}
    assert drain(chunk, output_config()).entries[0].event == 1


def test_an_extension_as_body_is_skipped() -> None:
    assert counts_of(with_body(wire.ext(5, b"abc"))) == {"skipped_not_map": 1}


def test_an_empty_chunk_has_no_requests() -> None:
    for empty in (b"", bytearray(), memoryview(b""), array.array("B")):
        assert list(requests_of(empty, output_config())) == []
        assert RecordEncoder(output_config()).count(memoryview(empty)) == 0


# --- truncated ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", chunk_names())
def test_every_truncation(name: str) -> None:
    """Complete records come out as from the whole chunk; the rest is one malformed tail."""
    chunk = load_chunk(name)[:2000]
    config = output_config()
    events = outcomes(chunk, config)
    ends = {event.end: event for event in events if event.counter != "skipped_malformed"}
    whole = [r.entry(i) for r in requests_of(chunk, config) for i in range(r.n_records)]
    n_whole = n_whole_records = start = 0
    encoder = RecordEncoder(config)

    for cut in range(len(chunk) + 1):
        if cut in ends:
            start = cut
            n_whole += ends[cut].counter != "group_markers"
            n_whole_records += ends[cut].is_record
        stream = encoder._core.requests(chunk[:cut], now_ns=0, seed=0)
        bodies = [bytes(request.body) for request in stream]
        tally = stream.take_tally()
        expected = b'{"Records":[' + b",".join(whole[:n_whole_records]) + b'],"StreamName":"logs"}'
        assert bodies == ([expected] if n_whole_records else []), cut
        assert tally.malformed_at == (-1 if cut == start else start), cut
        assert encoder.count(chunk[:cut]) == n_whole + (cut != start), cut


def test_every_truncation_of_every_form() -> None:
    forms = [
        wire.string(b"abc", wire.W32),
        wire.binary(b"abc", wire.W32),
        wire.ext(0, bytes(8), wire.W32),
        wire.ext(5, bytes(16), wire.FIX),
        wire.array([b"\x01"], wire.W32),
        wire.mapping([(wire.string(b"k"), b"\x01")], wire.W32),
        *wire.integer_forms(100),
        wire.float64(1.5),
        wire.float32_bits(1),
    ]
    for form in forms:
        chunk = with_body(wire.mapping([(wire.string(b"a"), form)]))
        assert counts_of(chunk) == {"records": 1}
        for cut in range(1, len(chunk)):
            for options in ({}, {"log_key": "a"}, {"data_keys": "b"}, {"partition_key": "a->k"}):
                assert counts_of(chunk[:cut], **options) == {"skipped_malformed": 1}, (form, cut)


@pytest.mark.parametrize("reason", ["not_map", "too_deep", "bad_key", "no_log_key"])
def test_a_truncated_event_is_malformed_whatever_else_is_wrong_with_it(reason: str) -> None:
    bodies = {
        "not_map": wire.array([b"\x01", b"\x02"]),
        "too_deep": wire.mapping([(b"\x01", b"\x91" * 128 + b"\x01"), (b"\x02", b"\x02")]),
        "bad_key": wire.mapping([(wire.array([]), b"\x01"), (b"\x02", b"\x02")]),
        "no_log_key": wire.mapping([(b"\x01", b"\x01"), (b"\x02", b"\x02")]),
    }
    options = {"log_key": "log"} if reason == "no_log_key" else {}
    chunk = with_body(bodies[reason])

    assert counts_of(chunk, **options) == {f"skipped_{reason}": 1}
    assert counts_of(chunk[:-1], **options) == {"skipped_malformed": 1}
    assert counts_of(chunk[:-1] + wire.NEVER_USED, **options) == {"skipped_malformed": 1}


# --- hostile ------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa1k", b"\xdd\x00\x00\x00\x01"])
def test_nesting_up_to_128_levels(level: bytes, depth: int) -> None:
    """The body itself is the first level; the innermost value here does not count as a level."""
    chunk = with_body(wire.mapping([(wire.string(b"log"), level * (depth - 1) + wire.NIL)]))
    expected = {"records": 1} if depth <= 128 else {"skipped_too_deep": 1}

    assert counts_of(chunk) == expected
    for options in ({"log_key": "log"}, {"data_keys": "log"}, {"replace_dots": "_"}):
        assert counts_of(chunk, **options) == expected
    for options in ({"data_keys": "x"}, {"time_key": "log"}, {"partition_key": "log->k"}):
        assert_as_oracle(chunk, output_config(options))


@pytest.mark.parametrize("empty", [b"\x80", b"\x90"])
def test_an_empty_container_is_a_level_too(empty: bytes) -> None:
    for depth, counter in ((127, "records"), (128, "skipped_too_deep")):
        chunk = with_body(wire.mapping([(wire.string(b"a"), b"\x91" * (depth - 1) + empty)]))
        assert counts_of(chunk) == {counter: 1}


@pytest.mark.parametrize("level", [b"\x91", b"\x81\x01", b"\x81"])
def test_a_million_levels(level: bytes) -> None:
    """b"\x81" alone nests through the keys of maps."""
    n_levels = 1_000_000
    bomb = level * n_levels + wire.NIL * (n_levels + 1 if level == b"\x81" else 1)
    good = event({"a": 1})

    assert counts_of(with_body(bomb) + good).keys() == {"records", counter_of(level)}
    in_map = with_body(wire.mapping([(wire.string(b"log"), bomb)])) + good
    reason = "skipped_bad_key" if level == b"\x81" else "skipped_too_deep"
    assert counts_of(in_map) == {"records": 1, reason: 1}
    assert counts_of(in_map, data_keys="a") == {"records": 2, "no_data_keys": 1}
    assert counts_of(wire.array([wire.array([b"\x01", bomb]), BODY]) + good) == {"records": 2}
    assert counts_of(bomb) == {"skipped_malformed": 1}
    assert counts_of(in_map[: n_levels // 2]) == {"skipped_malformed": 1}
    assert RecordEncoder(output_config()).count(in_map) == 2


def counter_of(level: bytes) -> str:
    """Return the counter for a bomb that is the body itself."""
    if level == b"\x91":
        return "skipped_not_map"
    return "skipped_bad_key" if level == b"\x81" else "skipped_too_deep"


@pytest.mark.parametrize(
    "huge",
    [
        b"\xdb" + HUGE.to_bytes(4, "big"),
        b"\xc6" + HUGE.to_bytes(4, "big"),
        b"\xc9" + HUGE.to_bytes(4, "big"),
        b"\xc9" + HUGE.to_bytes(4, "big") + b"\x00",
        b"\xdd" + HUGE.to_bytes(4, "big"),
        b"\xdf" + HUGE.to_bytes(4, "big"),
        b"\xdf\x80\x00\x00\x00",
        b"\xda\xff\xff",
    ],
)
def test_declared_lengths_beyond_the_end(huge: bytes) -> None:
    good = event({"a": 1})
    for rest in (b"", b"\xc0" * 40):
        for opening in (
            b"",  # instead of an event
            b"\x92",  # instead of its time
            b"\x92\x92\x01",  # instead of its metadata
            b"\x92\x01",  # instead of its body
            b"\x92\x01\x81",  # instead of a key
            b"\x92\x01\x81\xa3log",  # instead of a value
            b"\x92\x01\x82\xa3log\x01",  # instead of a later key
            b"\x92\x01\x81\xa3log\x91",  # instead of an item
        ):
            for options in ({}, {"log_key": "log"}, {"data_keys": "x"}, {"time_key": "log"}):
                drained = drain(good + opening + huge + rest, output_config(options))
                assert drained.malformed_at == len(good)
                assert drained.tally["skipped_malformed"] == 1
            assert RecordEncoder(output_config()).count(good + opening + huge + rest) == 2


def test_the_first_reason_in_the_record_counts() -> None:
    deep = b"\x91" * 128 + wire.NIL
    bad = wire.mapping([(wire.array([]), b"\x01")])
    first_deep = wire.mapping([(b"\x01", deep), (b"\x02", bad)])
    first_bad = wire.mapping([(b"\x01", bad), (b"\x02", deep)])

    assert counts_of(with_body(first_deep)) == {"skipped_too_deep": 1}
    assert counts_of(with_body(first_bad)) == {"skipped_bad_key": 1}


# --- what a chunk may be ------------------------------------------------------------------------


def test_any_contiguous_bytes_like_object_is_a_chunk() -> None:
    chunk = event({"a": 1}) * 4
    mapped = mmap.mmap(-1, len(chunk))
    mapped[:] = chunk
    in_c = (ctypes.c_char * len(chunk)).from_buffer_copy(chunk)
    assert len(chunk) % 4 == 0
    forms: list[Any] = [
        chunk,
        bytearray(chunk),
        memoryview(chunk),
        memoryview(bytearray(b"x" + chunk + b"x"))[1:-1],
        memoryview(chunk).cast("I"),
        array.array("B", chunk),
        mapped,
        in_c,
    ]
    for form in forms:
        assert data_of(form) == [DATA] * 4
        assert RecordEncoder(output_config()).count(form) == 4


def test_objects_that_are_not_bytes_like_are_rejected() -> None:
    encoder = RecordEncoder(output_config())
    wrong: list[Any] = ["text", None, 1, [1, 2], object()]
    for chunk in wrong:
        with pytest.raises(TypeError):
            encoder.requests(chunk)
        with pytest.raises(TypeError):
            encoder.count(chunk)
    with pytest.raises(BufferError):
        encoder.requests(memoryview(b"abcd")[::2])


@pytest.mark.heavy
@pytest.mark.parametrize("name", chunk_names())
def test_count_is_what_the_oracle_counts(name: str) -> None:
    config = output_config()

    assert RecordEncoder(config).count(load_chunk(name)) == n_records(
        outcomes(load_chunk(name), config)
    )


def test_pack_is_the_shortest_form() -> None:
    assert pack({"a": 1}) == BODY
