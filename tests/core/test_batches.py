"""How the encoder puts records into requests: limits, completeness, order, body, counters."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import pytest
from chunks import chunk_names, chunk_of, event, event_time, load_chunk, output_config
from encoded import assert_as_oracle, drain, requests_of
from oracle import Outcome, n_records, outcomes, tally

from kinesis_fast import OutputConfig, RecordEncoder

KIB = 1024
MIB = 1024 * KIB
OVERHEAD = len(b'{"a":""}') + 8  # of a record of sized(): its JSON and a random partition key
LARGE = {"max_record_size": str(10 * MIB)}
RECORD_COUNTERS = ("truncated", "bad_times", "nan_values", "random_keys")


def sized(n_bytes: int, char: str = "x") -> bytes:
    """Return an event whose record has n_bytes, including its partition key."""
    return event({"a": char * (n_bytes - OVERHEAD)})


def shape_of(chunk: bytes, **options: str) -> list[tuple[int, int]]:
    """Return the number of records and bytes of each request."""
    return [(r.n_records, r.n_bytes) for r in RecordEncoder(output_config(options)).requests(chunk)]


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_records", "counts"),
    [
        (1, [1]),
        (499, [499]),
        (500, [500]),
        (501, [500, 1]),
        (1000, [500, 500]),
        (1203, [500, 500, 203]),
    ],
)
def test_at_most_500_records(n_records: int, counts: list[int]) -> None:
    assert [n for n, _ in shape_of(sized(50) * n_records)] == counts


@pytest.mark.parametrize(("options", "limit"), [({}, 5 * MIB), (LARGE, 10 * MIB)])
def test_a_request_is_filled_to_the_last_byte(options: dict[str, str], limit: int) -> None:
    full = sized(MIB) * (limit // MIB)

    assert shape_of(full, **options) == [(limit // MIB, limit)]
    assert shape_of(full + sized(20), **options) == [(limit // MIB, limit), (1, 20)]
    one_less = sized(MIB) * (limit // MIB - 1) + sized(MIB - 20)
    assert shape_of(one_less + sized(20), **options) == [(limit // MIB + 1, limit)]
    assert shape_of(one_less + sized(21), **options) == [(limit // MIB, limit - 20), (1, 21)]


def test_the_larger_request_needs_a_larger_record_limit() -> None:
    chunk = sized(MIB) * 11

    assert shape_of(chunk, max_record_size=str(MIB)) == shape_of(chunk)
    assert [n for n, _ in shape_of(chunk, max_record_size=str(MIB + 1))] == [10, 1]
    assert [n for n, _ in shape_of(chunk, max_record_size=str(MIB - 1))] == [5, 5, 1]


def test_partition_keys_count() -> None:
    key = "世" * 256
    overhead = len(
        json.dumps({"pk": key, "a": ""}, separators=(",", ":"), ensure_ascii=False).encode()
    )
    n_bytes = 5 * MIB // 20
    chunk = event({"pk": key, "a": "x" * (n_bytes - overhead - len(key.encode()))})

    assert shape_of(chunk * 41, partition_key="pk") == [(20, 5 * MIB), (20, 5 * MIB), (1, n_bytes)]


@pytest.mark.parametrize("seed", range(6))
def test_random_sizes(seed: int) -> None:
    """assert_as_oracle also checks that no request is closed while the next record still fits."""
    rng = Random(seed)
    sizes = [rng.choice((30, 300, 10 * KIB, 200 * KIB, MIB)) for _ in range(60)]
    chunk = b"".join(sized(rng.randrange(20, size + 1)) for size in sizes) + sized(30) * 700

    assert_as_oracle(chunk, output_config(LARGE if seed % 2 else {}))


# --- completeness -------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("name", chunk_names())
def test_every_record_is_sent_once_and_in_order(name: str) -> None:
    config = output_config({"append_newline": "true", "partition_key": "host"})

    drained = drain(load_chunk(name), config)
    records = list(RecordEncoder(config).records(load_chunk(name)))
    expected = [e for e in outcomes(load_chunk(name), config) if e.is_record]

    assert [(e.event, e.data) for e in drained.entries] == [(e.event, e.data) for e in expected]
    assert [record.data for record in records] == [e.data for e in expected]
    keys = [(r.partition_key, e.partition_key) for r, e in zip(records, expected, strict=True)]
    assert all(found == key or key is None for found, key in keys)


@pytest.mark.parametrize(
    ("stream", "field"),
    [
        ("my-stream_1.x", "StreamName"),
        ("arn:aws:kinesis:us-east-1:123456789012:stream/x", "StreamARN"),
    ],
)
def test_the_body_is_the_json_of_put_records(stream: str, field: str) -> None:
    config = output_config(stream=stream)
    bodies = ['"', "é", "", "x" * 1000]

    (request,) = RecordEncoder(config).requests(chunk_of({"a": body} for body in bodies))

    parsed = json.loads(bytes(request.body))
    assert parsed.keys() == {"Records", field}
    assert parsed[field] == stream
    assert [json.loads(base64.b64decode(r["Data"])) for r in parsed["Records"]] == [
        {"a": body} for body in bodies
    ]
    assert all(record.keys() == {"Data", "PartitionKey"} for record in parsed["Records"])


def test_a_request_describes_its_entries() -> None:
    chunk = load_chunk("fwd_weird_0") * 12
    config = output_config({"partition_key": "pk"})
    n_requests = 0
    for request in RecordEncoder(config).requests(chunk):
        entries = json.loads(bytes(request.body))["Records"]
        sizes = [
            len(base64.b64decode(e["Data"])) + len(e["PartitionKey"].encode()) for e in entries
        ]
        indexes = range(request.n_records)
        assert len(entries) == request.n_records
        assert [request.n_bytes_of(i) for i in indexes] == sizes
        assert request.n_bytes == sum(sizes)
        assert [json.loads(request.entry(i)) for i in indexes] == entries
        assert len(request) == len(request.body) == len(bytes(request.body))
        joined = b",".join(request.entry(i) for i in indexes)
        assert bytes(request.body) == b'{"Records":[' + joined + b'],"StreamName":"logs"}'
        events = [request.events_of(i)[0][0] for i in indexes]
        assert events == sorted(set(events))
        n_requests += 1
    assert n_requests == 2


def test_data_of_all_lengths_in_base64() -> None:
    chunk = chunk_of({"log": bytes(i * 31 % 256 for i in range(n))} for n in range(300))

    entries = drain(chunk, output_config({"log_key": "log"})).entries

    assert [e.data for e in entries] == [bytes(i * 31 % 256 for i in range(n)) for n in range(300)]


# --- the counters -------------------------------------------------------------------------------


def mixed_chunk(n_events: int, seed: int) -> bytes:
    """Return a chunk that makes every counter count, with a malformed tail."""
    rng = Random(seed)
    kinds: list[Any] = [
        event({"log": "x" * 20_000, "pk": "k"}),
        event({"log": 1}),
        event({"log": 1}),
        event({"a": 1}),
        event("no map"),
        event({"log": {"a": float("nan")}, "pk": "k"}),
        event({"log": [[[]]]}, -5),
        event({"log": "y"}, event_time(-1)),
        b"\x92\x01\x81\xa3log" + b"\x91" * 200 + b"\xc0",
        b"\x92\x01\x81\xa3log\x81\x90\xc0",
    ]
    return b"".join(rng.choice(kinds) for _ in range(n_events)) + b"\x92\x01\x81"


ACCOUNT_OPTIONS = {
    "log_key": "log",
    "time_key": "t",
    "partition_key": "pk",
    "max_record_size": str(16 * KIB),
}


def prefix(events: list[Outcome], n_events: int) -> dict[str, int]:
    return dict(tally(events[:n_events]))


def assert_between(counts: dict[str, int], events: list[Outcome], low: int, high: int) -> None:
    """Assert that the counters are those of events[:n] for some n from low to high.

    The encoder may have encoded the record that did not fit; that record counts when it is sent.
    """
    for name in prefix(events, len(events)).keys() - {"records"}:
        least, most = prefix(events, low).get(name, 0), prefix(events, high).get(name, 0)
        assert least <= counts.get(name, 0) <= most, name


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(3))
def test_the_counters_after_each_request(seed: int) -> None:
    config = output_config(ACCOUNT_OPTIONS)
    chunk = mixed_chunk(4000, seed)
    events = outcomes(chunk, config)
    sent = [e.event for e in events if e.is_record]
    n_requests = len(drain(chunk, config).requests)
    total = RecordEncoder(config).count(chunk)
    assert n_requests >= 4
    assert total == n_records(events)

    for n_read in range(n_requests + 1):
        stream = requests_of(chunk, config)
        counts: dict[str, int] = {}
        n_sent = 0
        for _ in range(n_read):
            n_sent += next(stream).n_records
            for name, n in stream.take_tally()._asdict().items():
                counts[name] = counts.get(name, 0) + n
        counts.pop("malformed_at", None)
        assert counts.get("records", 0) == n_sent
        if n_read:
            following = sent[n_sent] + 1 if n_sent < len(sent) else len(events)
            assert_between(counts, events, sent[n_sent - 1] + 1, following)
        n_told = sum(n for name, n in counts.items() if name.startswith("skipped_")) + n_sent
        assert stream.count_rest() == total - n_told
        assert stream.count_rest() == 0
        assert list(stream) == []


def test_the_tally_starts_at_zero_after_it_was_taken() -> None:
    config = output_config(ACCOUNT_OPTIONS)
    chunk = mixed_chunk(1000, 7)
    events = outcomes(chunk, config)
    stream = requests_of(chunk, config)
    list(stream)

    first, second = stream.take_tally(), stream.take_tally()

    counted = {name: n for name, n in first._asdict().items() if n}
    assert counted.pop("malformed_at") == len(chunk) - 3
    assert counted == prefix(events, len(events))
    assert second.malformed_at == -1
    assert not any(n for name, n in second._asdict().items() if name != "malformed_at")


def test_a_chunk_without_a_record_to_send() -> None:
    stream = requests_of(event("x") * 3 + b"\xc1", output_config())

    assert list(stream) == []
    counts = {name: n for name, n in stream.take_tally()._asdict().items() if n}
    assert counts == {
        "skipped_not_map": 3,
        "skipped_malformed": 1,
        "malformed_at": 3 * len(event("x")),
    }
    assert stream.count_rest() == 0


def test_a_chunk_may_be_counted_without_being_read() -> None:
    config: OutputConfig = output_config({"log_key": "log"})
    chunk = load_chunk("x_otel_0")

    assert RecordEncoder(config).count(chunk) == requests_of(chunk, config).count_rest() == 5


def test_a_closed_stream_has_nothing_left() -> None:
    stream = requests_of(event({}) * 1200, output_config())
    next(stream)

    stream.close()
    stream.close()

    assert list(stream) == []
    assert stream.count_rest() == 0
    assert stream.take_tally().records == 500
