"""`kinesis-fast demo`: captured chunks into a local Kinesis, read back and compared."""

import itertools
import logging
import os
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from kinesis_fast import logs
from kinesis_fast.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    MB,
    Parser,
    UsageError,
    command_parser,
    complain,
    counted,
    log_to_stderr,
    megabytes,
    parse_options,
    refuse_target_options,
    whole_number,
)
from kinesis_fast.cli.expectation import (
    Comparison,
    Expected,
    Sample,
    expected_of_encoder,
    first_events,
    load_samples,
)
from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.local.kinesis import LocalKinesis, LocalRecord
from kinesis_fast.output import FlushResult, KinesisOutput

STREAM: Final = "demo"
SHARDS: Final = 4
DEFAULT_RECORDS: Final = 10_000
RETRY_PAUSE_S: Final = 0.05
RETRY_FOR_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 30.0
SHOWN_DIFFERENCES: Final = 5
SHOWN_CHARACTERS: Final = 300

# The options that make records what they are. With others than the samples' own, the packaged
# records say nothing any more.
SHAPING_OPTIONS: Final = (
    *("partition_key", "data_keys", "log_key", "replace_dots", "append_newline"),
    *("time_key", "time_key_format", "max_record_size"),
)


class Play(NamedTuple):
    """A sample, or its first events, and what should arrive of it."""

    sample: Sample
    chunk: bytes
    expected: list[Expected]


class DeliveryFailed(KinesisFastError):
    """A chunk was not taken although the service is a local one."""


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "demo",
        "Play chunks captured from Fluent Bit into a Kinesis on this machine (moto's server, for\n"
        "the time of the demo), read the stream back with plain boto3, and compare every record\n"
        "with what the Go plugin made of the same chunks.",
        "example:\n  kinesis-fast demo --records 50000 -p experimental_concurrency=2\n\n"
        "Each sample has options of its own; -p changes them for all. When that changes the\n"
        "records, they are compared with what the encoder of this package yields instead.\n"
        "Times are written in UTC. No AWS account is used, and no credentials are read.\n"
        "\nexit code 1: a record is missing, extra or different",
    )
    parser.add_argument(
        "--records",
        type=whole_number(1),
        default=DEFAULT_RECORDS,
        metavar="N",
        help=f"play the samples over and over up to N records (default: {DEFAULT_RECORDS:,})",
    )
    return parser


def run(arguments: Namespace) -> int:
    """Play, read back, compare, and return the exit code."""
    log_to_stderr(logging.ERROR, arguments.debug)
    changes = parse_options(arguments.options)
    refuse_target_options(changes, "the demo")
    taken = sorted({"region", "stream"} & changes.keys())
    if taken:
        raise UsageError(f"the demo has a {taken[0]} of its own: leave out -p {taken[0]}")
    samples = load_samples()
    configs = {sample.name: config_of(sample, changes, None) for sample in samples}
    max_record_size = max(config.max_record_size for config in configs.values())
    with (
        utc(),
        LocalKinesis(max_record_size=max_record_size) as local,
        local.applied_environment(),
    ):
        print(f"local Kinesis (moto) at {local.endpoint}, stream {STREAM!r} of {SHARDS} shards")
        local.create_stream(STREAM, SHARDS)
        is_packaged = all(has_own_shape(sample, configs[sample.name]) for sample in samples)
        plays = list(plays_of(samples, arguments.records, None if is_packaged else configs))
        demo = Demo(local, samples, changes)
        demo.play(plays)
        demo.read_back()
    demo.report(is_packaged)
    return EXIT_OK if demo.comparison.is_equal else EXIT_FAILED


def config_of(sample: Sample, changes: dict[str, str], endpoint: str | None) -> OutputConfig:
    """Return the configuration for a sample; an endpoint of None is good for a look only."""
    target = {"region": "us-east-1", "stream": STREAM, "endpoint": endpoint or ""}
    return OutputConfig.from_options(target | sample.options | changes)


def has_own_shape(sample: Sample, config: OutputConfig) -> bool:
    """Whether records come out as the sample's own options make them."""
    own = config_of(sample, {}, None)
    return all(getattr(own, name) == getattr(config, name) for name in SHAPING_OPTIONS)


def plays_of(
    samples: list[Sample], n_records: int, configs: dict[str, OutputConfig] | None
) -> Iterator[Play]:
    """Yield the samples over and over until so many records are reached.

    configs: of the samples, to expect what the encoder makes; None to expect what is packaged.
    """
    for sample in itertools.cycle(samples):
        number = min(n_records, len(sample.expected))
        chunk = first_events(sample.chunk, number)
        if configs is None:
            expected = sample.expected[:number]
        else:
            expected = expected_of_encoder(configs[sample.name], chunk)
        yield Play(sample, chunk, expected)
        n_records -= number
        if not n_records:
            return


@contextmanager
def utc() -> Iterator[None]:
    """Let local time be UTC, as it was when the packaged records were made."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


class Demo:
    """One run: what was played, what came back, and how they compare.

    Args:
        local: where to send to and read from.
        samples: what plays may come from.
        changes: options that replace the samples' own.
    """

    def __init__(self, local: LocalKinesis, samples: list[Sample], changes: dict[str, str]) -> None:
        self.comparison = Comparison()
        self._local = local
        self._samples = samples
        self._changes = changes
        self._totals: Counter[str] = Counter()
        self._sample_bytes: Counter[str] = Counter()
        self._shard_records: Counter[str] = Counter()
        self._shard_bytes: Counter[str] = Counter()
        self._seconds = 0.0

    def play(self, plays: list[Play]) -> None:
        """Send chunks, each through the output of its sample."""
        outputs = {
            sample.name: KinesisOutput(config_of(sample, self._changes, self._local.endpoint))
            for sample in self._samples
        }
        started = time.monotonic()
        try:
            for play in plays:
                deliver(outputs[play.sample.name], play)
                self.comparison.expect(play.sample.name, play.expected)
        finally:
            for output in outputs.values():
                output.close(CLOSE_TIMEOUT_S)
                self._totals.update(output.stats())
            self._seconds = time.monotonic() - started

    def read_back(self) -> None:
        """Read the stream and compare what it holds."""
        for record in self._local.read_all(STREAM):
            self._shard_records[record.shard_id] += 1
            self._shard_bytes[record.shard_id] += n_bytes_of(record)
            sample = self.comparison.arrive(record.data, record.partition_key)
            if sample is not None:
                self._sample_bytes[sample] += n_bytes_of(record)

    def report(self, is_packaged: bool) -> None:
        """Print the tables, the differences, and what it comes to."""
        self._print_samples()
        self._print_shards()
        self._print_differences()
        origin = "the Go plugin made of the same chunks (packaged)"
        if not is_packaged:
            origin = "RecordEncoder yields: -p changes the records, so no packaged ones fit"
        print(f"compared with what {origin}")
        rate = self._totals["bytes_delivered"] / self._seconds / MB
        print(
            f"{megabytes(self._totals['bytes_delivered'])} in {self._seconds:.2f} s:"
            f" {rate:.1f} MB/s, moto being the slow end"
        )
        expected = self.comparison.expected.total()
        print(f"delivered {self.comparison.delivered.total()} of {expected}")

    def _print_samples(self) -> None:
        print(f"\n{'sample':<12}{'sent':>10}{'delivered':>12}{'bytes':>14}   options")
        for sample in self._samples:
            options = " ".join(f"{k}={v}" for k, v in (sample.options | self._changes).items())
            sent = self.comparison.expected[sample.name]
            delivered = self.comparison.delivered[sample.name]
            n_bytes = self._sample_bytes[sample.name]
            print(f"{sample.name:<12}{sent:>10,}{delivered:>12,}{n_bytes:>14,}   {options}")
        if self._totals["skipped"]:
            print(f"skipped, as the options have it: {counted(self._totals['skipped'], 'record')}")

    def _print_shards(self) -> None:
        print(f"\n{'shard':<24}{'records':>10}{'bytes':>14}")
        for shard_id, number in sorted(self._shard_records.items()):
            print(f"{shard_id:<24}{number:>10,}{self._shard_bytes[shard_id]:>14,}")
        n_records, n_bytes = self._shard_records.total(), self._shard_bytes.total()
        print(f"{'all':<24}{n_records:>10,}{n_bytes:>14,}\n")

    def _print_differences(self) -> None:
        missing = list(self.comparison.missing())
        for sample, wanted in missing[:SHOWN_DIFFERENCES]:
            complain(f"missing, {sample}: key {wanted.partition_key!r}: {_short(wanted.content)}")
        unexpected = self.comparison.unexpected
        for record in unexpected[:SHOWN_DIFFERENCES]:
            complain(f"unexpected: key {record.partition_key!r}: {_short(record.data)}")
        if missing or unexpected:
            complain(f"{len(missing):,} records missing, {len(unexpected):,} unexpected")


def deliver(output: KinesisOutput, play: Play) -> None:
    """Flush a chunk; again while the output asks for that, but not for ever."""
    give_up_at = time.monotonic() + RETRY_FOR_S
    while (result := output.flush(play.chunk, play.sample.name)) is not FlushResult.OK:
        if result is FlushResult.ERROR or time.monotonic() > give_up_at:
            raise DeliveryFailed(f"sample {play.sample.name!r}: the flush ended with {result.name}")
        time.sleep(RETRY_PAUSE_S)


def n_bytes_of(record: LocalRecord) -> int:
    """Return the size of a record as the service counts it."""
    return len(record.data) + len(record.partition_key.encode())


def _short(content: str | bytes) -> str:
    return logs.printable(content, SHOWN_CHARACTERS)
