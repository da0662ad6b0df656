"""`kinesis-fast read`: read a stream back and show what a consumer sees."""

import logging
import re
import signal
import sys
from argparse import ArgumentTypeError, Namespace
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from kinesis_fast.cli.common import (
    TARGET_OPTIONS,
    Exit,
    Parser,
    UsageError,
    age_seconds,
    command_parser,
    complain,
    log_to_stderr,
    parse_options,
    refuse_options,
    whole_number,
)
from kinesis_fast.cli.shown import Seeing, as_jsonl, as_stored, as_text
from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.limits import MIB
from kinesis_fast.local.kinesis import REGION, LocalKinesis
from kinesis_fast.reading.inflate import CODECS, MAX_INFLATED_BYTES
from kinesis_fast.reading.shards import LATEST, OLDEST, READ_LIMIT, Start, StreamReader
from kinesis_fast.transport.client import make_client
from kinesis_fast.transport.errors import NO_CREDENTIALS, explain

PATIENCE_S: Final = 60
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
ANY_STREAM: Final = "any"  # until the only stream of a local Kinesis is known
PORT: Final = re.compile("[0-9]{1,5}")


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "read",
        "Read a stream and show its records as a consumer sees them: aggregates of the KPL format\n"
        "are taken apart, data in gzip, zlib or zstd is inflated.",
        "examples:\n"
        "  kinesis-fast read -p region=eu-west-1 -p stream=app --limit 10\n"
        "  kinesis-fast read -p region=eu-west-1 -p stream=app --from 15m --rule kcl > /dev/null\n"
        "  kinesis-fast demo --keep      # prints the URL of its local Kinesis, then:\n"
        "  kinesis-fast read --local http://127.0.0.1:PORT --format jsonl\n"
        "\nThe options of the output (-p) say where the stream is and as whom to read: region,\n"
        "stream, endpoint, profile, role_arn, external_id, sts_endpoint, http_request_timeout.\n"
        "Others are checked and not used. It needs the permissions kinesis:ListShards,\n"
        "kinesis:GetShardIterator and kinesis:GetRecords.\n"
        "\nA shard is read after those that it came from, each in order, several in turn. Without\n"
        "--follow, reading ends when all that is there was shown. Each shard gives 2 MB and takes\n"
        "5 calls a second; reading takes its part of that from other consumers.\n"
        "\ntext: the data, each record from a new line on; control characters are escaped on a\n"
        "terminal only. jsonl: one object a line with shard, sequence_number,\n"
        "sub_sequence_number (null for a record that is not in an aggregate), partition_key,\n"
        "explicit_hash_key, arrival, compression, and data, or data_base64 if it is not UTF-8.\n"
        f"\nA record that holds more than {MAX_INFLATED_BYTES // MIB} MiB is not inflated.\n"
        "\nThe Kinesis Client Library (KCL) silently drops an aggregate if the hash key of one of\n"
        "its records is outside the hash range of the shard. Such aggregates are named on stderr\n"
        "and counted in the summary.\n"
        "\nexit codes: 0 success, 1 the stream could not be read, or --rule kcl left out records,\n"
        "2 wrong use, 130 Ctrl-C",
    )
    add = parser.add_argument
    add(
        "--local",
        metavar="URL",
        type=_local_url,
        help="read the local Kinesis at this URL or port, which `send --local --keep` or "
        "`demo --keep` runs; region and stream are not required then",
    )
    add(
        "--from",
        dest="start",
        metavar="WHERE",
        type=_start,
        default=OLDEST,
        help="oldest (default), latest, a time in ISO 8601, or an age: 90s, 30m, 12h, 7d",
    )
    add("--limit", type=whole_number(1), metavar="N", help="end after N records")
    add("--follow", action="store_true", help="go on with records that arrive later")
    add("--shard", metavar="ID", help="read only this shard")
    add("--format", choices=("text", "jsonl"), default="text", help="(default: text)")
    add("--raw", action="store_true", help="show stored records unchanged: text without newlines")
    add("--rule", choices=("kcl",), help="leave out what KCL would drop, and exit with 1 then")
    add(
        "--compression",
        choices=("none", *CODECS),
        help="the format of all data (default: recognised; raw snappy has to be named)",
    )
    add(
        "--patience",
        type=whole_number(1),
        default=PATIENCE_S,
        metavar="SECONDS",
        help=f"how long to go on while every request fails (default: {PATIENCE_S})",
    )
    return parser


def run(arguments: Namespace) -> int:
    """Read the stream, show its records, and return the exit code."""
    log_to_stderr(logging.WARNING, arguments.debug)
    if arguments.start == LATEST and not arguments.follow:
        raise UsageError("--from latest shows what arrives from now on: add --follow")
    show = as_jsonl if arguments.format == "jsonl" else as_stored if arguments.raw else as_text
    seeing = Seeing(
        show, arguments.limit, arguments.raw, bool(arguments.rule), arguments.compression
    )
    with ExitStack() as stack:
        reader = _reader(arguments, stack)
        stop = stack.enter_context(Stop())
        code: int = Exit.OK
        try:
            _read(reader, seeing)
        except KeyboardInterrupt:
            code = stop.exit_code
        except KinesisFastError as error:
            complain(str(error))
            code = Exit.FAILED
        sys.stdout.flush()
        if not code or seeing.counts["stored"]:
            print(*seeing.summary(), sep="\n", file=sys.stderr)
    if not code and arguments.rule and seeing.counts["dropped_by_kcl"]:
        return Exit.FAILED
    return code


def _read(reader: StreamReader, seeing: Seeing) -> None:
    for batch in reader.batches(lambda: min(seeing.n_left, READ_LIMIT)):
        for stored in batch.records:
            seeing.see(batch.shard, stored)
            if not seeing.n_left:
                return
        sys.stdout.flush()


def _reader(arguments: Namespace, stack: ExitStack) -> StreamReader:
    options = parse_options(arguments.options)
    if arguments.local:
        refuse_options(options, TARGET_OPTIONS, "--local")
        stack.enter_context(LocalKinesis.applied_environment())
        options = {"region": REGION, "stream": ANY_STREAM, **options, "endpoint": arguments.local}
    config = OutputConfig.from_options(options)
    try:
        client = stack.enter_context(closing(make_client(config)))
    except NO_CREDENTIALS as error:
        raise explain(error) from error
    return StreamReader(
        client,
        _only_stream(client) if config.stream == ANY_STREAM else config.stream,
        start=arguments.start,
        shard_id=arguments.shard,
        follow=arguments.follow,
        patience_s=arguments.patience,
        tell=complain,
    )


def _only_stream(client: Any) -> str:
    """Return the stream of a local Kinesis; with several, one has to be named."""
    try:
        names = client.list_streams()["StreamNames"]
    except (*NO_CREDENTIALS, ClientError) as error:
        raise explain(error, client.meta.endpoint_url) from error
    if len(names) != 1:
        known = ", ".join(names) or "none"
        raise UsageError(f"this Kinesis has the streams: {known}; name one with -p stream=NAME")
    return str(names[0])


class Stop:
    """Lets SIGTERM, like Ctrl-C, raise KeyboardInterrupt: nothing has to be finished."""

    def __init__(self) -> None:
        self._number: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """The exit code after a signal."""
        return Exit.SIGNAL + self._number

    def __enter__(self) -> Self:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._raise) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _raise(self, number: int, _frame: object) -> None:
        self._number = number
        raise KeyboardInterrupt


def _start(text: str) -> Start:
    if text in {"oldest", "latest"}:
        return OLDEST if text == "oldest" else LATEST
    now = datetime.now(UTC)
    age_s = age_seconds(text)
    if age_s is not None:
        return Start("AT_TIMESTAMP", now - timedelta(seconds=age_s))
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)  # local time if it has no offset
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is not oldest, latest, an age such as 90s, 30m, 12h or 7d, or a time such "
            "as 2026-11-27T09:30:00Z"
        ) from None
    if moment > now:
        raise ArgumentTypeError(f"{text} is in the future")
    return Start("AT_TIMESTAMP", moment)


def _local_url(text: str) -> str:
    url = f"http://127.0.0.1:{text}" if PORT.fullmatch(text) else text
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.hostname not in LOOPBACK:
        raise ArgumentTypeError(
            f"{text!r} is not a port or a URL of this machine such as http://127.0.0.1:4567; for "
            "another machine use -p endpoint=URL"
        )
    return url
