"""Compressed records, alone or joined: inflated, they are those without compression."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from random import Random

import pytest
import wire
from chunks import chunk_of, load_chunk, output_config
from compressed import CODECS, INFLATE, SUFFIX, random_letters
from encoded import NOW_S, Drained, Entry, drain, requests_of
from invariants import Limits, check_batches
from oracle import MIB, Outcome, outcomes, tally

from kinesis_fast import RecordEncoder
from kinesis_fast._core.request_stream import RequestStream

SHAPES: list[dict[str, str]] = [
    {},
    {"append_newline": "true"},
    {"partition_key": "pk", "time_key": "time"},
    {"log_key": "log", "append_newline": "true"},
    {"data_keys": "log,pk,n", "replace_dots": "_"},
    {"partition_key": "n->pk", "log_key": "log"},
]
LIMITS = Limits(MIB, 5 * MIB)


def inflated(drained: Drained, codec: str) -> list[Entry]:
    return [entry._replace(data=INFLATE[codec](entry.data)) for entry in drained.entries]


@lru_cache(50)  # one codec after the other compresses the same chunk
def plain_outcomes(chunk: bytes, options: tuple[tuple[str, str], ...]) -> list[Outcome]:
    return outcomes(chunk, output_config(dict(options)), NOW_S)


def assert_as_plain(chunk: bytes, codec: str, options: Mapping[str, str]) -> Drained:
    """Assert that each record, inflated, is that of the oracle, in requests that are full."""
    events = plain_outcomes(chunk, tuple(options.items()))
    drained = drain(chunk, output_config(options, compression=codec))
    expected = [(e.event, e.data, e.partition_key) for e in events if e.is_record]
    keys = {e.event: e.partition_key for e in events}
    assert [
        (entry.event, entry.data, entry.partition_key if keys[entry.event] else None)
        for entry in inflated(drained, codec)
    ] == expected
    assert drained.tally == tally(events)
    check_batches(drained.requests, LIMITS)
    return drained


# --- each record alone ----------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(12))
def test_random_chunks_with_random_options(seed: int, codec: str) -> None:
    rng = Random(seed)
    for _ in range(5):
        chunk = b"".join(wire.random_event(rng) for _ in range(rng.randrange(30)))
        assert_as_plain(chunk, codec, rng.choice(SHAPES))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", ["access_1", "fwd_weird_0", "x_otel_0", "hm_trunc", "hm_empty"])
def test_captured_chunks(name: str, codec: str) -> None:
    for options in SHAPES:
        assert_as_plain(load_chunk(name), codec, options)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("n_events", [1, 499, 500, 501, 1000, 1001, 1777])
def test_any_number_of_records(n_events: int, codec: str) -> None:
    """zstd compresses 500 records at a time."""
    chunk = chunk_of({"number": n, "pk": n % 7} for n in range(n_events))
    assert_as_plain(chunk, codec, {"partition_key": "pk"})


@pytest.mark.parametrize("codec", CODECS)
def test_large_and_small_records_by_turns(codec: str) -> None:
    """zstd compresses a mebibyte at a time; one record is larger than that."""
    rng = Random(6)
    sizes = [10, 400_000, 500_000, 200_000, 5, 1_500_000, 7, 900_000, 1, 148_000, 2]
    words = ["x" * n if n > MIB else random_letters(rng, b"abcdef", n).decode() for n in sizes]
    config = output_config(compression=codec)
    drained = drain(chunk_of({"log": word} for word in words), config)
    assert [json.loads(entry.data)["log"] for entry in inflated(drained, codec)] == words
    assert drained.tally == {"records": len(sizes)}, "the whole fits, once it is compressed"


@pytest.mark.parametrize("codec", CODECS)
def test_full_requests_hold_compressed_bytes(codec: str) -> None:
    """The limit of a request counts what is sent: noise fills it earlier than zeros."""
    rng = Random(3)
    noise = chunk_of({"n": rng.randbytes(400_000)} for _ in range(20))
    config = output_config(compression=codec, log_key="n")
    requests = drain(noise, config).requests
    assert len(requests) == 2
    check_batches(requests, LIMITS)
    zeros = chunk_of({"n": bytes(400_000)} for _ in range(20))
    assert len(drain(zeros, config).requests) == 1


@pytest.mark.parametrize("codec", CODECS)
def test_lanes_keep_the_order_of_each_key(codec: str) -> None:
    chunk = chunk_of({"pk": n % 50, "number": n} for n in range(4000))
    stream = RecordEncoder(output_config(partition_key="pk", compression=codec)).requests(
        chunk, max_lanes=4
    )
    assert stream.n_lanes == 4
    numbers: dict[str, list[int]] = {}
    for entry in entries_of_all(stream):
        number = json.loads(INFLATE[codec](b64decode(entry["Data"])))["number"]
        numbers.setdefault(entry["PartitionKey"], []).append(number)
    assert numbers == {str(key): list(range(key, 4000, 50)) for key in range(50)}


def entries_of_all(stream: RequestStream) -> list[dict[str, str]]:
    return list(
        chain.from_iterable(json.loads(bytes(request.body))["Records"] for request in stream)
    )


@pytest.mark.parametrize("codec", CODECS)
def test_settled_events_are_left_out(codec: str) -> None:
    chunk = chunk_of({"number": n} for n in range(1200))
    stream = RecordEncoder(output_config(compression=codec)).requests(chunk, settled=b"\x55" * 150)
    data = [INFLATE[codec](b64decode(entry["Data"])) for entry in entries_of_all(stream)]
    assert [json.loads(record)["number"] for record in data] == list(range(1, 1200, 2))
    assert stream.take_tally().resumed == 600


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("n_taken", [0, 1, 2])
def test_what_is_left_can_be_counted(n_taken: int, codec: str) -> None:
    """Records that wait for their compression are in no request yet."""
    stream = requests_of(
        chunk_of({"number": n} for n in range(1700)), output_config(compression=codec)
    )
    taken = [next(stream) for _ in range(n_taken)]
    assert not stream.is_exhausted
    assert stream.count_rest() + sum(request.n_records for request in taken) == 1700
    assert stream.is_exhausted


@pytest.mark.parametrize("codec", CODECS)
def test_the_stream_says_when_it_is_exhausted(codec: str) -> None:
    for n_events in (1, 500, 501, 700, 1000):
        chunk = chunk_of({"number": n} for n in range(n_events))
        stream = requests_of(chunk, output_config(compression=codec))
        n_records = 0
        while not stream.is_exhausted:
            n_records += next(stream).n_records
        assert n_records == n_events
        assert list(stream) == []


@pytest.mark.parametrize("codec", CODECS)
def test_records_wait_while_a_request_is_full(codec: str) -> None:
    """17 records fill a request; zstd compresses 4 at a time, so 2 wait behind the next one."""
    rng = Random(8)
    chunk = chunk_of({"log": rng.randbytes(300_000)} for _ in range(20))
    config = output_config(log_key="log", compression=codec)
    stream = requests_of(chunk, config)
    assert next(stream).n_records == 17
    assert stream.count_rest() == 3
    stream = requests_of(chunk, config)
    n_records = 0
    while not stream.is_exhausted:
        n_records += next(stream).n_records
    assert n_records == 20


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_before_and_after(codec: str) -> None:
    chunk = load_chunk("access_1")
    plain = packing_of(chunk, {})
    compressed = packing_of(chunk, {"compression": codec})
    assert plain["record_bytes"] == plain["entry_bytes"] == compressed["record_bytes"]
    entries = drain(chunk, output_config(compression=codec)).entries
    assert compressed["entry_bytes"] == sum(len(e.data) + len(e.partition_key) for e in entries)


def packing_of(chunk: bytes, options: Mapping[str, str]) -> dict[str, int]:
    stream = requests_of(chunk, output_config(options))
    for request in stream:
        request.release()
    return stream.take_packing()._asdict()


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_chunk_gives_the_same_bodies(codec: str) -> None:
    """Also with a compressor that was used for another chunk, and by several threads at once."""
    core = RecordEncoder(output_config(compression=codec))._core
    chunks = [load_chunk("access_1"), load_chunk("fwd_weird_0"), b"\x92\x01\x81"]

    def bodies(chunk: bytes) -> list[bytes]:
        return [bytes(request.body) for request in core.requests(chunk, now_ns=0, seed=7)]

    expected = [bodies(chunk) for chunk in chunks]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(bodies, chunks * 8))
    assert found == expected * 8


# --- records that are too large -------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["true", "false"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_record_is_cut_if_it_is_too_large_when_compressed(codec: str, newline: str) -> None:
    rng = Random(9)
    logs = [rng.randbytes(n) for n in (100, 3000, 200, 60_000)]
    chunk = chunk_of({"log": log, "pk": "k" * 100} for log in logs)
    options = {"log_key": "log", "partition_key": "pk", "max_record_size": "2048"}
    drained = drain(chunk, output_config(options, compression=codec, append_newline=newline))
    ending = b"\n" if newline == "true" else b""
    for entry, log in zip(inflated(drained, codec), logs, strict=True):
        if len(log) < 2000:
            assert entry.data == log + ending
            continue
        assert entry.data.endswith(SUFFIX + ending)
        assert log.startswith(entry.data.removesuffix(ending).removesuffix(SUFFIX))
    large = [len(e.data) + 100 for e in drained.entries if len(e.data) > 1000]
    assert len(large) == drained.tally["truncated"] == 2
    assert all(2048 - 41 <= n_bytes <= 2048 for n_bytes in large)


@pytest.mark.parametrize("codec", CODECS)
def test_a_record_of_more_than_32_limits_is_cut(codec: str) -> None:
    chunk = chunk_of([{"log": "0" * 100_000}, {"log": "1"}])
    options = {"log_key": "log", "max_record_size": "1024", "compression": codec}
    drained = drain(chunk, output_config(options))
    long, short = inflated(drained, codec)
    assert short.data == b"1"
    assert len(long.data) <= 32 * 1016 + len(SUFFIX)
    assert long.data.endswith(b"0" + SUFFIX)
    assert drained.tally == {"records": 2, "truncated": 1}


# --- joined records -------------------------------------------------------------------------------


def joined(chunk: bytes, codec: str, **options: str) -> tuple[list[list[bytes]], RequestStream]:
    """Return the lines of each entry, with the stream; and check the size of each entry."""
    config = output_config(options, compression=codec, simple_aggregation="true")
    stream = requests_of(chunk, config)
    lines = []
    for request in stream:
        for index, entry in enumerate(json.loads(bytes(request.body))["Records"]):
            data = b64decode(entry["Data"])
            text = INFLATE[codec](data)
            assert text.endswith(b"\n")
            lines.append(text.splitlines(keepends=True))
            assert len(request.events_of(index)) == len(lines[-1])
            assert len(data) + len(entry["PartitionKey"].encode()) == request.n_bytes_of(index)
            assert request.n_bytes_of(index) <= config.max_record_size
    return lines, stream


def plain_lines(chunk: bytes, **options: str) -> list[bytes]:
    config = output_config(options, append_newline="true")
    return [e.data for e in outcomes(chunk, config, NOW_S) if e.is_record]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", ["1024", "5000", "51200", "262144"])
def test_joined_records_are_compressed_together(size: str, codec: str) -> None:
    chunk = load_chunk("access_1")
    lines, stream = joined(chunk, codec, aggregation_max_size=size)
    assert list(chain.from_iterable(lines)) == plain_lines(chunk)
    assert all(sum(map(len, part)) + 8 <= int(size) for part in lines)
    packing = stream.take_packing()
    assert packing.entries == len(lines)
    assert packing.aggregates == sum(len(part) > 1 for part in lines)
    if size == "262144":
        assert packing.entry_bytes < packing.record_bytes / 3.5


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("buckets", ["1", "4", "64"])
def test_joined_records_of_buckets(buckets: str, codec: str) -> None:
    chunk = chunk_of({"pk": n % 97, "number": n} for n in range(3000))
    options = {"partition_key": "pk", "aggregation_max_size": "2000"}
    lines, _ = joined(chunk, codec, aggregation_buckets=buckets, **options)
    numbers: dict[int, list[int]] = {}
    for line in chain.from_iterable(lines):
        record = json.loads(line)
        numbers.setdefault(record["pk"], []).append(record["number"])
    assert numbers == {key: list(range(key, 3000, 97)) for key in range(97)}


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("codec", CODECS)
def test_a_record_that_is_too_large_to_be_joined_is_compressed_alone(
    codec: str, first: int
) -> None:
    rng = Random(4)
    logs = [b"a", rng.randbytes(900).hex().encode(), b"b" * 50_000, b"c", b"d" * 1100]
    logs = logs[first:] + logs[:first]
    chunk = chunk_of({"log": log} for log in logs)
    lines, _ = joined(
        chunk, codec, log_key="log", max_record_size="4096", aggregation_max_size="1024"
    )
    assert list(chain.from_iterable(lines)) == [log + b"\n" for log in logs]


@pytest.mark.parametrize("codec", CODECS)
def test_a_record_alone_is_cut_if_it_is_too_large_when_compressed(codec: str) -> None:
    noise = Random(4).randbytes(9000).replace(b"\n", b"x").replace(b"\r", b"y")
    chunk = chunk_of([{"log": b"a"}, {"log": noise}, {"log": b"b"}])
    config = output_config(
        log_key="log", max_record_size="4096", simple_aggregation="true", compression=codec
    )
    drained = drain(chunk, config)
    first, cut, last = inflated(drained, codec)
    assert (first.data, last.data) == (b"a\n", b"b\n")
    assert cut.data.endswith(SUFFIX + b"\n")
    assert noise.startswith(cut.data.removesuffix(SUFFIX + b"\n"))
    assert drained.tally == {"records": 3, "truncated": 1}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("limit", [1024, 4096, 51_200])
def test_joined_noise_keeps_the_limit_although_it_grows(limit: int, codec: str) -> None:
    rng = Random(limit)
    logs = [rng.randbytes(rng.randrange(limit // 8)).replace(b"\n", b"") for _ in range(200)]
    chunk = chunk_of({"log": log, "pk": "k" * 256} for log in logs)
    config = output_config(
        {"log_key": "log", "partition_key": "pk", "simple_aggregation": "true"},
        max_record_size=str(limit),
        aggregation_max_size=str(limit),
        compression=codec,
    )
    drained = drain(chunk, config)
    assert b"".join(e.data for e in inflated(drained, codec)) == b"".join(x + b"\n" for x in logs)
    assert all(len(entry.data) + 256 <= limit for entry in drained.entries)
    assert drained.tally == {"records": 200}


@pytest.mark.parametrize("codec", CODECS)
def test_records_of_an_aggregate_that_go_alone_are_compressed_alone(codec: str) -> None:
    """As when the service refuses an aggregate: each of its records is sent by itself."""
    chunk = chunk_of({"number": n} for n in range(1200))
    config = output_config(simple_aggregation="true", compression=codec)
    stream = RecordEncoder(config).requests(chunk, alone=True)
    data = [INFLATE[codec](b64decode(entry["Data"])) for entry in entries_of_all(stream)]
    assert data == plain_lines(chunk)
