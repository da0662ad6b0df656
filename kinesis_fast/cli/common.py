"""What the commands share: arguments, exit codes, signals, and output for a person to read."""

import argparse
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence, Set
from enum import IntEnum
from itertools import pairwise
from typing import Final, NoReturn, Self

from kinesis_fast import logs
from kinesis_fast.config import option_names
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.transport.secrets import MASK, learn, without_credentials

MAX_COMPLAINT: Final = 2000  # characters
MB: Final = 1_000_000
PATIENCE_S: Final = 60
_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_AGE_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_NAME: Final = re.compile("[a-z0-9_-]+")
_EXTERNAL_ID: Final = re.compile(r"external.?id[\s=:]*(.*)", re.IGNORECASE | re.DOTALL)

# Where to send and as whom: a command with its own local Kinesis decides that itself.
TARGET_OPTIONS: Final = frozenset(
    {"endpoint", "profile", "role_arn", "external_id", "sts_endpoint"}
)


class Exit(IntEnum):
    """Exit codes; a signal ends with SIGNAL + its number, as a shell reports it."""

    OK = 0
    FAILED = 1
    WRONG_USE = 2
    SIGNAL = 128
    INTERRUPTED = SIGNAL + signal.SIGINT
    BROKEN_PIPE = SIGNAL + signal.SIGPIPE


class UsageError(KinesisFastError):
    """The command was called wrongly; the text says what is allowed."""


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
        shown = printable(message)
        self.exit(Exit.WRONG_USE, f"{self.prog}: {shown} (see {self.prog} --help)\n")


class Interrupts:
    """Notices Ctrl-C and SIGTERM: the first asks the command to stop, the second stops it."""

    def __init__(self) -> None:
        self._first: int | None = None

    def __bool__(self) -> bool:
        """Whether a signal has come."""
        return self._first is not None

    def __enter__(self) -> Self:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._notice) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def exit_code(self, *, is_complete: bool) -> int:
        """Return the exit code of a command that may have been interrupted."""
        if self._first is not None:
            return Exit.SIGNAL + self._first
        return Exit.OK if is_complete else Exit.FAILED

    def _notice(self, number: int, _frame: object) -> None:
        if self._first is not None:
            raise KeyboardInterrupt
        self._first = number


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


def add_patience(parser: Parser) -> None:
    """Add the argument that says how long a command goes on while nothing is delivered."""
    parser.add_argument(
        "--patience",
        type=whole_number(1),
        default=PATIENCE_S,
        metavar="SECONDS",
        help=f"how long to go on while no record is delivered (default: {PATIENCE_S})",
    )


def whole_number(minimum: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers of at least a minimum."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {minimum}")
        return number

    return parse


def age_seconds(text: str) -> int | None:
    """Return the seconds of an age such as 90s, 30m, 12h or 7d, None if the text is none."""
    match = _AGE.fullmatch(text)
    return int(match[1]) * _AGE_UNITS[match[2]] if match else None


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Turn the OPTION=VALUE arguments into the mapping that OutputConfig takes."""
    options: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().lower()
        if not equals or not _NAME.fullmatch(name):
            # The rest may be the value, and that a secret.
            known = next((known for known in option_names() if name.startswith(known)), MASK)
            raise UsageError(f"-p {known}: write it as -p option=value")
        if name in options:
            raise UsageError(f"option {name} is given twice; allowed: once")
        options[name] = value
    return options


def learn_secrets(arguments: Sequence[str]) -> None:
    """Learn the secrets among the arguments, however they are written, so that no error shows one.

    Args:
        arguments: of the command, as they were typed.
    """
    for argument, following in pairwise([*arguments, ""]):
        before_host = argument.rpartition("@")[0]
        for user_info in (before_host, before_host.partition("//")[2]):
            learn(user_info.partition(":")[2])
        if found := _EXTERNAL_ID.search(argument):
            learn(found[1] or (following if not following.startswith("-") else None))


def refuse_options(options: dict[str, str], refused: Set[str], who: str) -> None:
    """Raise UsageError when an option is given that a local Kinesis decides."""
    given = sorted(refused & options.keys())
    if given:
        raise UsageError(f"{who} sends to its own local Kinesis: leave out -p {given[0]}")


def log_to_stderr(level: int, debug: bool) -> None:
    """Show log lines of at least a level; --debug and then FLB_LOG_LEVEL take precedence."""
    logs.to_stderr()
    logs.configure()  # now, so that an output finds it done and leaves the level as set below
    if debug:
        logs.LOGGER.setLevel(logging.DEBUG)
    elif not os.environ.get("FLB_LOG_LEVEL"):
        logs.LOGGER.setLevel(level)


def prepare_output() -> None:
    """Let stdout and stderr accept any text.

    A closed stream is replaced by /dev/null. Characters that stdout cannot encode are written as
    escapes, as on stderr.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.set_inheritable(nowhere, True)  # it has the stream's number: for children too
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """Write one line to stderr; see printable()."""
    print(f"kinesis-fast: {printable(text)}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return a text for a person: cut, control characters escaped, secrets masked."""
    return logs.printable(without_credentials(text), MAX_COMPLAINT)


def record_bytes(data: bytes, partition_key: str) -> int:
    """Return the size of a record as the service counts it."""
    return len(data) + len(partition_key.encode())


def megabytes(n_bytes: int) -> str:
    """Return a size for a person to read."""
    return f"{n_bytes / MB:,.1f} MB" if n_bytes >= MB else counted(n_bytes, "byte")


def counted(number: int, noun: str) -> str:
    """Return "1 record" or "2,000 records"."""
    return logs.counted(number, noun, ",")


def reason_counts(counters: dict[str, int]) -> str:
    """Return the counters that are not zero, such as "8 not map, 3 no log key"."""
    return ", ".join(
        f"{number:,} {name.removeprefix('skipped_').replace('_', ' ')}"
        for name, number in counters.items()
        if number
    )
