"""Whole flushes: what delivery adds to the encoding, from memory and over HTTP on loopback."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import baselines
import boto3
from botocore.config import Config
from compare_encode import exhaust
from http_sink import HttpSink, put_records_answer
from timing import Effort, Series, Spread, interleave, ratio
from workloads import BASE_OPTIONS, STREAM, Workload, captured, events_of, first_events

from kinesis_fast import FlushResult, KinesisOutput, OutputConfig, RecordEncoder
from kinesis_fast.transport import Response

REQUEST_RECORDS = 500
PLAIN_BOTO3 = "client.put_records(Records=ready)"

FOREIGN_VARIABLES = ("AWS_", "EKS_POD_EXECUTION_ROLE", "SEND_FAILURE_TIMEOUT")
LOOPBACK_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


class MemoryTransport:
    """Answers at once that every entry was taken, and remembers what it was given."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Take a body of `n_records` entries."""
        self.sent.append(n_records)
        return Response(200, {}, put_records_answer(n_records))


@dataclass(frozen=True)
class MemoryRow:
    """A chunk flushed into memory, and the same chunk only encoded."""

    name: str
    n_bytes: int
    n_requests: int
    flush: Series
    encode: Series

    @property
    def mb_per_s(self) -> Spread:
        """10^6 bytes of msgpack per CPU second of flush."""
        return self.flush.spread.map(lambda cpu_ns: self.n_bytes * 1e3 / cpu_ns)

    @property
    def fixed_us(self) -> Spread:
        """CPU time per request besides the encoding, in µs, round by round."""
        pairs = zip(self.flush.cpu_ns, self.encode.cpu_ns, strict=True)
        return Spread.of([(whole - part) / self.n_requests / 1e3 for whole, part in pairs])


@dataclass(frozen=True)
class HttpRow:
    """One way of sending a request of 500 records over HTTP."""

    request: str
    way: str
    series: Series
    plain_boto3: Series

    @property
    def ms(self) -> Spread:
        """CPU time of this process per request in ms."""
        return self.series.spread.map(lambda cpu_ns: cpu_ns / 1e6)

    @property
    def share(self) -> Spread:
        """What part of plain put_records' CPU time it takes."""
        return ratio(self.series, self.plain_boto3)


def measure_memory(name: str, chunk: bytes, effort: Effort) -> MemoryRow:
    """Flush a chunk through KinesisOutput into memory, and encode it alone in turn."""
    config = OutputConfig.from_options(BASE_OPTIONS)
    encoder = RecordEncoder(config)
    transport = MemoryTransport()
    with KinesisOutput(config, transport) as output:
        _flush(output, chunk)
        n_requests = len(transport.sent)
        _expect(sum(transport.sent), encoder.count(chunk), name)
        ways: dict[str, Callable[[], object]] = {
            "flush": lambda: _flush(output, chunk),
            "encode": lambda: exhaust(encoder, chunk),
        }
        taken = interleave(ways, effort)
    return MemoryRow(name, len(chunk), n_requests, taken["flush"], taken["encode"])


def measure_all_memory(workloads: Iterable[Workload], effort: Effort) -> list[MemoryRow]:
    """Flush every chunk, and one of a single small record, which is nothing but fixed cost."""
    single = first_events(captured("access_0"), 1)
    rows = [measure_memory(workload.name, workload.chunk, effort) for workload in workloads]
    return [measure_memory("one record", single, effort), *rows]


def measure_http(effort: Effort) -> list[HttpRow]:
    """CPU per request of 500 records: KinesisOutput's own transports against plain boto3."""
    chunks = {
        "500 x 200 B": first_events(captured("access_0"), REQUEST_RECORDS),
        "500 x 10 KB": events_of(REQUEST_RECORDS, 10_000),
    }
    with mock.patch.dict(os.environ, _environment(), clear=True), HttpSink() as sink:
        return [
            row
            for name, chunk in chunks.items()
            for row in _measure_http(name, chunk, sink, effort)
        ]


def _measure_http(name: str, chunk: bytes, sink: HttpSink, effort: Effort) -> Iterator[HttpRow]:
    config = OutputConfig.from_options(BASE_OPTIONS | {"endpoint": sink.url})
    client = boto3.client(
        "kinesis",
        region_name=config.region,
        endpoint_url=sink.url,
        config=Config(retries={"total_max_attempts": 1}),
    )
    ready: list[dict[str, object]] = [
        {"Data": record.data, "PartitionKey": record.partition_key}
        for record in RecordEncoder(config).records(chunk)
    ]
    with (
        closing(client),
        KinesisOutput(replace(config, transport="direct")) as direct,
        KinesisOutput(replace(config, transport="botocore")) as botocore,
        KinesisOutput(config, MemoryTransport()) as memory,
    ):
        ways: dict[str, Callable[[], object]] = {
            "KinesisOutput.flush, direct": lambda: _flush(direct, chunk),
            "KinesisOutput.flush, botocore": lambda: _flush(botocore, chunk),
            "KinesisOutput.flush, into memory": lambda: _flush(memory, chunk),
            PLAIN_BOTO3: lambda: _put(client, ready),
            "msgpack + json + client.put_records": lambda: _put(client, _records(chunk)),
        }
        for way, run in ways.items():
            before = sink.n_records()
            run()
            _expect(sink.n_records() - before, 0 if "memory" in way else REQUEST_RECORDS, way)
        taken = interleave(ways, effort)
    for way, series in taken.items():
        yield HttpRow(name, way, series, taken[PLAIN_BOTO3])


def _environment() -> dict[str, str]:
    """The environment without the account, the proxy and the configuration of this machine."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)}
    return kept | LOOPBACK_VARIABLES


def _records(chunk: bytes) -> list[dict[str, object]]:
    return [
        {"Data": data, "PartitionKey": key}
        for data, key in baselines.plain_records(chunk, baselines.json_dumps)
    ]


def _put(client: Any, records: list[dict[str, object]]) -> None:
    answer = client.put_records(StreamName=STREAM, Records=records)
    _expect(answer["FailedRecordCount"], 0, "client.put_records")


def _flush(output: KinesisOutput, chunk: bytes) -> None:
    _expect(output.flush(chunk), FlushResult.OK, "flush")


def _expect(found: int, wanted: int, where: str) -> None:
    if found != wanted:
        raise AssertionError(f"{where}: {found} instead of {wanted}")
