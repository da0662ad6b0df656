"""Whole flushes into the counting sink: HTTP and HTTPS, with and without latency.

Every way of sending has a sink of its own, so that the totals say what each of them sent; after the
timing they have to be, to the record and to the byte, what was flushed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import baselines
import boto3
import loopback
from botocore.config import Config
from compare_flush import expect, flush, output_to
from counting_sink import Certificate, CountingSink, Totals
from timing import Effort, Series, Spread, interleave, ratio, wall_ratio
from workloads import BASE_OPTIONS, STREAM, captured, events_of

from kinesis_fast import OutputConfig, RecordEncoder
from kinesis_fast.cli.expectation import first_events

DIRECT, BOTOCORE, PLAIN = "direct", "botocore", "plain boto3"
REQUEST_RECORDS = 500
LATENCY_MS = 20
MAX_FIXED_MS = 0.10


@dataclass(frozen=True)
class Case:
    """A chunk to send, and how many times as fast as plain boto3 `direct` is to be.

    targets: "http" or "https" -> ratio of the CPU time.
    max_ms: the most CPU time in ms that it may take over plain HTTP.
    """

    name: str
    chunk: bytes
    targets: Mapping[str, float]
    max_ms: float | None = None


@dataclass(frozen=True)
class SendRow:
    """One way of sending a chunk; `sent` is what its sink counted for one pass."""

    case: Case
    scheme: str
    latency_ms: int
    way: str
    sent: Totals
    series: Series
    plain: Series

    @property
    def cpu_ms(self) -> Spread:
        """CPU time of this process per request in ms."""
        return self.series.spread.map(lambda cpu_ns: cpu_ns / self.sent.requests / 1e6)

    @property
    def wall_ms(self) -> Spread:
        """Time from the first request to the last response in ms."""
        return Spread.of(self.series.wall_ns).map(lambda wall_ns: wall_ns / 1e6)

    @property
    def faster(self) -> Spread:
        """How many times the CPU time plain boto3 takes."""
        return ratio(self.plain, self.series)

    @property
    def sooner(self) -> Spread:
        """How many times as long plain boto3 takes by the clock."""
        return wall_ratio(self.plain, self.series)

    @property
    def target(self) -> float | None:
        """The ratio of CPU time to reach; only `direct` without latency has one."""
        is_meant = self.way == DIRECT and not self.latency_ms
        return self.case.targets.get(self.scheme) if is_meant else None

    @property
    def max_ms(self) -> float | None:
        """The most CPU time that it may take, for what has such a target."""
        is_meant = self.way == DIRECT and not self.latency_ms and self.scheme == "http"
        return self.case.max_ms if is_meant else None

    @property
    def missed(self) -> list[str]:
        """The targets that the medians do not reach, in words."""
        name = f"{self.scheme} {self.case.name}"
        missed = []
        if self.target and self.faster.median < self.target:
            missed.append(f"{name} {self.faster.median:.1f}x boto3 (target {self.target:g}x)")
        if self.max_ms and self.cpu_ms.median > self.max_ms:
            missed.append(f"{name} {self.cpu_ms.median:.3f} ms (target {self.max_ms:g} ms)")
        return missed


def measure(effort: Effort, latent: Effort) -> list[SendRow]:
    """Send all chunks in all ways; HTTPS only where counting_sink.tls_obstacle() is None.

    latent: rounds with latency; what is measured there is mostly waiting.
    """
    with loopback.applied() as certificates:
        return [
            row
            for tls in certificates
            for latency_ms in (0, LATENCY_MS)
            for case in (_latent_cases() if latency_ms else _cases())
            for row in _measure(case, tls, latency_ms, latent if latency_ms else effort)
        ]


def _cases() -> list[Case]:
    access = captured("access_0")
    return [
        Case("1 record", first_events(access, 1), {}, MAX_FIXED_MS),
        Case("500 x 200 B", first_events(access, REQUEST_RECORDS), {"http": 15}),
        Case("500 x 10 KB", events_of(REQUEST_RECORDS, 10_000), {"http": 6.5, "https": 5}),
    ]


def _latent_cases() -> list[Case]:
    """Eight requests each, which may be under way at the same time."""
    access = captured("access_0")
    return [
        Case("8 x 500 x 200 B", first_events(access, 8 * REQUEST_RECORDS), {}),
        Case("8 x 500 x 10 KB", events_of(8 * REQUEST_RECORDS, 10_000), {}),
    ]


def _measure(
    case: Case, tls: Certificate | None, latency_ms: int, effort: Effort
) -> Iterator[SendRow]:
    with ExitStack() as opened:
        sinks: dict[str, CountingSink] = {}
        ways: dict[str, Counted] = {}
        for way, make in _WAYS.items():
            sinks[way] = opened.enter_context(CountingSink(tls, latency_ms=latency_ms))
            ways[way] = Counted(make(opened, sinks[way].url, case.chunk))
        one_pass = {way: _check_pass(case, way, ways[way], sinks[way]) for way in ways}
        taken = interleave(ways, effort)
        for way, sink in sinks.items():
            _check_all(way, ways[way], sink.totals(), one_pass[way])
    for way, series in taken.items():
        scheme = "https" if tls else "http"
        yield SendRow(case, scheme, latency_ms, way, one_pass[way], series, taken[PLAIN])


class Counted:
    """A way of sending that knows how often it was called."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self.n_calls = 0

    def __call__(self) -> None:
        """Make one pass."""
        self.n_calls += 1
        self._run()


def _check_pass(case: Case, way: str, run: Counted, sink: CountingSink) -> Totals:
    """Make one pass and check what arrived; how often it was called counts from there."""
    run()
    sent = sink.reset()
    run.n_calls = 0
    requests, records, body_bytes = _ours(case.chunk)
    expect((sent.records, sent.malformed), (records, 0), f"{case.name}, {way}")
    if way != PLAIN:
        expect((sent.requests, sent.body_bytes), (requests, body_bytes), f"{case.name}, {way}")
    return sent


def _ours(chunk: bytes) -> tuple[int, int, int]:
    """The requests, records and bytes of the bodies of a chunk."""
    sizes = []
    for request in RecordEncoder(OutputConfig.from_options(BASE_OPTIONS)).requests(chunk):
        sizes.append((1, request.n_records, len(request)))
        request.release()
    requests, records, n_bytes = map(sum, zip(*sizes, strict=True))
    return requests, records, n_bytes


def _check_all(way: str, run: Counted, totals: Totals, one_pass: Totals) -> None:
    wanted = [count * run.n_calls for count in one_pass[1:]]
    expect(list(totals[1:]), wanted, f"what arrived of {run.n_calls} passes, {way}")


def _output(transport: str) -> Callable[[ExitStack, str, bytes], Callable[[], object]]:
    def make(opened: ExitStack, url: str, chunk: bytes) -> Callable[[], object]:
        output = opened.enter_context(output_to(url, transport))
        return lambda: flush(output, chunk)

    return make


def _plain_boto3(opened: ExitStack, url: str, chunk: bytes) -> Callable[[], object]:
    client = boto3_client(opened, url)
    json = baselines.baselines()["json"]
    return lambda: put_all(client, baselines.plain_records(chunk, json))


def boto3_client(opened: ExitStack, url: str) -> Any:
    """A client that makes one attempt; closed with `opened`."""
    client: Any = boto3.client(
        "kinesis",
        region_name=BASE_OPTIONS["region"],
        endpoint_url=url,
        config=Config(retries={"total_max_attempts": 1}),
    )
    opened.callback(client.close)
    return client


def put_all(client: Any, records: Iterable[baselines.PlainRecord]) -> None:
    """Send records by `client.put_records`, and check that they were accepted."""
    for entries in baselines.batches(records, bytes):
        response = client.put_records(StreamName=STREAM, Records=entries)
        expect(response["FailedRecordCount"], 0, "client.put_records")


_WAYS: dict[str, Callable[[ExitStack, str, bytes], Callable[[], object]]] = {
    DIRECT: _output("direct"),
    BOTOCORE: _output("botocore"),
    PLAIN: _plain_boto3,
}
