"""`kinesis-fast demo`: send sample chunks to a local Kinesis, read them back and compare."""

import itertools
import logging
import os
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from kinesis_fast import logs
from kinesis_fast.cli.awaited_output import AwaitedOutput
from kinesis_fast.cli.common import (
    MB,
    PATIENCE_S,
    TARGET_OPTIONS,
    Exit,
    Parser,
    command_parser,
    complain,
    counted,
    log_to_stderr,
    megabytes,
    parse_options,
    record_bytes,
    refuse_options,
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
from kinesis_fast.cli.keeping import add_keep, announce, keep
from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.local.kinesis import LocalKinesis
from kinesis_fast.reading.records import seen_in
from kinesis_fast.storage.spool.identity import identity_of

STREAM: Final = "demo"
SHARDS: Final = 4
DEFAULT_RECORDS: Final = 10_000
SHOWN_DIFFERENCES: Final = 5
SHOWN_CHARACTERS: Final = 300


class Play(NamedTuple):
    """A sample or its first events, and the records that should arrive."""

    sample: Sample
    chunk: bytes
    expected: list[Expected]


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "demo",
        "Start a local Kinesis (moto's server), send chunks captured from Fluent Bit to it, read\n"
        "the stream back with plain boto3, and compare every record with the output of the Go\n"
        "plugin for the same chunks.",
        "example:\n  kinesis-fast demo --records 50000 -p experimental_concurrency=2\n\n"
        "Each sample has its own options; -p overrides them for all samples. If that changes the\n"
        "records, they are compared with the output of this package's encoder instead.\n"
        "Times are written in UTC. The demo uses no AWS account and reads no credentials.\n"
        "\nexit code 1: a record is missing, unexpected or different",
    )
    parser.add_argument(
        "--records",
        type=whole_number(1),
        default=DEFAULT_RECORDS,
        metavar="N",
        help=f"repeat the samples up to N records (default: {DEFAULT_RECORDS:,})",
    )
    add_keep(parser)
    return parser


def run(arguments: Namespace) -> int:
    """Send, read back, compare, and return the exit code."""
    log_to_stderr(logging.ERROR, arguments.debug)
    changes = parse_options(arguments.options)
    refuse_options(changes, TARGET_OPTIONS | {"region", "stream"}, "the demo")
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
        if arguments.keep:
            announce(local)
        is_packaged = all(has_own_shape(sample, configs[sample.name]) for sample in samples)
        plays = list(plays_of(samples, arguments.records, None if is_packaged else configs))
        demo = Demo(local, samples, changes, configs[samples[0].name])
        demo.play(plays)
        demo.read_back()
        demo.report(is_packaged)
        if arguments.keep:
            keep()
    return Exit.OK if demo.comparison.is_equal else Exit.FAILED


def config_of(sample: Sample, changes: dict[str, str], endpoint: str | None) -> OutputConfig:
    """Return the configuration for a sample; without an endpoint it is not for sending."""
    target = {"region": "us-east-1", "stream": STREAM, "endpoint": endpoint or ""}
    return OutputConfig.from_options(target | sample.options | changes)


def has_own_shape(sample: Sample, config: OutputConfig) -> bool:
    """Whether a configuration makes the same records as the sample's own options."""
    return identity_of(config_of(sample, {}, None)) == identity_of(config.as_consumed())


def plays_of(
    samples: list[Sample], n_records: int, configs: dict[str, OutputConfig] | None
) -> Iterator[Play]:
    """Yield the samples again and again up to n_records records.

    Args:
        samples: what to play.
        n_records: at least 1.
        configs: by sample, to expect the encoder's output; None to expect the packaged records.
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
    """Set local time to UTC, as it was when the packaged records were made."""
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
    """One run of the demo.

    Args:
        local: where to send to and read from.
        samples: the samples that are played.
        changes: options that override those of the samples.
        config: of one of the samples; all have the same aggregation and compression.
    """

    def __init__(
        self,
        local: LocalKinesis,
        samples: list[Sample],
        changes: dict[str, str],
        config: OutputConfig,
    ) -> None:
        self.comparison = Comparison()
        self._local = local
        self._samples = samples
        self._changes = changes
        self._codec = config.compression
        self._is_joined = config.simple_aggregation
        self._totals: Counter[str] = Counter()
        self._sample_bytes: Counter[str] = Counter()
        self._shard_records: Counter[str] = Counter()
        self._shard_bytes: Counter[str] = Counter()
        self._seconds = 0.0

    def play(self, plays: list[Play]) -> None:
        """Send each chunk through the output of its sample."""
        started = time.monotonic()
        with ExitStack() as stack:
            outputs = {
                sample.name: stack.enter_context(self._output_for(sample))
                for sample in self._samples
            }
            for play in plays:
                if not outputs[play.sample.name].send(play.chunk, play.sample.name):
                    raise KinesisFastError(
                        f"sample {play.sample.name!r} was not delivered within {PATIENCE_S} s"
                    )
                self.comparison.expect(play.sample.name, play.expected)
        self._seconds = time.monotonic() - started
        for output in outputs.values():
            self._totals.update(output.stats())

    def _output_for(self, sample: Sample) -> AwaitedOutput:
        return AwaitedOutput(config_of(sample, self._changes, self._local.endpoint), PATIENCE_S)

    def read_back(self) -> None:
        """Read the stream and compare its records with the expected ones."""
        for record in self._local.read_all(STREAM):
            self._shard_bytes[record.shard_id] += record_bytes(record.data, record.partition_key)
            for seen in seen_in(
                record.data, record.partition_key, self._codec, is_joined=self._is_joined
            ):
                self._shard_records[record.shard_id] += 1
                key = None if self._is_joined else seen.partition_key
                sample = self.comparison.arrive(seen.data, key)
                if sample is not None:
                    n_bytes = record_bytes(seen.data, seen.partition_key)
                    self._sample_bytes[sample] += n_bytes

    def report(self, is_packaged: bool) -> None:
        """Print the tables, the differences and the result."""
        self._print_samples()
        self._print_shards()
        self._print_differences()
        origin = "the packaged output of the Go plugin for the same chunks"
        if not is_packaged:
            origin = "the output of RecordEncoder, because -p changes the records"
        print(f"compared with {origin}")
        rate = self._totals["bytes_delivered"] / self._seconds / MB
        print(
            f"{megabytes(self._totals['bytes_delivered'])} in {self._seconds:.2f} s:"
            f" {rate:.1f} MB/s, limited by moto"
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
            print(f"skipped as the options say: {counted(self._totals['skipped'], 'record')}")

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
            complain(f"{counted(len(missing), 'record')} missing, {len(unexpected):,} unexpected")


def _short(content: str | bytes) -> str:
    return logs.printable(content, SHOWN_CHARACTERS)
