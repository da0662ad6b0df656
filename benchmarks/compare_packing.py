"""What aggregation and compression cost in CPU time, and what they save.

Before a way is timed, what a consumer would see is compared with the records of the plain way.
Whole flushes go over TLS, where it is possible, each way into a sink of its own, whose totals have
to be what was flushed. CPU is that of this process.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import baselines
import loopback
from compare_encode import exhaust
from compare_flush import expect, flush
from compare_send import Counted, boto3_client, put_all
from counting_sink import Certificate, CountingSink, Totals
from packing import KPL, LINES, Packed, Way, packed
from timing import Effort, Series, Spread, interleave, ratio
from workloads import captured

from kinesis_fast import KinesisOutput, OutputConfig

GZIP_WBITS, GZIP_LEVEL = 31, 6
GZIP = {"compression": "gzip", "compression_level": str(GZIP_LEVEL)}
ZSTD = {"compression": "zstd", "compression_level": "1"}
PLAIN, PYTHON = "plain", "msgpack + json + zlib + boto3"
LEAST_SPEED = 0.6  # of the encoder with aggregation
MAX_BYTES = 1 / 6
LINES_ZSTD = Way("simple_aggregation, zstd 1", LINES | ZSTD)


class Chunk(NamedTuple):
    """A chunk with the path of a key that few of its records have, and of one that many have."""

    name: str
    data: bytes
    few_keys: str
    many_keys: str


class Limits(NamedTuple):
    """What a way may take at most, as parts of what the way takes that it is compared with."""

    cpu: float | None = None
    entry_bytes: float | None = None


@dataclass(frozen=True)
class PackingRow:
    """One way to pack a chunk, and the way that it is compared with.

    work: "encode" or, for a whole flush, "http" or "https".
    """

    work: str
    chunk: str
    way: str
    other: str
    packed: Packed
    plain: Packed
    series: Series
    other_series: Series
    limits: Limits

    @property
    def cpu_s_per_gb(self) -> Spread:
        """CPU seconds per 10^9 bytes of records."""
        return self.series.spread.map(lambda cpu_ns: cpu_ns / self.packed.record_bytes)

    @property
    def cpu_part(self) -> Spread:
        """CPU time as a part of that of the other way."""
        return ratio(self.series, self.other_series)

    @property
    def entry_bytes_part(self) -> float:
        """Bytes of entries as a part of those of single records as they are."""
        return self.packed.entry_bytes / self.plain.entry_bytes

    @property
    def missed(self) -> list[str]:
        """The limits that are not kept, in words."""
        name, missed = f"{self.work} {self.chunk}, {self.way}", []
        cpu, entry_bytes = self.limits
        if cpu and self.cpu_part.median > cpu:
            missed.append(
                f"{name}: {self.cpu_part.median:.2f} of the CPU of {self.other} (at most {cpu:.2f})"
            )
        if entry_bytes and self.entry_bytes_part > entry_bytes:
            missed.append(f"{name}: {self.entry_bytes_part:.3f} of the bytes (at most 1/6)")
        return missed


def measure(effort: Effort, codecs: Effort) -> list[PackingRow]:
    """Measure everything.

    effort: of encoding with aggregation, and of whole flushes.
    codecs: of encoding with each codec, which takes long.
    """
    chunks = [
        Chunk("access_0", captured("access_0"), "user", "host"),
        Chunk("k8s_1", captured("k8s_1"), "kubernetes->namespace_name", "kubernetes->pod_name"),
    ]
    rows = [row for chunk in chunks for row in _encoded(chunk, effort)]
    rows += [row for chunk in chunks for row in _codecs(chunk, codecs)]
    with loopback.applied() as certificates:
        for chunk in chunks:
            rows += _flushed(chunk, certificates[-1], effort)
    return rows


def _encoded(chunk: Chunk, effort: Effort) -> Iterator[PackingRow]:
    """Aggregation against none, with keys of each kind."""
    keys = {"random keys": "", "few keys": chunk.few_keys, "many keys": chunk.many_keys}
    for kind, path in keys.items():
        ways = [Way(f"{PLAIN}, {kind}", {}, path), Way(f"aggregation, {kind}", KPL, path)]
        limits = {ways[1].name: Limits(1 / LEAST_SPEED)} if chunk.name == "access_0" else {}
        yield from _encode_rows(chunk, ways, limits, effort)


def _codecs(chunk: Chunk, effort: Effort) -> Iterator[PackingRow]:
    """Each codec, for single records and for joined ones."""
    levels = {"gzip": (6, 3, 1), "zlib": (6,), "zstd": (3, 1), "snappy": (None,)}
    for label, joins in (("alone", {}), ("joined", LINES)):
        ways = [Way(f"{label}, none", joins)]
        for codec, of_codec in levels.items():
            for level in of_codec:
                options = {"compression": codec}
                options |= {"compression_level": str(level)} if level else {}
                ways.append(Way(f"{label}, {codec} {level or ''}".rstrip(), joins | options))
        yield from _encode_rows(chunk, ways, {}, effort)


def _encode_rows(
    chunk: Chunk, ways: list[Way], limits: Mapping[str, Limits], effort: Effort
) -> Iterator[PackingRow]:
    """Encode with all ways in turns; the first one is what the others are compared with."""
    results = {way.name: packed(chunk.data, way) for way in ways}
    taken = interleave({w.name: partial(exhaust, w.encoder(), chunk.data) for w in ways}, effort)
    other, plain = ways[0].name, packed(chunk.data, Way(PLAIN))
    for name, series in taken.items():
        yield PackingRow(
            "encode", chunk.name, name, other, results[name], plain, series, taken[other],
            limits.get(name, Limits()),
        )  # fmt: skip


def _flushed(chunk: Chunk, tls: Certificate | None, effort: Effort) -> Iterator[PackingRow]:
    """Whole flushes in all ways, and in plain Python what per-record gzip is compared with."""
    ways = [
        Way(PLAIN),
        Way(f"{PLAIN}, partition_key", {}, chunk.many_keys),
        Way("aggregation", KPL),
        Way("aggregation, partition_key", KPL, chunk.many_keys),
        Way("simple_aggregation", LINES),
        Way("simple_aggregation, gzip 6", LINES | GZIP),
        LINES_ZSTD,
        Way("gzip 6 of each record", GZIP),
    ]
    with ExitStack() as opened:
        sinks = {name: opened.enter_context(CountingSink(tls)) for name in (*_names(ways), PYTHON)}
        runs = {w.name: Counted(_flush(opened, sinks[w.name], w, chunk.data)) for w in ways}
        runs[PYTHON] = Counted(_python(opened, sinks[PYTHON], chunk.data))
        results = {way.name: packed(chunk.data, way) for way in ways}
        one_pass = {name: _check_pass(run, sinks[name]) for name, run in runs.items()}
        for name, result in results.items():
            expect(one_pass[name].records, result.entries, f"entries that arrived, {name}")
        taken = interleave(runs, effort)
        for name, sink in sinks.items():
            wanted = one_pass[name].records * runs[name].n_calls
            totals = sink.totals()
            expect((totals.records, totals.malformed), (wanted, 0), f"what arrived, {name}")
    for name in _names(ways):
        other, sent = PYTHON if name == ways[-1].name else PLAIN, one_pass[name]
        # With partition keys the output divides the entries into requests in another way.
        result = results[name]._replace(requests=sent.requests, body_bytes=sent.body_bytes)
        yield PackingRow(
            "https" if tls else "http", chunk.name, name, other, result, results[PLAIN],
            taken[name], taken[other], _limits(chunk, name),
        )  # fmt: skip


def _limits(chunk: Chunk, way: str) -> Limits:
    if chunk.name == "access_0":
        wanted = {"aggregation": Limits(0.65), LINES_ZSTD.name: Limits(0.6, MAX_BYTES)}
    else:
        wanted = {"gzip 6 of each record": Limits(0.67)}
    return wanted.get(way, Limits())


def _names(ways: list[Way]) -> list[str]:
    return [way.name for way in ways]


def _flush(opened: ExitStack, sink: CountingSink, way: Way, chunk: bytes) -> Callable[[], object]:
    options = way.all_options() | {"endpoint": sink.url, "transport": "direct"}
    output = opened.enter_context(KinesisOutput(OutputConfig.from_options(options)))
    return lambda: flush(output, chunk)


def _python(opened: ExitStack, sink: CountingSink, chunk: bytes) -> Callable[[], object]:
    client = boto3_client(opened, sink.url)
    return lambda: put_all(client, _gzipped(chunk))


def _gzipped(chunk: bytes) -> Iterator[baselines.PlainRecord]:
    for data, key in baselines.plain_records(chunk, baselines.baselines()["json"]):
        yield zlib.compress(data, GZIP_LEVEL, wbits=GZIP_WBITS), key


def _check_pass(run: Counted, sink: CountingSink) -> Totals:
    """Make one pass, and return what arrived; how often it was called counts from there."""
    run()
    run.n_calls = 0
    return sink.reset()
