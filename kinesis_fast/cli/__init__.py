"""The command `kinesis-fast`; each subcommand is a module of that name, imported when used."""

import errno
import importlib
import os
import sys
from argparse import REMAINDER
from collections.abc import Sequence
from typing import Final

from kinesis_fast.cli.common import (
    Exit,
    Parser,
    UsageError,
    complain,
    learn_secrets,
    prepare_output,
)
from kinesis_fast.errors import ConfigError, KinesisFastError
from kinesis_fast.transport.secrets import failure_text
from kinesis_fast.version import VERSION

COMMANDS = {
    "demo": "send sample Fluent Bit chunks to a local Kinesis, read them back and compare",
    "send": "send a file or a pipe to a stream",
    "preview": "show the records that would be sent, without a network",
    "plan": "what logs would cost in a stream: requests, shards, bytes, CPU time, money",
    "read": "read a stream back: take aggregates apart, inflate, show what a consumer sees",
    "spool": "list, replay, export or purge spooled chunks and dead letters",
    "plugin-path": "print the path of the library that Fluent Bit loads",
    "doctor": "check Python, Fluent Bit, credentials, stream and permissions",
}


OUTPUT_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    argv: the arguments after the command's name; sys.argv by default.
    """
    prepare_output()
    arguments = list(sys.argv[1:] if argv is None else argv)
    learn_secrets(arguments)
    debug = "--debug" in arguments
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse: --help, --version, wrong arguments
        return stop.code if isinstance(stop.code, int) else Exit.WRONG_USE
    except BrokenPipeError:
        # The reader of the pipe has gone. Python would report it again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.BROKEN_PIPE
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.INTERRUPTED
    except Exception as error:
        if debug:
            print(failure_text(), file=sys.stderr)
        return _failed(error, debug)
    return code


def _run(arguments: list[str]) -> int:
    if not arguments:
        _parser().print_help(sys.stderr)
        return Exit.WRONG_USE
    parsed = _parser().parse_args(arguments)
    command = importlib.import_module(f"{__name__}.{parsed.command.replace('-', '_')}")
    return int(command.run(command.parser().parse_args(parsed.arguments)))


def _failed(error: Exception, debug: bool) -> int:
    if isinstance(error, (KinesisFastError, ImportError)):
        complain(str(error))
    elif isinstance(error, OSError) and error.filename is None and error.errno in OUTPUT_ERRORS:
        complain(f"cannot write the output: {error.strerror}")
    else:
        hint = "" if debug else "; --debug shows where"
        complain(f"unexpected {type(error).__name__}: {error}{hint}")
    return Exit.WRONG_USE if isinstance(error, (UsageError, ConfigError)) else Exit.FAILED


def _parser() -> Parser:
    width = max(map(len, COMMANDS))
    parser = Parser(
        prog="kinesis-fast",
        usage="kinesis-fast [--version] [--debug] COMMAND ...",
        description="Send Fluent Bit chunks, JSON or plain lines to Amazon Kinesis Data Streams.",
        epilog="commands:\n"
        + "".join(f"  {name:{width}}  {text}\n" for name, text in COMMANDS.items())
        + "\n`kinesis-fast COMMAND --help` describes a command.\n"
        "\nexit codes:\n"
        "  0    success: everything was delivered, nothing is wrong\n"
        "  1    failure; the last lines say what failed\n"
        "  2    wrong use: an argument or an option\n"
        "  130  interrupted with Ctrl-C",
    )
    parser.add_argument("--version", action="version", version=f"kinesis-fast {VERSION}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument(
        "command", metavar="COMMAND", choices=COMMANDS, help="one of the commands below"
    )
    parser.add_argument("arguments", nargs=REMAINDER, metavar="...", help="its arguments")
    return parser
