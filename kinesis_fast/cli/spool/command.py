"""`kinesis-fast spool`: list, send, copy and remove spooled chunks and dead letters."""

import logging
import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Final, NamedTuple

from kinesis_fast.cli.common import (
    Parser,
    add_common_arguments,
    add_patience,
    age_seconds,
    log_to_stderr,
    parse_options,
)
from kinesis_fast.cli.spool.chunks import ChunkSource
from kinesis_fast.cli.spool.copying import export_items, list_items
from kinesis_fast.cli.spool.items import Selection, Task
from kinesis_fast.cli.spool.letters import LetterSource
from kinesis_fast.cli.spool.removing import purge_items, replay_items
from kinesis_fast.config import OutputConfig
from kinesis_fast.storage.dead_letters import NS
from kinesis_fast.storage.spool.identity import identity_of


class Action(NamedTuple):
    """An action: its texts, and the function that runs it."""

    summary: str
    description: str
    epilog: str
    run: Callable[[Task], int]


def parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        prog="kinesis-fast spool",
        description="Manage what outputs keep on disk: the chunks of a spool_dir, which are not "
        "yet delivered, and\nthe letters of a dead_letter_dir, records that cannot be delivered.",
        epilog="actions:\n"
        + "".join(f"  {name:7} {action.summary}\n" for name, action in ACTIONS.items())
        + "\nexamples:\n"
        "  kinesis-fast spool ls --spool /var/spool/kinesis\n"
        "  kinesis-fast spool replay --spool /var/spool/kinesis -p region=eu-west-1 -p stream=app\n"
        "  kinesis-fast spool export --dead-letters /var/log/dead --format jsonl\n"
        "  kinesis-fast spool purge --spool /var/spool/kinesis --damaged\n"
        "\n`kinesis-fast spool ACTION --help` describes an action and its options, such as\n"
        "-p OPTION=VALUE.\n"
        "\nexit codes: 0 success, 1 something is left or damaged, 2 wrong use, 130 Ctrl-C",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    parsers = {
        name: actions.add_parser(name, description=action.description, epilog=action.epilog)
        for name, action in ACTIONS.items()
    }
    for sub_parser in parsers.values():
        _add_shared(sub_parser)
    add = parsers["ls"].add_argument
    add("--json", action="store_true", help="a JSON object a line, with all fields")
    add = parsers["replay"].add_argument
    add(
        "--other-options",
        action="store_true",
        help="also send what was spooled with other options or meant for another stream",
    )
    add_patience(parsers["replay"])
    add = parsers["export"].add_argument
    add("--format", choices=("msgpack", "jsonl"), default="msgpack")
    add("-o", "--output", metavar="FILE", default="-", help="a new file (default: stdout)")
    add("--unsettled", action="store_true", help="leave out the events of chunks that are settled")
    add = parsers["purge"].add_argument
    add("--damaged", action="store_true", help="only what is damaged")
    add("--yes", action="store_true", help="do not ask")
    return parser


def run(arguments: Namespace) -> int:
    """Run the action and return the exit code."""
    log_to_stderr(logging.WARNING, arguments.debug)
    options = parse_options(arguments.options)
    config = OutputConfig.from_options(options) if options else None
    today = identity_of(config) if config else None
    is_spool = arguments.spool is not None
    path = os.path.abspath(arguments.spool if is_spool else arguments.dead_letters)  # noqa: PTH100
    source = ChunkSource(path, today) if is_spool else LetterSource(path, today)
    selection = Selection(arguments.older_than, arguments.stream, arguments.damaged)
    return ACTIONS[arguments.action].run(Task(source, selection, config, arguments))


def _add_shared(parser: Parser) -> None:
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--spool", metavar="DIR", help="the spool_dir with chunks")
    place.add_argument("--dead-letters", metavar="DIR", help="the dead_letter_dir with letters")
    parser.add_argument(
        "--older-than", metavar="AGE", type=_age_ns, help="only older ones: 90s, 30m, 12h or 7d"
    )
    parser.add_argument("--stream", metavar="NAME", help="only those for this stream")
    add_common_arguments(parser)
    parser.set_defaults(damaged=False)


def _age_ns(text: str) -> int:
    seconds = age_seconds(text)
    if seconds is None:
        raise ArgumentTypeError(f"{text!r} is not an age such as 90s, 30m, 12h or 7d")
    return seconds * NS


ACTIONS: Final = {
    "ls": Action(
        "list chunks or letters; reads only, outputs may be running",
        "List spooled chunks or dead letters, oldest first.",
        "With the options of an output (-p), chunks that it would not send because they were\n"
        "spooled with different options are shown as 'other options'.\n"
        "\nstates of chunks: waiting, other options, damaged, unreadable\n"
        "states of letters: dead, other stream, cut (too long to be kept as a whole), damaged\n"
        "\nexit code 1: something is damaged or cannot be read",
        list_items,
    ),
    "replay": Action(
        "send chunks or letters, and remove those that were delivered",
        "Send spooled chunks or dead letters to the stream that the options (-p) name, and remove\n"
        "those that were delivered. The options of an output are required, at least region and\n"
        "stream.",
        "Events of a chunk that were settled earlier are not sent again. A chunk stays as a whole\n"
        "if any of its records was refused or given up. Records that the options leave out count\n"
        "as done. Chunks with other options and letters for another stream stay, unless\n"
        "--other-options is given. Chunks in the directory of a running output are not touched:\n"
        "that output delivers them. Letters are sent one by one; those refused again stay.\n"
        "When nothing was delivered for --patience seconds, the rest is not tried.\n"
        "\nexit code 1: something stays, the last lines say why; 130: Ctrl-C, after the records\n"
        "in flight",
        replay_items,
    ),
    "export": Action(
        "copy chunks or letters to a file or stdout; reads only, outputs may be running",
        "Copy spooled chunks or dead letters, oldest first.",
        "formats:\n"
        "  msgpack  the events as Fluent Bit passed them, one after another: `kinesis-fast send\n"
        "           --format msgpack` reads them; letters that were cut are left out\n"
        "  jsonl    a record a line. Of a chunk: its data as it would be sent, with the options\n"
        "           that it was spooled with. Letters: the lines of their files\n"
        "\nexit code 1: something is left out because it is damaged or was cut",
        export_items,
    ),
    "purge": Action(
        "remove chunks or letters",
        "Remove spooled chunks or dead letters permanently, after asking.",
        "Chunks in the directory of a running output are not touched.\n"
        "\nexit code 1: something that was selected is still there",
        purge_items,
    ),
}
