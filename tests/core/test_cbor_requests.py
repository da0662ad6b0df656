"""Bodies in CBOR: what cbor2 reads in them is what the JSON bodies say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cbor2
import kcl
import pytest
import wire
from cbor_service import parsed
from chunks import chunk_names, event, load_chunk, output_config
from encoded import NOW_S
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast import OutputConfig, RecordEncoder
from kinesis_fast._core.request import Request

SHAPES: list[dict[str, str]] = [
    {},
    {"partition_key": "pk"},
    {"aggregation": "true"},
    {"aggregation": "true", "partition_key": "pk", "aggregation_buckets": "4"},
    {"simple_aggregation": "true", "compression": "gzip"},
    {"compression": "snappy", "log_key": "log"},
]
EVERY_BYTE = bytes(range(256))


def requests(chunk: bytes, options: dict[str, str], *, as_cbor: bool = True) -> Iterator[Request]:
    """Encode with a fixed seed, so that random keys are the same in both protocols."""
    config = OutputConfig.from_options({"region": "eu-west-1", "stream": "logs", **options})
    core = RecordEncoder(config)._core
    return iter(core.requests(chunk, now_ns=NOW_S * 10**9, seed=5, as_cbor=as_cbor))


def keyed(n: int, size: int = 0) -> bytes:
    return b"".join(event({"pk": f'ключ "{i % 9}"', "v": "x" * (size or i)}) for i in range(n))


def assert_same(chunk: bytes, options: dict[str, str]) -> None:
    in_cbor = list(requests(chunk, options))
    in_json = list(requests(chunk, options, as_cbor=False))
    assert len(in_cbor) == len(in_json)
    for ours, theirs in zip(in_cbor, in_json, strict=True):
        assert ours.is_cbor
        assert not theirs.is_cbor
        assert parsed(ours) == parsed(theirs)
        assert (ours.n_entries, ours.n_records, ours.n_bytes) == (
            theirs.n_entries,
            theirs.n_records,
            theirs.n_bytes,
        )
        again = ours.as_json()
        assert not again.is_cbor
        assert bytes(again.body) == bytes(theirs.body)
        assert again.lane == ours.lane
        for index in range(ours.n_entries):
            assert again.events_of(index) == ours.events_of(index) == theirs.events_of(index)
            assert again.n_bytes_of(index) == ours.n_bytes_of(index)
            assert again.has_random_key(index) == ours.has_random_key(index)


@pytest.mark.parametrize("options", SHAPES)
def test_both_protocols_say_the_same(options: dict[str, str]) -> None:
    assert_same(keyed(1200), options)


@pytest.mark.parametrize("name", chunk_names())
def test_captured_chunks(name: str) -> None:
    chunk = load_chunk(name)[:60_000]
    for options in SHAPES[:4]:
        assert_same(chunk, options)


def test_every_byte_value_of_data_and_a_stream_by_arn() -> None:
    chunk = wire.array([b"\x01", wire.mapping([(wire.string(b"log"), wire.binary(EVERY_BYTE))])])
    stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/logs"
    (request,) = requests(chunk * 3, {"compression": "gzip", "stream": stream})
    said = parsed(request)
    assert list(said) == ["Records", "StreamARN"]
    assert said["StreamARN"] == stream
    found = {byte for entry in said["Records"] for byte in entry["Data"]}
    assert any(byte >= 0x80 for byte in found)
    assert_same(chunk * 3, {"log_key": "log"})


@pytest.mark.parametrize(
    "n", [1, 22, 23, 24, 25, 254, 255, 256, 257, 65_534, 65_535, 65_536, 1_048_000]
)
def test_each_width_of_a_length(n: int) -> None:
    chunk = event({"text": "y" * n})
    (request,) = requests(chunk, {"log_key": "text"})
    assert parsed(request)["Records"][0]["Data"] == b"y" * n
    (only,) = requests(chunk, {"log_key": "text", "partition_key": "text"})
    assert parsed(only)["Records"][0]["PartitionKey"] == "y" * min(n, 256)
    assert_same(chunk, {"log_key": "text", "partition_key": "text"})


@pytest.mark.parametrize("n", [1, 23, 24, 255, 256, 257, 499, 500])
def test_the_number_of_entries_stands_before_them(n: int) -> None:
    (request,) = requests(event({"v": 1}) * n, {})
    body = bytes(request.body)
    assert body.startswith(b"\xa2gRecords\x99" + n.to_bytes(2))
    assert len(cbor2.loads(body)["Records"]) == n


def test_all_lengths_are_definite_and_nothing_is_base64() -> None:
    (request,) = requests(event({"pk": "\u00ff?"}), {"partition_key": "pk"})
    data = b'{"pk":"\xc3\xbf?"}'
    assert bytes(request.body) == (
        b"\xa2gRecords\x99\0\1\xa2dDataL" + data + b"lPartitionKeyc\xc3\xbf?"
        b"\x79\0\nStreamName\x79\0\4logs"
    )
    assert bytes(request.entry(0)) == b"\xa2dDataL" + data + b"lPartitionKeyc\xc3\xbf?"


def test_the_service_counts_the_same_bytes_in_both_protocols() -> None:
    """5 MiB of data and keys, not of body: a CBOR request holds as many records as a JSON one."""
    chunk = keyed(60, 100_000)
    sizes = [request.n_bytes for request in requests(chunk, {})]
    assert sizes == [request.n_bytes for request in requests(chunk, {}, as_cbor=False)]
    assert max(sizes) <= 5 * 1024 * 1024 < max(sizes) + 100_100
    for request in requests(chunk, {}):
        entries = parsed(request)["Records"]
        n_bytes = sum(len(e["Data"]) + len(e["PartitionKey"].encode()) for e in entries)
        assert request.n_bytes == n_bytes


def test_a_record_is_cut_at_the_same_place() -> None:
    chunk = event({"v": "z" * 5000, "pk": "key"})
    assert_same(chunk, {"max_record_size": "2048", "partition_key": "pk"})
    (request,) = requests(chunk, {"max_record_size": "2048", "partition_key": "pk"})
    assert request.n_bytes == 2048


@pytest.mark.parametrize("options", SHAPES)
def test_subsets_and_what_is_retained(options: dict[str, str]) -> None:
    for request in requests(keyed(1500, 300), options):
        whole = parsed(request)["Records"]
        chosen = list(range(0, len(whole), 2))
        part = request.subset(chosen[::-1])
        assert part.is_cbor
        assert parsed(part) == {
            "Records": [whole[i] for i in chosen[::-1]],
            "StreamName": "logs",
        }
        as_json = part.as_json()
        assert parsed(as_json) == parsed(part)
        assert [as_json.events_of(i) for i in range(len(chosen))] == [
            request.events_of(i) for i in chosen[::-1]
        ]
        request.retain(chosen)
        assert parsed(request)["Records"] == [whole[i] for i in chosen]


def test_new_random_keys() -> None:
    for request in requests(keyed(600), {}):
        before = parsed(request)["Records"]
        request.renew_random_keys()
        after = parsed(request)["Records"]
        assert [entry["Data"] for entry in after] == [entry["Data"] for entry in before]
        for old, new in zip(before, after, strict=True):
            assert old["PartitionKey"] != new["PartitionKey"]
            assert len(new["PartitionKey"]) == 8


def test_keys_of_records_stay() -> None:
    for request in requests(keyed(600), {"partition_key": "pk"}):
        before = bytes(request.body)
        request.renew_random_keys()
        assert bytes(request.body) == before


def test_a_new_random_key_stands_in_the_entry_and_in_the_aggregate() -> None:
    for request in requests(keyed(600, 200), {"aggregation": "true"}):
        before = parsed(request)["Records"]
        request.renew_random_keys()
        for old, new in zip(before, parsed(request)["Records"], strict=True):
            assert old["PartitionKey"] != new["PartitionKey"]
            kept = kcl.kept(kcl.Entry("", new["PartitionKey"], new["Data"]), kcl.WHOLE_RANGE)
            assert {record.partition_key for record in kept} == {new["PartitionKey"]}
            theirs = kcl.kept(kcl.Entry("", old["PartitionKey"], old["Data"]), kcl.WHOLE_RANGE)
            assert [record.data for record in kept] == [record.data for record in theirs]
            assert all(record.is_aggregated for record in kept)


def test_aggregates_have_explicit_hash_keys() -> None:
    options = {"aggregation": "true", "partition_key": "pk", "aggregation_buckets": "1024"}
    seen = 0
    for request in requests(keyed(600), options):
        for entry in parsed(request)["Records"]:
            assert 0 <= int(entry["ExplicitHashKey"]) < 2**128
            assert list(entry) == ["Data", "ExplicitHashKey", "PartitionKey"]
            seen += 1
    assert seen


def test_only_cbor_becomes_json() -> None:
    (in_json,) = requests(event({}), {}, as_cbor=False)
    with pytest.raises(ValueError, match="JSON already"):
        in_json.as_json()
    (request,) = requests(event({}), {})
    request.release()
    with pytest.raises(ValueError):
        request.as_json()


def test_the_memory_of_one_protocol_serves_the_other() -> None:
    core = RecordEncoder(output_config())._core
    for number, as_cbor in enumerate([True, False, True, False]):
        (request,) = core.requests(event({"n": number}), now_ns=0, seed=1, as_cbor=as_cbor)
        assert request.is_cbor is as_cbor
        assert parsed(request)["Records"][0]["Data"] == b'{"n":%d}' % number
        request.release()


def test_the_option_decides_unless_an_argument_does() -> None:
    encoder = RecordEncoder(output_config({"protocol": "CBOR"}))
    assert next(encoder.requests(event({}))).is_cbor
    assert not next(encoder.requests(event({}), as_cbor=False)).is_cbor
    assert [record.data for record in encoder.records(event({"a": 1}))] == [b'{"a":1}']
    assert not next(RecordEncoder(output_config()).requests(event({}))).is_cbor


values = st.dictionaries(st.text(max_size=20), st.text(max_size=300), max_size=3)


@given(st.lists(values, min_size=1, max_size=12), st.sampled_from(SHAPES), st.text(max_size=300))
def test_any_records(rows: list[dict[str, Any]], options: dict[str, str], key: str) -> None:
    assert_same(b"".join(event({**row, "pk": key, "log": key}) for row in rows), options)
