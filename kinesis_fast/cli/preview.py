"""`kinesis-fast preview`: show the records that would be sent, without a network."""

import base64
import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

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
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.reading.records import Seen, seen_in
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
        "option. Nothing is sent; region and stream are not required. With aggregation each entry\n"
        "of a request is shown, then the records in it; compressed data is shown as it was before.",
        "examples:\n"
        "  kinesis-fast preview chunk.msgpack -p partition_key=host -p time_key=time --limit 3\n"
        "  kinesis-fast preview app.jsonl --format jsonl -p data_keys=level,message --raw\n"
        "\n"
        + FORMATS_HELP
        + "\nControl characters in keys and data are always escaped. --raw writes only the data\n"
        "that the stream will store, byte for byte, without separators: aggregates as they are,\n"
        "compressed data compressed.\n"
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
    shown = Shown("missing" if config.partition_key else "not set")
    for entry in preview.entries(arguments.file):
        if arguments.raw:
            sys.stdout.buffer.write(entry.data)
        if not shown.show(entry, arguments.limit, is_silent=arguments.raw):
            break
    sys.stdout.flush()
    for text in preview.missing():
        complain(text)
    counts = preview.counts()
    print(shown.summary() + (f" ({counts})" if counts else ""), file=sys.stderr)
    return Exit.FAILED if preview.has_failed else Exit.OK


class Entry(NamedTuple):
    """An entry of a request, with what a consumer will see of it.

    Attributes:
        data: as the stream will store it.
        partition_key: of the entry.
        has_random_key: whether that is random.
        hash_key: its ExplicitHashKey, None without one.
        records: the records in it, one or, of an aggregate, several.
    """

    data: bytes
    partition_key: str
    has_random_key: bool
    hash_key: str | None
    records: list[Seen]

    @property
    def is_packed(self) -> bool:
        """Whether the data is anything but a record as it is."""
        return len(self.records) > 1 or self.data != self.records[0].data


class Shown:
    """Prints entries and their records, and counts them.

    Args:
        why_random: why a partition key is random.
    """

    def __init__(self, why_random: str) -> None:
        self._random = f"random ({why_random})"
        self._n_records = self._n_record_bytes = 0
        self._n_entries = self._n_entry_bytes = 0
        self._is_packed = False

    def show(self, entry: Entry, limit: int | None, *, is_silent: bool) -> bool:
        """Show an entry, or only count it. Returns False when `limit` records are shown."""
        size = record_bytes(entry.data, entry.partition_key)
        self._n_entries += 1
        self._n_entry_bytes += size
        self._is_packed |= entry.is_packed
        if entry.is_packed and not is_silent:
            n_records = counted(len(entry.records), "record")
            print(f"entry {self._n_entries}  {n_records} in {counted(size, 'byte')}  ", end="")
            print(f"partition key {self._key(entry.partition_key, entry)}", end="")
            print(f"  explicit hash key {entry.hash_key}" if entry.hash_key else "")
        for record in entry.records:
            self._n_records += 1
            n_bytes = record_bytes(record.data, record.partition_key)
            self._n_record_bytes += n_bytes
            if not is_silent:
                key = self._key(record.partition_key, entry)
                print(f"#{self._n_records}  {counted(n_bytes, 'byte')}  partition key {key}")
                print(logs.printable(record.data, sys.maxsize))
            if self._n_records == limit:
                return False
        return True

    def summary(self) -> str:
        """Return the sums in words."""
        n_records, n_bytes = counted(self._n_records, "record"), self._n_record_bytes
        text = f"{n_records}, {counted(n_bytes, 'byte')}"
        if not self._is_packed:
            return text
        n_entries, n_bytes = self._n_entries, self._n_entry_bytes
        entries = f"{n_entries:,} {'entry' if n_entries == 1 else 'entries'}"
        return f"{text}; sent as {entries} of {counted(n_bytes, 'byte')} in all"

    def _key(self, key: str, entry: Entry) -> str:
        if entry.has_random_key:
            return self._random
        return f'"{logs.printable(key, 1000)}"'


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
        self._codec = config.compression
        self._is_joined = config.simple_aggregation
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

    def entries(self, name: str) -> Iterator[Entry]:
        """Yield each entry that the records of a file (- is stdin) make."""
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

    def _shaped(self) -> Iterator[Entry]:
        begin = self._reader.position
        chunk = self._reader.take()
        stream = self._encoder.requests(chunk, as_cbor=False)
        for request in stream:
            for index in range(request.n_entries):
                fields = json.loads(request.entry(index))
                data, key = base64.b64decode(fields["Data"]), fields["PartitionKey"]
                records = list(seen_in(data, key, self._codec, is_joined=self._is_joined))
                has_random_key = request.has_random_key(index)
                yield Entry(data, key, has_random_key, fields.get("ExplicitHashKey"), records)
            request.release()
        tally = stream.take_tally()
        self._n_records += tally.records
        for name in (*SKIP_REASONS, *REMARKS):
            self._counters[name] += getattr(tally, name)
        if tally.skipped_malformed:
            complain(malformed(begin + tally.malformed_at))
