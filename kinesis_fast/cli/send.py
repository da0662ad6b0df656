"""`kinesis-fast send`: send a file or a pipe to a stream."""

import logging
import signal
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from kinesis_fast.cli.common import (
    TARGET_OPTIONS,
    Exit,
    Parser,
    UsageError,
    add_patience,
    command_parser,
    counted,
    log_to_stderr,
    parse_options,
    refuse_options,
)
from kinesis_fast.cli.keeping import add_keep, announce, keep
from kinesis_fast.cli.sending import Sending
from kinesis_fast.cli.sources import FORMATS, FORMATS_HELP, opened
from kinesis_fast.config import OPTIONS, OutputConfig
from kinesis_fast.local.kinesis import REGION, LocalKinesis
from kinesis_fast.reading.records import seen_in

LOCAL_SHARDS: Final = 4
# In the background, so that it can be waited for and interrupted; --patience ends the retries.
BACKGROUND: Final = {
    "experimental_concurrency": "1",
    "experimental_concurrency_retries": "1000000",
}


def parser() -> Parser:
    """Return the parser of this command."""
    width = max(len(option.name) for option in OPTIONS)
    parser = command_parser(
        "send",
        "Send a file or a pipe to a stream, and account for every record at the end.",
        "examples:\n"
        "  kinesis-fast send --format lines --local /var/log/dpkg.log\n"
        "  tail -F app.jsonl | kinesis-fast send --format jsonl -p region=eu-west-1 -p stream=app\n"
        "\n"
        + FORMATS_HELP
        + "\noptions of the output (-p); region and stream are required:\n"
        + "".join(f"  {option.name:{width}}  {option.summary}\n" for option in OPTIONS)
        + "\nChunks of 1 MB are delivered in the background, experimental_concurrency (at least\n"
        "1) at a time. A chunk that fails is retried without the records that have arrived: until\n"
        "sending stops, or experimental_concurrency_retries times if that is given. Sending stops\n"
        "when nothing was delivered for --patience seconds. With spool_dir nothing read is lost,\n"
        "and what an earlier run left there is sent as well.\n"
        "Ctrl-C finishes the records in flight and reports what was not sent; a second Ctrl-C\n"
        "stops immediately. Lines that are not records are reported, counted and left out.\n"
        "\nexit codes: 0 all records were delivered (or skipped as the options say), 1 some were\n"
        "not, 2 wrong use, 130 Ctrl-C",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="what to send, - for stdin (default)"
    )
    parser.add_argument("--format", choices=FORMATS, required=True, help="format of the input")
    add_patience(parser)
    parser.add_argument(
        "--local",
        action="store_true",
        help="start a local Kinesis, send to it, and report what arrived there",
    )
    add_keep(parser)
    return parser


def run(arguments: Namespace) -> int:
    """Send the input and return the exit code."""
    log_to_stderr(logging.WARNING, arguments.debug)
    if arguments.keep and not arguments.local:
        raise UsageError("--keep is for the local Kinesis of --local")
    options = BACKGROUND | parse_options(arguments.options)
    if options["experimental_concurrency"].strip() in {"", "0"}:
        options |= {"experimental_concurrency": "1"}
    with ExitStack() as stack:
        file = stack.enter_context(opened(arguments.file))
        if not arguments.local:
            config = OutputConfig.from_options(options)
            return Sending(config, file, arguments.format, arguments.patience).run()
        refuse_options(options, TARGET_OPTIONS, "--local")
        options = {"region": REGION, "stream": "local"} | options
        local = stack.enter_context(started(OutputConfig.from_options(options)))
        config = OutputConfig.from_options(options | {"endpoint": local.endpoint})
        if arguments.keep:
            announce(local)
        sending = Sending(config, file, arguments.format, arguments.patience)
        code = sending.run()
        arrival_code = report_arrivals(local, config, sending.n_delivered)
        if arguments.keep and code != Exit.SIGNAL + signal.SIGTERM:
            keep()
        return code or arrival_code


@contextmanager
def started(config: OutputConfig) -> Iterator[LocalKinesis]:
    """Run a local Kinesis with the configured stream, and use no real credentials."""
    if config.stream.startswith("arn:"):
        raise UsageError("--local creates the stream: give its name, not an ARN")
    with (
        LocalKinesis(config.region, config.max_record_size) as local,
        local.applied_environment(),
    ):
        local.create_stream(config.stream, LOCAL_SHARDS)
        yield local


def report_arrivals(local: LocalKinesis, config: OutputConfig, n_delivered: int) -> int:
    """Read the stream back, print what it holds, and return the exit code."""
    stored = local.read_all(config.stream)
    codec, is_joined = config.compression, config.simple_aggregation
    shards: Counter[str] = Counter()
    for record in stored:
        found = seen_in(record.data, record.partition_key, codec, is_joined=is_joined)
        shards[record.shard_id] += sum(1 for _ in found)
    for shard_id, number in sorted(shards.items()):
        print(f"{shard_id}{number:>12,}")
    n_arrived = shards.total()
    within = f", in {counted(len(stored), 'stored record')}" if len(stored) != n_arrived else ""
    print(f"arrived in the local Kinesis: {counted(n_arrived, 'record')}{within}")
    return Exit.OK if n_arrived == n_delivered else Exit.FAILED
