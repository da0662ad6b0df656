"""`kinesis-fast plugin-path`: the path of the library that Fluent Bit loads."""

from argparse import Namespace
from pathlib import Path
from typing import Final

from kinesis_fast import host
from kinesis_fast.cli.common import Exit, Parser, complain

LIBRARY: Final = "out_kinesis.so"
REINSTALL: Final = (
    "install the wheel for this system: pip install --force-reinstall kinesis-fast (a source "
    "build makes the library on Linux only)"
)


def parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        prog="kinesis-fast plugin-path",
        description="Print the path of the library that Fluent Bit loads.",
        epilog="example:\n  fluent-bit -e $(kinesis-fast plugin-path) -c fluent-bit.conf\n"
        "\nexit code 1: the library is not part of this installation",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def run(arguments: Namespace) -> int:
    """Print the path and return the exit code."""
    path = library()
    if not path.is_file():
        complain(f"the Fluent Bit plugin is missing at {path}: {REINSTALL}")
        return Exit.FAILED
    print(path)
    return Exit.OK


def library() -> Path:
    """Return where the library is installed, whether or not it is there."""
    return Path(host.__file__).with_name(LIBRARY)
