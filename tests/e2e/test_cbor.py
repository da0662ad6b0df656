"""CBOR end to end: into kinesis-local, which speaks it, and into moto, which does not."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import cbor2
import kcl
import pytest
import wire
from aggregated import user_records
from chunks import chunk_of, event
from kinesis_local import kinesis_local, stream_name
from local_stream import LocalStream
from loopback_settings import use_made_up_settings
from outputs import assert_stats

from kinesis_fast import FlushResult, KinesisOutput, OutputConfig
from kinesis_fast.delivery.retry import Outcome, classify
from kinesis_fast.local.kinesis import REGION, plain_client
from kinesis_fast.reading.inflate import inflate
from kinesis_fast.transport import CBOR_TYPE, Response, is_cbor
from kinesis_fast.transport.client import open_transport

LINE = "the service does not take CBOR"
N_SHARDS = 4
EVERY_BYTE = bytes(range(256))


class CborStream:
    """A stream of kinesis-local."""

    def __init__(self, endpoint: str) -> None:
        self.name = stream_name()
        self.client = plain_client(endpoint, REGION)
        self.client.create_stream(StreamName=self.name, ShardCount=N_SHARDS)
        self.client.get_waiter("stream_exists").wait(
            StreamName=self.name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
        )
        self.options = {
            "region": REGION,
            "stream": self.name,
            "endpoint": endpoint,
            "protocol": "cbor",
        }

    def shards(self) -> list[dict[str, Any]]:
        return list(self.client.list_shards(StreamName=self.name)["Shards"])

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield shard and record, read with boto3, whose protocol is JSON."""
        for shard in self.shards():
            iterator = self.client.get_shard_iterator(
                StreamName=self.name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while True:
                answer = self.client.get_records(ShardIterator=iterator)
                for record in answer["Records"]:
                    yield shard["ShardId"], record
                iterator = answer.get("NextShardIterator")
                if not (answer["Records"] and iterator):
                    break

    def shard_of(self, hash_key: int) -> str:
        for shard in self.shards():
            keys = shard["HashKeyRange"]
            if int(keys["StartingHashKey"]) <= hash_key <= int(keys["EndingHashKey"]):
                return str(shard["ShardId"])
        raise AssertionError("no shard has this hash key")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with kinesis_local() as url:
        yield url


@pytest.fixture
def cbor_stream(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CborStream]:
    use_made_up_settings(monkeypatch)
    stream = CborStream(endpoint)
    yield stream
    stream.client.delete_stream(StreamName=stream.name)
    stream.client.close()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kinesis_fast")


def flush(chunk: bytes, options: dict[str, str], **expected: int) -> None:
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        assert output.flush(chunk, "e2e") is FlushResult.OK
        assert_stats(output, **expected)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["direct", "botocore"])
def test_records_arrive_as_they_are(
    cbor_stream: CborStream, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [f"{number} ключ \u00ff \U0001f680" for number in range(1203)]
    chunk = chunk_of({"text": text, "k": f"{text[:8]}"} for text in texts)
    options = {**cbor_stream.options, "transport": transport, "log_key": "text"}
    flush(chunk, {**options, "partition_key": "k"}, delivered=1203)
    records = list(cbor_stream.read())
    assert sorted(record["Data"].decode() for _, record in records) == sorted(texts)
    for shard, record in records:
        assert record["PartitionKey"] == record["Data"].decode()[:8]
        digest = hashlib.md5(record["PartitionKey"].encode()).digest()
        assert cbor_stream.shard_of(int.from_bytes(digest)) == shard
    assert LINE not in caplog.text


@pytest.mark.slow
def test_every_byte_value_arrives(cbor_stream: CborStream) -> None:
    """Compressed records of many contents, and each byte value by itself."""
    rows = [EVERY_BYTE[i:] + EVERY_BYTE[:i] for i in range(0, 256, 5)]
    chunk = b"".join(event({"log": base64.b64encode(row).decode() * 9}) for row in rows)
    options = {**cbor_stream.options, "log_key": "log", "compression": "gzip"}
    flush(chunk, options, delivered=len(rows))
    stored = [record["Data"] for _, record in cbor_stream.read()]
    wanted = sorted(base64.b64encode(row) * 9 for row in rows)
    assert sorted(inflate(data).data for data in stored) == wanted
    assert {byte for data in stored for byte in data} == set(range(256))


@pytest.mark.slow
def test_a_body_of_every_byte_value(cbor_stream: CborStream) -> None:
    """What cbor2 writes, by our transport; what boto3 reads is the same."""
    entries = [{"Data": bytes([byte]), "PartitionKey": f"k{byte}"} for byte in range(256)]
    entries += [
        {"Data": b"", "PartitionKey": "empty"},
        {"Data": EVERY_BYTE, "PartitionKey": "é", "ExplicitHashKey": str(2**128 - 1)},
    ]
    body = cbor2.dumps({"Records": entries, "StreamName": cbor_stream.name})
    transport: Any = open_transport(OutputConfig.from_options(cbor_stream.options))
    response = transport.send(memoryview(body), len(entries), 10.0, CBOR_TYPE)
    transport.close()
    assert is_cbor(response.headers)
    assert classify(response, len(entries)).outcome is Outcome.SETTLED
    stored = {record["PartitionKey"]: record["Data"] for _, record in cbor_stream.read()}
    assert stored == {str(e["PartitionKey"]): e["Data"] for e in entries}
    last = next(s for s, record in cbor_stream.read() if record["PartitionKey"] == "é")
    assert last == cbor_stream.shard_of(2**128 - 1)


@pytest.mark.slow
def test_aggregates_with_explicit_hash_keys(cbor_stream: CborStream) -> None:
    chunk = chunk_of({"n": number, "k": f"key-{number % 40}"} for number in range(2000))
    options = {**cbor_stream.options, "aggregation": "true", "partition_key": "k"}
    flush(chunk, options, delivered=2000)
    ranges = {
        shard["ShardId"]: (
            int(shard["HashKeyRange"]["StartingHashKey"]),
            int(shard["HashKeyRange"]["EndingHashKey"]),
        )
        for shard in cbor_stream.shards()
    }
    kept = [
        record.data
        for shard, stored in cbor_stream.read()
        for record in kcl.kept(
            kcl.Entry(shard, stored["PartitionKey"], stored["Data"]), ranges[shard]
        )
    ]
    wanted = [b'{"n":%d,"k":"key-%d"}' % (number, number % 40) for number in range(2000)]
    assert sorted(kept) == sorted(wanted)


@pytest.mark.slow
def test_random_keys_and_joined_records(cbor_stream: CborStream) -> None:
    chunk = chunk_of({"n": number} for number in range(3000))
    flush(chunk, {**cbor_stream.options, "simple_aggregation": "true"}, delivered=3000)
    found = [line for _, record in cbor_stream.read() for line in user_records(record["Data"])]
    assert sorted(found) == sorted(b'{"n":%d}' % number for number in range(3000))


@pytest.mark.slow
def test_an_unknown_stream(cbor_stream: CborStream, caplog: pytest.LogCaptureFixture) -> None:
    options = {**cbor_stream.options, "stream": "no-such-stream"}
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        assert output.flush(event({"a": 1})) is FlushResult.RETRY
        assert_stats(output, returned=1, requests=1)
    assert "ResourceNotFoundException (HTTP 400)" in caplog.text
    assert "no such stream in this account" in caplog.text
    assert LINE not in caplog.text


@pytest.mark.slow
def test_what_no_service_reads(cbor_stream: CborStream) -> None:
    transport: Any = open_transport(OutputConfig.from_options(cbor_stream.options))
    response = transport.send(memoryview(b"{garbage"), 1, 10.0, CBOR_TYPE)
    transport.close()
    assert isinstance(response, Response)
    assert is_cbor(response.headers)
    verdict = classify(response, 1)
    assert verdict.outcome is Outcome.BLOCKED
    assert "SerializationException" in verdict.reason


def test_a_service_that_does_not_speak_it(
    stream: LocalStream, caplog: pytest.LogCaptureFixture
) -> None:
    raw = wire.array([b"\x01", wire.mapping([(wire.string(b"n"), wire.binary(b"\xff"))])])
    chunk = chunk_of({"n": number} for number in range(1200)) + raw
    flush(chunk, {**stream.target, "protocol": "cbor"}, delivered=1201, pending=0)
    assert len(stream.read()) == 1201
    assert caplog.text.count(LINE) == 1
