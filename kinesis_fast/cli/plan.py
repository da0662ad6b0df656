"""`kinesis-fast plan`: what a sample of logs costs in a stream, for each way to pack it."""

import argparse
import math
import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from kinesis_fast.cli.common import (
    Exit,
    Parser,
    UsageError,
    command_parser,
    complain,
    counted,
    megabytes,
    parse_options,
    whole_number,
)
from kinesis_fast.cli.progress import Progress
from kinesis_fast.cli.sources import (
    CHUNK_BYTES,
    FORMATS,
    FORMATS_HELP,
    Reader,
    Remarks,
    blocks,
    opened,
)
from kinesis_fast.plan.keys import suggested_keys
from kinesis_fast.plan.measure import Measured, measure
from kinesis_fast.plan.page import page
from kinesis_fast.plan.price import Prices, cost
from kinesis_fast.plan.text import lines
from kinesis_fast.plan.ways import COMPARED, ways

RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kMG]?B/s|/s)", re.ASCII)
RATE_UNITS: Final = {"B/s": 1, "kB/s": 1e3, "MB/s": 1e6, "GB/s": 1e9}
DEFAULT_RATE: Final = "1MB/s"
DEFAULT_SAMPLE_MB: Final = 8
# What a recommendation repeats; the rest of an output's options is up to its host.
NEEDED: Final = {"region": "REGION", "stream": "STREAM"}


class Rate:
    """How much is logged: bytes or records a second."""

    def __init__(self, text: str) -> None:
        match = RATE.fullmatch(text.strip())
        if match is None or float(match[1]) <= 0:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a rate; allowed: 5MB/s, 300kB/s, 2000/s (records)"
            )
        self._number, self._unit = float(match[1]), match[2]

    def bytes_per_s(self, n_bytes: int, n_records: int) -> float:
        """Return bytes a second of a sample of so many bytes and records."""
        if self._unit == "/s":
            return self._number * n_bytes / max(n_records, 1)
        return self._number * RATE_UNITS[self._unit]


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "plan",
        "Tell what a sample of logs costs in a stream, for each sensible combination of\n"
        "partition key, compression and aggregation: entries, requests, bytes, PUT payload\n"
        "units, shards, and CPU time measured here. Nothing is sent; region and stream are not\n"
        "required.\n"
        "Without -p partition_key=..., keys that suggest themselves are tried beside random ones.",
        "examples:\n"
        "  kinesis-fast plan chunk.msgpack --rate 5MB/s\n"
        "  kinesis-fast plan app.jsonl --format jsonl -p partition_key=host --rate 2000/s \\\n"
        "      --price-shard-hour 0.015 --price-put-unit 0.014 --report plan.html\n"
        "\n" + FORMATS_HELP + "\n"
        "Stored and billed bytes count data and partition keys; on demand, each entry is rounded\n"
        "up to 1 KiB. A shard takes 1 MB and 1,000 entries a second; `shards` is the lowest\n"
        "number of which the fullest takes its part with the keys of the sample. CPU time is\n"
        "encoding and hashing, without the network.\n"
        "\nexit code 1: a part of the sample cannot be read or sent",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="the sample, - for stdin (default)"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="msgpack", help="format of the file (default: msgpack)"
    )
    parser.add_argument(
        "--rate",
        type=Rate,
        default=DEFAULT_RATE,
        help=f"what is logged: 5MB/s, or 2000/s records (default: {DEFAULT_RATE})",
    )
    parser.add_argument(
        "--sample-mb",
        type=whole_number(1),
        default=DEFAULT_SAMPLE_MB,
        metavar="N",
        help=f"look at the first N MB only (default: {DEFAULT_SAMPLE_MB})",
    )
    for name, what in (
        ("put-unit", "a million PUT payload units"),
        ("shard-hour", "a provisioned shard for an hour"),
        ("gb", "a GB taken in on demand"),
    ):
        parser.add_argument(
            f"--price-{name}", type=_price, metavar="PRICE", help=f"of {what}, in any currency"
        )
    parser.add_argument("--report", metavar="FILE", help="write a page with charts (HTML)")
    return parser


def run(arguments: Namespace) -> int:
    """Measure the sample, print the plan and return the exit code."""
    options = parse_options(arguments.options)
    sample = Sample(arguments.format)
    sample.read(arguments.file, arguments.sample_mb * 1_000_000)
    if not sample.n_bytes:
        raise UsageError("the sample is empty: give a file with some log records")
    measured = _measure(sample, options)
    n_records = measured[0].records
    if not n_records:
        raise UsageError(
            f"no record of the sample can be sent: {_reasons(measured[0])}; check --format and -p"
        )
    rate = arguments.rate.bytes_per_s(sample.n_bytes, n_records)
    prices = Prices(arguments.price_put_unit, arguments.price_shard_hour, arguments.price_gb)
    costs = [cost(one, rate, prices) for one in measured]
    shown = NEEDED | {name: value for name, value in options.items() if name not in COMPARED}
    about = (
        f"{counted(n_records, 'record')} in {megabytes(sample.n_bytes)} of "
        f"{'stdin' if arguments.file == '-' else Path(arguments.file).name}, "
        f"at {megabytes(round(rate))}/s"
    )
    print(about)
    key = options.get("partition_key", "")
    for line in lines(costs, key, shown):
        print(line)
    if arguments.report:
        _write(arguments.report, page(costs, key, shown, about))
    sample.complain()
    return Exit.FAILED if sample.has_failed else Exit.OK


class Sample:
    """The beginning of a log, as chunks of events.

    Attributes:
        n_bytes: that were read.
        chunks: the events in them.
    """

    def __init__(self, input_format: str) -> None:
        self.n_bytes = 0
        self.chunks: list[bytes] = []
        self._lines = Remarks()
        self._reader: Reader = FORMATS[input_format](self._lines)

    @property
    def has_failed(self) -> bool:
        """Whether a part of the input could not be read."""
        return bool(self._lines.n_bad_lines) or self._reader.broken_at is not None

    def read(self, name: str, most_bytes: int) -> None:
        """Read a file, - for stdin, up to so many bytes and to its end."""
        with opened(name) as file:
            progress = Progress(sys.stderr, None)
            for block in blocks(file):
                taken = block[: most_bytes - self.n_bytes]
                self.n_bytes += len(taken)
                self._reader.feed(taken)
                if self._reader.n_bytes >= CHUNK_BYTES:
                    self.chunks.append(self._reader.take())
                progress.show(self.n_bytes, 0)
                if self.n_bytes == most_bytes or self._reader.broken_at is not None:
                    break
            progress.clear()
        is_whole = self.n_bytes < most_bytes
        if is_whole:
            self._reader.finish()
        rest = self._reader.take()
        if rest:
            self.chunks.append(rest)

    def complain(self) -> None:
        """Tell what could not be read."""
        if self._lines.n_bad_lines:
            complain(f"{counted(self._lines.n_bad_lines, 'line')} of the sample cannot be sent")
        if self._reader.broken_at is not None:
            complain(f"the sample cannot be read from byte {self._reader.broken_at:,} on")


def _measure(sample: Sample, options: dict[str, str]) -> list[Measured]:
    keys = [options["partition_key"]] if options.get("partition_key") else None
    chosen = list(ways(options, suggested_keys(sample.chunks) if keys is None else keys))
    progress = Progress(sys.stderr, len(chosen) * sample.n_bytes)
    measured: list[Measured] = []
    try:
        for way in chosen:
            progress.show(len(measured) * sample.n_bytes, 0)
            measured.append(measure(way, sample.chunks, sample.n_bytes))
    finally:
        progress.clear()
    return measured


def _reasons(measured: Measured) -> str:
    reasons = (f"{name.replace('_', ' ')}: {n:,}" for name, n in measured.remarks.items())
    return ", ".join(reasons) or "there is none"


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a price: a number, 0 or more")
    return price


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {name}: {error.strerror}") from error
