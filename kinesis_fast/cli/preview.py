"""`kinesis-fast preview`: the records that would be sent, without any network."""

import base64
import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from kinesis_fast import logs
from kinesis_fast.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    Parser,
    command_parser,
    complain,
    counted,
    parse_options,
    whole_number,
)
from kinesis_fast.cli.sources import CHUNK_BYTES, FORMATS, FORMATS_HELP, blocks, opened
from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import Record, RecordEncoder
from kinesis_fast.stats import SKIP_REASONS

# A preview sends nothing, so it needs neither; the options are checked as if they were given.
ANY_TARGET: Final = {"region": "us-east-1", "stream": "preview"}


class Shaped(NamedTuple):
    """A record, and whether another run would give it another partition key."""

    record: Record
    has_random_key: bool


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "preview",
        "Show the records of a file as they would be sent: number, size (data + partition key),\n"
        "partition key, then the data. Nothing is sent; region and stream need not be given.",
        "examples:\n"
        "  kinesis-fast preview chunk.msgpack -p partition_key=host -p time_key=time --limit 3\n"
        "  kinesis-fast preview app.jsonl --format jsonl -p data_keys=level,message --raw\n"
        "\n"
        + FORMATS_HELP
        + "\nControl characters in keys and data are shown escaped, on a terminal and in a pipe\n"
        "alike. With --raw the data alone is written, byte for byte, with nothing in between.\n"
        "\nexit code 1: the input is malformed, or a line cannot be sent",
    )
    parser.add_argument("file", metavar="FILE", help="the file to read, - for stdin")
    parser.add_argument(
        "--format", choices=FORMATS, default="msgpack", help="of the file (default: msgpack)"
    )
    parser.add_argument(
        "--limit", type=whole_number(1), metavar="N", help="show the first N records only"
    )
    parser.add_argument("--raw", action="store_true", help="write the data as it is, nothing else")
    return parser


def run(arguments: Namespace) -> int:
    """Show the records and return the exit code."""
    config = OutputConfig.from_options(ANY_TARGET | parse_options(arguments.options))
    preview = Preview(config, arguments.format)
    show = show_raw if arguments.raw else show_readable
    n_shown = n_bytes = 0
    for shaped in preview.records(arguments.file):
        n_shown += 1
        n_bytes += show(n_shown, shaped)
        if n_shown == arguments.limit:
            break
    sys.stdout.flush()
    print(
        f"{counted(n_shown, 'record')}, {counted(n_bytes, 'byte')}{preview.remarks()}",
        file=sys.stderr,
    )
    return EXIT_FAILED if preview.has_failed else EXIT_OK


class Preview:
    """The records of one input, and what had to be left out.

    Args:
        config: how records are shaped.
        input_format: one of FORMATS.
    """

    def __init__(self, config: OutputConfig, input_format: str) -> None:
        self.has_failed = False
        self._encoder = RecordEncoder(config)
        self._reader = FORMATS[input_format](self._on_bad_line)
        self._remarks: Counter[str] = Counter()

    def records(self, name: str) -> Iterator[Shaped]:
        """Yield the records of a file, - being stdin."""
        with opened(name) as file:
            for block in blocks(file):
                self._reader.feed(block)
                if self._reader.n_bytes >= CHUNK_BYTES or not block:
                    yield from self._shaped()
                if self._reader.broken_at is not None:
                    break
            self._reader.finish()
            yield from self._shaped()

    def remarks(self) -> str:
        """Return what was left out or changed, as the end of a sentence."""
        texts = [
            f"{number:,} {name.removeprefix('skipped_').replace('_', ' ')}"
            for name, number in self._remarks.items()
            if number
        ]
        return f" ({', '.join(texts)})" if texts else ""

    def _shaped(self) -> Iterator[Shaped]:
        begin = self._reader.position
        chunk = self._reader.take()
        # A second encoding shows which partition keys are random: those that differ.
        again = self._encoder.records(chunk)
        stream = self._encoder.requests(chunk)
        for request in stream:
            for index in range(request.n_records):
                entry = json.loads(request.entry(index))
                record = Record(base64.b64decode(entry["Data"]), entry["PartitionKey"])
                yield Shaped(record, record.partition_key != next(again).partition_key)
            request.release()
        tally = stream.take_tally()
        for name in (*SKIP_REASONS, "truncated", "bad_times", "nan_values", "group_markers"):
            self._remarks[name] += getattr(tally, name)
        if tally.skipped_malformed:
            self.has_failed = True
            complain(
                f"malformed from byte {begin + tally.malformed_at} on: nothing after it can be read"
            )

    def _on_bad_line(self, number: int, reason: str) -> None:
        self.has_failed = True
        self._remarks["bad lines"] += 1
        complain(f"line {number}: {reason}")


def show_readable(number: int, shaped: Shaped) -> int:
    """Write a record for a person to read; returns its size."""
    record = shaped.record
    n_bytes = len(record.data) + len(record.partition_key.encode())
    key = "random" if shaped.has_random_key else f'"{logs.printable(record.partition_key, 1000)}"'
    print(f"#{number}  {counted(n_bytes, 'byte')}  partition key {key}")
    print(logs.printable(record.data, sys.maxsize))
    return n_bytes


def show_raw(_number: int, shaped: Shaped) -> int:
    """Write nothing but the data of a record; returns its size with the key."""
    sys.stdout.buffer.write(shaped.record.data)
    return len(shaped.record.data) + len(shaped.record.partition_key.encode())
