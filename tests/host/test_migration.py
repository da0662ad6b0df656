"""Configurations of other plugins with aggregation and compression, run as they are."""

from __future__ import annotations

import gzip
import json

import kcl
import pytest
from aggregated import user_records
from arrivals import golden_chunk
from chunks import chunk_of, load_golden
from local_stream import LocalStream
from plugin_host import PluginHost, assert_clean_end, assert_ok

from kinesis_fast.reading.inflate import inflate

# As written for the Go plugin and for Fluent Bit's own output kinesis_streams.
GO = {"partition_key": "container_id", "append_newline": "true", "aggregation": "true"}
C = {
    "time_key": "time",
    "time_key_format": "%Y-%m-%dT%H:%M:%S",
    "simple_aggregation": "true",
    "auto_retry_requests": "true",
}
RECORDS = [{"container_id": f"container-{n % 7}", "log": f"line {n}", "n": n} for n in range(2000)]


def entries_of(stream: LocalStream) -> list[kcl.Entry]:
    """Return what the stream stores, with its shards."""
    return [kcl.Entry(r.shard_id, r.partition_key, r.data) for r in stream.read()]


@pytest.mark.parametrize("more", [{}, {"experimental_concurrency": "2"}, {"compression": "gzip"}])
def test_a_configuration_of_the_go_plugin(
    host: PluginHost, stream: LocalStream, more: dict[str, str]
) -> None:
    assert host.init("a", {**stream.target, **GO, **more}) == 1
    assert_ok(host.flush("a", chunk_of(RECORDS)))
    assert_clean_end(host, "a")
    ranges = kcl.ranges_of(stream.local.shards(stream.name))
    stored = entries_of(stream)
    found = kcl.survivors(stored, ranges)
    data = [gzip.decompress(r.data) if "compression" in more else r.data for r in found]
    assert all(text.endswith(b"\n") for text in data)
    records = [json.loads(text) for text in data]
    assert sorted(records, key=lambda record: record["n"]) == RECORDS
    assert [record.partition_key for record in found] == [r["container_id"] for r in records]
    assert len(stored) < 20
    assert "in=2000 delivered=2000" in host.log()[-1].text


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "snappy"])
def test_a_configuration_of_the_c_plugin(
    host: PluginHost, stream: LocalStream, compression: str
) -> None:
    assert host.init("a", {**stream.target, **C, "compression": compression}) == 1
    assert_ok(host.flush("a", chunk_of(RECORDS)))
    assert_clean_end(host, "a")
    stored = entries_of(stream)
    format_ = None if compression == "none" else compression
    lines = [line for entry in stored for line in inflate(entry.data, format_).data.splitlines()]
    records = [json.loads(line) for line in lines]
    assert [{**record, "time": ""} for record in records] == [{**r, "time": ""} for r in RECORDS]
    assert len(stored) == 1
    assert "in=2000 delivered=2000" in host.log()[-1].text


@pytest.mark.parametrize("chunk", ["k8s_1", "typed_0"])
def test_aggregated_records_are_those_that_the_go_plugin_sends_alone(
    host: PluginHost, stream: LocalStream, chunk: str
) -> None:
    data, expected = golden_chunk(chunk, "plain")
    assert load_golden(chunk, "plain").rows
    assert host.init("a", {**stream.target, "aggregation": "true"}) == 1
    assert_ok(host.flush("a", data))
    assert_clean_end(host, "a")
    found = [record for entry in entries_of(stream) for record in user_records(entry.data)]
    assert [json.loads(text) for text in found] == [json.loads(e.data) for e in expected]
