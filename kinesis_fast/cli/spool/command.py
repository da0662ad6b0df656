"""`kinesis-fast spool`: what is kept on disk, chunks and dead letters: see, send, copy, remove."""

import logging
import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Final

from kinesis_fast.cli.common import Parser, add_common_arguments, log_to_stderr
from kinesis_fast.cli.spool.copying import export_items, list_items
from kinesis_fast.cli.spool.items import seconds_ns
from kinesis_fast.cli.spool.removing import purge_items, replay_items

_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_AGE_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

ACTIONS: Final = {
    "ls": "list what is there; reads only, outputs may run",
    "replay": "send it, and remove what was delivered",
    "export": "copy it to a file or to stdout; reads only, outputs may run",
    "purge": "remove it",
}


def parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        prog="kinesis-fast spool",
        description="What outputs keep on disk: the chunks of a spool_dir, which are not delivered "
        "yet, and the\nletters of a dead_letter_dir, records that can never be delivered.",
        epilog="actions:\n"
        + "".join(f"  {name:7} {text}\n" for name, text in ACTIONS.items())
        + "\nexamples:\n"
        "  kinesis-fast spool ls --spool /var/spool/kinesis\n"
        "  kinesis-fast spool replay --spool /var/spool/kinesis -p region=eu-west-1 -p stream=app\n"
        "  kinesis-fast spool export --dead-letters /var/log/dead --format jsonl\n"
        "  kinesis-fast spool purge --spool /var/spool/kinesis --damaged\n"
        "\n`kinesis-fast spool ACTION --help` tells more about an action, and of its options such\n"
        "as -p OPTION=VALUE.\n"
        "\nexit codes: 0 all is done, 1 something is left or damaged, 2 wrong use, 130 Ctrl-C",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, add in _PARSERS.items():
        add(actions.add_parser(name, **_HELP[name]))  # type: ignore[arg-type]
    return parser


def run(arguments: Namespace) -> int:
    """Do what was asked for and return the exit code."""
    log_to_stderr(logging.WARNING, arguments.debug)
    return _RUNS[arguments.action](arguments)


_HELP: Final = {
    "ls": {
        "description": "List spooled chunks or dead letters, oldest first.",
        "epilog": "With the options of an output (-p), chunks that it would not send because its\n"
        "options differ from those that they were spooled with are shown as 'other options'.\n"
        "\nstates of chunks: waiting, other options, damaged, unreadable\n"
        "states of letters: dead, other stream, cut (too long to be kept as a whole), damaged\n"
        "\nexit code 1: something is damaged or cannot be read",
    },
    "replay": {
        "description": "Send spooled chunks or dead letters to the stream that the options (-p) "
        "name, and\nremove what was delivered. The options of an output are needed; region and "
        "stream at least.",
        "epilog": "Of a chunk, the events that were settled before are not sent again. A chunk of "
        "which\nrecords were refused or given up stays as a whole. Records that the options leave\n"
        "out count as done. What was spooled with other options, or meant for another stream,\n"
        "stays, unless --other-options is given.\n"
        "Chunks in the directory of an output that runs are not touched: it delivers them.\n"
        "Letters are sent one by one; those that are refused again stay.\n"
        "\nexit code 1: something stays, the last lines say why; 130: Ctrl-C, after what was in\n"
        "flight",
    },
    "export": {
        "description": "Copy spooled chunks or dead letters, oldest first.",
        "epilog": "formats:\n"
        "  msgpack  the events as Fluent Bit handed them over, end to end: `kinesis-fast send\n"
        "           --format msgpack` reads them; letters that were cut are left out\n"
        "  jsonl    a record a line. Of a chunk: its data as it would be sent, with the options\n"
        "           that it was spooled with. Letters: the lines of their files\n"
        "\nexit code 1: something is left out because it is damaged or was cut",
    },
    "purge": {
        "description": "Remove spooled chunks or dead letters for good, after a question.",
        "epilog": "Chunks in the directory of an output that runs are not touched.\n"
        "\nexit code 1: something that was meant is still there",
    },
}


def _add_ls(parser: Parser) -> None:
    _add_shared(parser)
    parser.add_argument("--json", action="store_true", help="a JSON object a line, with all fields")


def _add_replay(parser: Parser) -> None:
    _add_shared(parser)
    parser.add_argument(
        "--other-options",
        action="store_true",
        help="send also what was spooled with other options or meant for another stream",
    )


def _add_export(parser: Parser) -> None:
    _add_shared(parser)
    parser.add_argument("--format", choices=("msgpack", "jsonl"), default="msgpack")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="a new file (default: stdout)"
    )
    parser.add_argument(
        "--unsettled", action="store_true", help="of chunks, only events that are not settled"
    )


def _add_purge(parser: Parser) -> None:
    _add_shared(parser)
    parser.add_argument("--damaged", action="store_true", help="only what is damaged")
    parser.add_argument("--yes", action="store_true", help="do not ask")


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
    match = _AGE.fullmatch(text)
    if not match:
        raise ArgumentTypeError(f"{text!r} is no age such as 90s, 30m, 12h or 7d")
    return seconds_ns(int(match[1]) * _AGE_UNITS[match[2]])


_PARSERS: Final[dict[str, Callable[[Parser], None]]] = {
    "ls": _add_ls,
    "replay": _add_replay,
    "export": _add_export,
    "purge": _add_purge,
}
_RUNS: Final[dict[str, Callable[[Namespace], int]]] = {
    "ls": list_items,
    "replay": replay_items,
    "export": export_items,
    "purge": purge_items,
}
