"""The metrics of all outputs of a process, as prometheus_client writes them.

docs/metrics.md describes each of them; their names and labels do not change within a major version.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final, NamedTuple

import botocore
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from kinesis_fast.limits import RESUME_MAX_BYTES
from kinesis_fast.metrics.meter import Distribution
from kinesis_fast.metrics.shown import Registry, ShownOutput
from kinesis_fast.stats import REMARKS, SKIP_REASONS, CounterName, Stats
from kinesis_fast.version import VERSION

PREFIX: Final = "kinesis_fast_"
LABELS: Final = ("output", "stream")
OUTCOMES: Final[tuple[CounterName, ...]] = ("delivered", "dead", "returned", "skipped")
NS: Final = 1_000_000_000


class Counted(NamedTuple):
    """A counter of `Stats` that is a metric of its own: its name, unit, and what it says."""

    counter: CounterName
    name: str
    help: str
    unit: str = ""


COUNTED: Final = (
    Counted("in", "records_in", "Records of the chunks that were passed to flush."),
    Counted("retried", "retried_records", "Records that were sent again, each time."),
    Counted("requests", "requests", "PutRecords requests that went out, retries included."),
    Counted("throttles", "throttles", "Responses that asked to slow down."),
    Counted("entries", "entries", "Entries that records were encoded into."),
    Counted("aggregates", "aggregates", "Entries that stand for more than one record."),
    Counted("record_bytes", "record_bytes", "Data and keys before aggregation.", "bytes"),
    Counted("entry_bytes", "entry_bytes", "Data and keys of the entries.", "bytes"),
    Counted("bytes_in", "chunk_bytes", "Bytes of the chunks.", "bytes"),
    Counted("bytes_delivered", "delivered_bytes", "Data and keys acknowledged.", "bytes"),
)


class Measured(NamedTuple):
    """A number that may fall: its name, what it says, how it is read (None: left out), its unit."""

    name: str
    help: str
    read: Callable[[ShownOutput], float | None]
    unit: str = ""


MEASURED: Final = (
    Measured(
        "requests_in_flight",
        "Requests that wait for their response.",
        lambda output: output.meter.n_in_flight,
    ),
    Measured(
        "oldest_request_seconds",
        "Time since the oldest request in flight began.",
        lambda output: output.meter.oldest_in_flight_s,
        "seconds",
    ),
    Measured(
        "requests_window",
        "Requests of a chunk that may be in flight now; below 1: one, with pauses before it.",
        lambda output: output.parts.context.concurrency.window,
    ),
    Measured(
        "requests_window_limit",
        "The option max_in_flight, the highest window.",
        lambda output: output.config.max_in_flight,
    ),
    Measured(
        "pace_seconds",
        "The mean pause before each request; 0 unless the stream throttles.",
        lambda output: output.parts.context.concurrency.mean_pause_s,
        "seconds",
    ),
    Measured(
        "resume_memory_bytes",
        "Size of what is remembered of chunks that were returned in part.",
        lambda output: output.parts.context.resume.n_bytes,
        "bytes",
    ),
    Measured(
        "resume_memory_limit_bytes",
        "The most that is remembered; beyond that the oldest is forgotten.",
        lambda output: RESUME_MAX_BYTES,
        "bytes",
    ),
    Measured(
        "resume_memory_chunks",
        "Chunks that were returned in part and are remembered.",
        lambda output: output.parts.context.resume.n_chunks,
    ),
    Measured(
        "credentials_expiry_timestamp_seconds",
        "When the credentials expire, in seconds since 1970.",
        lambda output: output.credentials_expire_at,
        "seconds",
    ),
)


def _spooled(read: Callable[..., float]) -> Callable[[ShownOutput], float | None]:
    def of(output: ShownOutput) -> float | None:
        return None if output.parts.spool is None else read(output.parts.spool)

    return of


SPOOLED: Final = (
    Measured(
        "spool_chunks",
        "Chunks in the spool that are not settled.",
        _spooled(lambda spool: spool.n_chunks),
    ),
    Measured(
        "spool_bytes",
        "Size of all files of this output in the spool.",
        _spooled(lambda spool: spool.n_bytes),
        "bytes",
    ),
    Measured(
        "spool_limit_bytes",
        "The option spool_max_bytes.",
        _spooled(lambda spool: spool.max_bytes),
        "bytes",
    ),
    Measured(
        "spool_oldest_chunk_age_seconds",
        "Age of the oldest chunk in the spool, to the second; 0 if it is empty.",
        _spooled(lambda spool: spool.oldest_age_s),
        "seconds",
    ),
)


class Collector:
    """Makes metrics of the outputs as they are when it is asked.

    Args:
        registry: the outputs.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with the samples of all outputs."""
        outputs = list(self._registry)
        yield _build()
        yield _info(outputs)
        yield from _accounts([(output.labels, output.stats()) for output in outputs])
        yield from map(_gauge, MEASURED + SPOOLED, [outputs] * len(MEASURED + SPOOLED))
        yield _errors("request_errors", "Requests that failed as a whole.", outputs)
        yield _errors("entry_errors", "Entries that were not accepted.", outputs)
        yield _histogram(
            "request_duration_seconds",
            "Time from sending a request to its response, or to giving it up.",
            [(output.labels, output.meter.durations) for output in outputs],
            "seconds",
        )
        yield _histogram(
            "request_size_bytes",
            "Size of the body of a request.",
            [(output.labels, output.meter.sizes) for output in outputs],
            "bytes",
        )
        yield from _dead_letters(outputs)


def _build() -> Metric:
    return InfoMetricFamily(
        PREFIX + "build",
        "The version of kinesis_fast and of what it runs with.",
        value={
            "version": VERSION,
            "python": platform.python_version(),
            "botocore": botocore.__version__,
        },
    )


def _info(outputs: Iterable[ShownOutput]) -> Metric:
    family = InfoMetricFamily(PREFIX + "output", "What an output was set up for.", labels=LABELS)
    for output in outputs:
        config = output.config
        mode = "spooled" if output.parts.spool else "foreground"
        if config.experimental_concurrency and not output.parts.spool:
            mode = "background"
        protocol = "cbor" if output.parts.context.protocol.is_cbor else "json"
        about = {"region": config.region, "mode": mode, "protocol": protocol}
        family.add_metric(output.labels, about)
    return family


def _accounts(accounts: list[tuple[list[str], Stats]]) -> Iterator[Metric]:
    for counted in COUNTED:
        family = _counter(counted.name, counted.help, unit=counted.unit)
        for labels, stats in accounts:
            family.add_metric(labels, stats[counted.counter])
        yield family
    pending = GaugeMetricFamily(
        PREFIX + "records_pending",
        "Records that are being delivered or wait for it.",
        labels=LABELS,
    )
    for labels, stats in accounts:
        pending.add_metric(labels, stats["pending"])
    yield pending
    parts: tuple[tuple[str, str, str, tuple[CounterName, ...], str], ...] = (
        ("records", "Records by what became of them.", "outcome", OUTCOMES, ""),
        ("skipped_records", "Records that cannot be sent.", "reason", SKIP_REASONS, "skipped_"),
        ("remarks", "What was remarkable about records.", "remark", REMARKS, ""),
    )
    for name, text, label, counters, prefix in parts:
        family = _counter(name, text, label)
        for labels, stats in accounts:
            for counter in counters:
                family.add_metric([*labels, counter.removeprefix(prefix)], stats[counter])
        yield family


def _counter(name: str, text: str, *labels: str, unit: str = "") -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=(*LABELS, *labels), unit=unit)


def _gauge(measured: Measured, outputs: Iterable[ShownOutput]) -> Metric:
    family = GaugeMetricFamily(
        PREFIX + measured.name, measured.help, labels=LABELS, unit=measured.unit
    )
    for output in outputs:
        value = measured.read(output)
        if value is not None:
            family.add_metric(output.labels, value)
    return family


def _errors(name: str, text: str, outputs: Iterable[ShownOutput]) -> Metric:
    family = _counter(name, text, "code")
    for output in outputs:
        errors: dict[str, int] = getattr(output.meter, name)
        for code, n in sorted(errors.items()):
            family.add_metric([*output.labels, code], n)
    return family


def _histogram(
    name: str, text: str, distributions: Iterable[tuple[list[str], Distribution]], unit: str
) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, text, labels=LABELS, unit=unit)
    for labels, (bounds, counts, total) in distributions:
        names = (*map(floatToGoString, bounds), "+Inf")
        family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), total)
    return family


def _dead_letters(outputs: Iterable[ShownOutput]) -> Iterator[Metric]:
    written = _counter("dead_letters", "Dead letters that were written.")
    lost = _counter("dead_letters_lost", "Dead letters that could not be written.")
    for output in outputs:
        if (letters := output.parts.dead_letters) is not None:
            written.add_metric(output.labels, letters.n_written)
            lost.add_metric(output.labels, letters.n_lost)
    yield from (written, lost)
