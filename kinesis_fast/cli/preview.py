"""`kinesis-fast preview`: show the records that would be sent, without a network."""

import base64
import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from typing import Final

from kinesis_fast import logs
from kinesis_fast.cli.common import (
    Exit,
    Parser,
    command_parser,
    complain,
    counted,
    parse_options,
    reason_counts,
    record_bytes,
    whole_number,
)
from kinesis_fast.cli.sources import (
    CHUNK_BYTES,
    FORMATS,
    FORMATS_HELP,
    Remarks,
    blocks,
    malformed,
    opened,
)
from kinesis_fast.config import OutputConfig
from kinesis_fast.config.missing_keys import missing_keys
from kinesis_fast.delivery.chunk_report import remarks
from kinesis_fast.encoder import Record, RecordEncoder
from kinesis_fast.stats import REMARKS, SKIP_REASONS

# A preview sends nothing, so it needs neither option; both are checked anyway.
ANY_TARGET: Final = {"region": "us-east-1", "stream": "preview"}


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "preview",
        "Show the records of a file as they would be sent: number, size (data + partition key),\n"
        "partition key, then the data. A key that is `random (missing)` is so because the record\n"
        "lacks what partition_key names; one that is `random (not set)` because there is no such\n"
        "option. Nothing is sent; region and stream are not required.",
        "examples:\n"
        "  kinesis-fast preview chunk.msgpack -p partition_key=host -p time_key=time --limit 3\n"
        "  kinesis-fast preview app.jsonl --format jsonl -p data_keys=level,message --raw\n"
        "\n"
        + FORMATS_HELP
        + "\nControl characters in keys and data are always escaped. --raw writes only the data\n"
        "of the records, byte for byte, without separators.\n"
        "\nexit code 1: the input is malformed, or a line cannot be sent",
    )
    parser.add_argument("file", metavar="FILE", help="the file to read, - for stdin")
    parser.add_argument(
        "--format", choices=FORMATS, default="msgpack", help="format of the file (default: msgpack)"
    )
    parser.add_argument(
        "--limit", type=whole_number(1), metavar="N", help="show only the first N records"
    )
    parser.add_argument("--raw", action="store_true", help="write only the data, unchanged")
    return parser


def run(arguments: Namespace) -> int:
    """Show the records and return the exit code."""
    config = OutputConfig.from_options(ANY_TARGET | parse_options(arguments.options))
    preview = Preview(config, arguments.format)
    n_shown = n_bytes = 0
    random = f"random ({'missing' if config.partition_key else 'not set'})"
    for n_shown, (record, has_random_key) in enumerate(preview.records(arguments.file), 1):
        size = record_bytes(record.data, record.partition_key)
        n_bytes += size
        if arguments.raw:
            sys.stdout.buffer.write(record.data)
        else:
            key = f'"{logs.printable(record.partition_key, 1000)}"'
            key = random if has_random_key else key
            print(f"#{n_shown}  {counted(size, 'byte')}  partition key {key}")
            print(logs.printable(record.data, sys.maxsize))
        if n_shown == arguments.limit:
            break
    sys.stdout.flush()
    for text in preview.missing():
        complain(text)
    counts = preview.counts()
    print(
        f"{counted(n_shown, 'record')}, {counted(n_bytes, 'byte')}"
        + (f" ({counts})" if counts else ""),
        file=sys.stderr,
    )
    return Exit.FAILED if preview.has_failed else Exit.OK


class Preview:
    """The records of one input, and what was left out or changed.

    Args:
        config: how records are shaped.
        input_format: one of FORMATS.
    """

    def __init__(self, config: OutputConfig, input_format: str) -> None:
        self._counters: Counter[str] = Counter()
        self._missing_keys = missing_keys(config)
        self._n_records = 0
        self._encoder = RecordEncoder(config)
        self._lines = Remarks()
        self._reader = FORMATS[input_format](self._lines)

    @property
    def has_failed(self) -> bool:
        """Whether a part of the input is in no record, though it should be."""
        return bool(self._counters["skipped_malformed"] or self._lines.n_bad_lines)

    def counts(self) -> str:
        """Return what was left out or changed, and how often; empty if nothing was."""
        counts = [reason_counts(self._counters)]
        if self._lines.n_bad_lines:
            counts.append(counted(self._lines.n_bad_lines, "bad line"))
        counts += [f"{what}: {number:,}" for what, number in self._lines.changed.items()]
        return ", ".join(filter(None, counts))

    def records(self, name: str) -> Iterator[tuple[Record, bool]]:
        """Yield each record of a file (- is stdin), and whether its partition key is random."""
        with opened(name) as file:
            for block in blocks(file):
                self._reader.feed(block)
                if self._reader.n_bytes >= CHUNK_BYTES or not block:
                    yield from self._shaped()
                if self._reader.broken_at is not None:
                    break
            self._reader.finish()
            yield from self._shaped()

    def missing(self) -> Iterator[str]:
        """Return a remark about records for each option that names a key which they lack."""
        return remarks(self._missing_keys, self._counters, self._n_records)

    def _shaped(self) -> Iterator[tuple[Record, bool]]:
        begin = self._reader.position
        chunk = self._reader.take()
        stream = self._encoder.requests(chunk)
        for request in stream:
            for index in range(request.n_records):
                entry = json.loads(request.entry(index))
                record = Record(base64.b64decode(entry["Data"]), entry["PartitionKey"])
                yield record, request.has_random_key(index)
            request.release()
        tally = stream.take_tally()
        self._n_records += tally.records
        for name in (*SKIP_REASONS, *REMARKS):
            self._counters[name] += getattr(tally, name)
        if tally.skipped_malformed:
            complain(malformed(begin + tally.malformed_at))
