"""`kinesis-fast doctor`: what is there, what is missing, and what to do about it."""

import itertools
import os
import platform
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import botocore

from kinesis_fast import _core, logs
from kinesis_fast.cli.common import EXIT_FAILED, EXIT_OK, Parser, command_parser, parse_options
from kinesis_fast.cli.plugin_path import REINSTALL, library
from kinesis_fast.cli.service_check import Finding, State, service_findings
from kinesis_fast.config import OutputConfig
from kinesis_fast.host import locate
from kinesis_fast.version import VERSION

# Options of the library that Fluent Bit loads; the output itself does not know them.
LIBRARY_OPTIONS: Final = ("python", "libpython")
PYTHON_VARIABLE: Final = "KINESIS_FAST_PYTHON"
FLUENT_BIT_S: Final = 20.0
MAX_TEXT: Final = 1000  # characters
COLOURS: Final = {State.OK: "32", State.BAD: "31", State.UNKNOWN: "33"}


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "doctor",
        "Look at this installation and, with the options of an output, at its credentials, its\n"
        "endpoint and its stream. Nothing is written to the stream.",
        "example:\n  kinesis-fast doctor -p region=eu-west-1 -p stream=logs\n"
        "\nRun it as the user and with the environment that Fluent Bit has. Lines with ok are\n"
        "fine, lines with bad say what to do, lines with - could not be tried.\n"
        "\nexit codes: 0 nothing is bad, 1 something is, 2 wrong use",
    )
    parser.add_argument(
        "--fluent-bit",
        metavar="PATH",
        help="the Fluent Bit that is to load the plugin (default: the one on PATH)",
    )
    return parser


def run(arguments: Namespace) -> int:
    """Print the findings and return the exit code."""
    options = parse_options(arguments.options)
    named = {name: options.pop(name, "") for name in LIBRARY_OPTIONS}
    config = OutputConfig.from_options(options) if options else None
    found = itertools.chain(
        _installation(named), _fluent_bit(arguments.fluent_bit), _service(config)
    )
    n_bad = 0
    for finding in found:
        n_bad += finding.state is State.BAD
        _show(finding)
    return EXIT_FAILED if n_bad else EXIT_OK


def _installation(named: dict[str, str]) -> Iterator[Finding]:
    version = f"{platform.python_implementation()} {platform.python_version()}{sys.abiflags}"
    yield Finding(State.OK, "interpreter", f"{sys.executable} ({version})")
    other = named["python"] or os.environ.get(PYTHON_VARIABLE, "")
    if other and not locate.is_file(Path(other)):
        advice = f"correct the option python or the variable {PYTHON_VARIABLE}"
        yield Finding(State.BAD, "interpreter", f"there is no {other}", advice)
    elif other and not _is_this_python(other):
        yield Finding(
            State.UNKNOWN,
            "interpreter",
            f"Fluent Bit will use {other} instead (option python or {PYTHON_VARIABLE}): run "
            f"{other} -m kinesis_fast doctor for that one",
        )
    yield _libpython(named["libpython"])
    yield Finding(State.OK, "package", f"kinesis_fast {VERSION}")
    # That this runs means that they load: the package does not import without them.
    yield Finding(State.OK, "compiled", str(Path(_core.__file__).parent))
    yield Finding(State.OK, "botocore", botocore.__version__)
    path = library()
    if path.is_file():
        yield Finding(State.OK, "plugin", str(path))
    else:
        yield Finding(State.BAD, "plugin", f"{path} is missing", REINSTALL)


def _is_this_python(path: str) -> bool:
    """Links stay links: one that is resolved leads out of the virtual environment."""
    own = Path(sys.executable)
    return Path(path).parent.resolve() == own.parent.resolve() and Path(path).samefile(own)


def _libpython(named: str) -> Finding:
    if named:
        exists = locate.is_file(Path(named))
        state = State.OK if exists else State.BAD
        advice = "" if exists else "there is no such file: correct the option, or leave it out"
        return Finding(state, "libpython", f"{named} (option libpython)", advice)
    path = locate.libpython()
    if path is None:
        return Finding(State.BAD, "libpython", "not found", locate.how_to_get())
    return Finding(State.OK, "libpython", str(path))


def _fluent_bit(named: str | None) -> Iterator[Finding]:
    """Whether Fluent Bit loads the plugin: then its help lists it among the outputs."""
    path = named or shutil.which("fluent-bit")
    if path is None:
        text = "not on PATH; --fluent-bit PATH tries whether it loads the plugin"
        yield Finding(State.UNKNOWN, "Fluent Bit", text)
        return
    try:
        version = _output_of(path, "--version").splitlines()[0]
        text = _output_of(path, "-e", str(library()), "--help")
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        advice = "name a Fluent Bit that runs here with --fluent-bit"
        yield Finding(State.BAD, "Fluent Bit", f"{path} does not run: {error}", advice)
        return
    if any(line.split()[:1] == ["kinesis"] for line in text.splitlines()):
        yield Finding(State.OK, "Fluent Bit", f"{version} at {path} loads the plugin")
    else:
        advice = f"it has to be a build for {platform.machine()} with support for Go plugins"
        yield Finding(State.BAD, "Fluent Bit", f"{version} at {path} does not load it", advice)


def _output_of(*command: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=FLUENT_BIT_S,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def _service(config: OutputConfig | None) -> Iterator[Finding]:
    if config is None:
        text = "not asked: give -p region=... -p stream=... and what else the output has"
        yield Finding(State.UNKNOWN, "service", text)
        return
    yield Finding(State.OK, "options", config.describe())
    for text in config.warnings():
        yield Finding(State.UNKNOWN, "options", text)
    yield from service_findings(config)


def _show(finding: Finding) -> None:
    mark = f"{finding.state.value:4}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        mark = f"\x1b[{COLOURS[finding.state]}m{mark}\x1b[0m"
    text = logs.printable(finding.text, MAX_TEXT)
    print(f"{mark} {finding.subject:12} {text}", flush=True)
    if finding.advice:
        print(f"{'':17} -> {logs.printable(finding.advice, MAX_TEXT)}", flush=True)
