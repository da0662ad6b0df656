"""What the commands share: arguments, exit codes, and how things are written for a person."""

import argparse
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from kinesis_fast import logs
from kinesis_fast.errors import KinesisFastError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_WRONG_USE: Final = 2
EXIT_SIGNAL: Final = 128  # + number of the signal that ended it, as a shell reports it
EXIT_INTERRUPTED: Final = EXIT_SIGNAL + signal.SIGINT
EXIT_BROKEN_PIPE: Final = EXIT_SIGNAL + signal.SIGPIPE

MAX_COMPLAINT: Final = 2000  # characters
MB: Final = 1_000_000

# Where to send and as whom: what a command with its own local Kinesis decides itself.
TARGET_OPTIONS: Final = frozenset(
    {"endpoint", "profile", "role_arn", "external_id", "sts_endpoint"}
)


class UsageError(KinesisFastError):
    """The command was called with something that cannot be done; the text says what would be."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help keeps its line breaks."""

    def __init__(self, *, prog: str, description: str, epilog: str, usage: str | None = None):
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """End with one line on stderr and the exit code for wrong use."""
        self.exit(EXIT_WRONG_USE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def command_parser(name: str, description: str, epilog: str) -> Parser:
    """Return the parser of one command, with the arguments that every command has."""
    parser = Parser(prog=f"kinesis-fast {name}", description=description, epilog=epilog)
    add_common_arguments(parser)
    return parser


def add_common_arguments(parser: Parser) -> None:
    """Add the arguments that every command has."""
    parser.add_argument(
        "-p",
        dest="options",
        metavar="OPTION=VALUE",
        action="append",
        default=[],
        help="an option of the output, as in Fluent Bit's configuration; may be repeated",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug log lines")


def whole_number(minimum: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from a minimum on."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {minimum} on")
        return number

    return parse


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Turn the OPTION=VALUE arguments into the mapping that OutputConfig takes."""
    options: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().lower()
        if not equals or not name:
            raise UsageError(f"-p {pair}: write it as -p option=value")
        if name in options:
            raise UsageError(f"-p {pair}: {name} was already set to {options[name]!r}")
        options[name] = value
    return options


def refuse_target_options(options: dict[str, str], who: str) -> None:
    """Raise UsageError when an option says where to send, while a local Kinesis is that place."""
    given = sorted(TARGET_OPTIONS & options.keys())
    if given:
        raise UsageError(f"{who} sends to its own local Kinesis: leave out -p {given[0]}")


def log_to_stderr(level: int, debug: bool) -> None:
    """Show log lines from a level on, or as FLB_LOG_LEVEL says, or with --debug nearly all."""
    logs.to_stderr()
    logs.configure()  # now, so that an output finds it done and leaves the level as set below
    if debug:
        logs.LOGGER.setLevel(logging.DEBUG)
    elif not os.environ.get("FLB_LOG_LEVEL"):
        logs.LOGGER.setLevel(level)


def prepare_output() -> None:
    """Let stdout and stderr take any text, wherever it goes.

    A stream that was closed leads nowhere from now on; a character that the encoding of stdout
    lacks is written as an escape, as on stderr.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.set_inheritable(nowhere, True)  # its number is the stream's: for children too
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """Write one line to stderr, with whatever control characters it holds escaped."""
    print(f"kinesis-fast: {logs.printable(text, MAX_COMPLAINT)}", file=sys.stderr, flush=True)


def megabytes(n_bytes: int) -> str:
    """Return a size for a person to read."""
    return f"{n_bytes / MB:,.1f} MB" if n_bytes >= MB else f"{n_bytes:,} bytes"


def counted(number: int, noun: str) -> str:
    """Return "1 record" or "2,000 records"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
