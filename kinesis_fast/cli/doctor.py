"""`kinesis-fast doctor`: check an installation and say how to repair it."""

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

from kinesis_fast import _core
from kinesis_fast.cli.common import Exit, Parser, command_parser, parse_options, printable
from kinesis_fast.cli.plugin_path import REINSTALL, library
from kinesis_fast.cli.service_check import Finding, State, bad, good, service_findings, unknown
from kinesis_fast.config import OutputConfig
from kinesis_fast.host import locate
from kinesis_fast.version import VERSION

# Options of the library that Fluent Bit loads; OutputConfig does not know them.
LIBRARY_OPTIONS: Final = ("python", "libpython")
PYTHON_VARIABLE: Final = "KINESIS_FAST_PYTHON"
FLUENT_BIT_S: Final = 20.0
COLOURS: Final = {State.OK: "32", State.BAD: "31", State.UNKNOWN: "33"}


def parser() -> Parser:
    """Return the parser of this command."""
    parser = command_parser(
        "doctor",
        "Check this installation. With the options of an output (-p), also check its\n"
        "credentials, endpoint and stream. Nothing is written to the stream.",
        "example:\n  kinesis-fast doctor -p region=eu-west-1 -p stream=logs\n"
        "\nRun it as the user that runs Fluent Bit, with the same environment. Lines marked ok\n"
        "are fine; lines marked bad say what to do; lines marked - could not be checked.\n"
        "\nexit codes: 0 no line is bad, 1 a line is bad, 2 wrong use",
    )
    parser.add_argument(
        "--fluent-bit",
        metavar="PATH",
        help="the Fluent Bit to check (default: the one on PATH)",
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
    return Exit.FAILED if n_bad else Exit.OK


def _installation(named: dict[str, str]) -> Iterator[Finding]:
    version = f"{platform.python_implementation()} {platform.python_version()}{sys.abiflags}"
    yield good("interpreter", f"{sys.executable} ({version})")
    other = named["python"] or os.environ.get(PYTHON_VARIABLE, "")
    if other and not locate.is_file(Path(other)):
        advice = f"correct the option python or the variable {PYTHON_VARIABLE}"
        yield bad("interpreter", f"{other} does not exist", advice)
    elif other and not _is_this_python(other):
        yield unknown(
            "interpreter",
            f"Fluent Bit will use {other} instead (option python or {PYTHON_VARIABLE}): check it "
            f"with {other} -m kinesis_fast doctor",
        )
    yield _libpython(named["libpython"])
    yield good("package", f"kinesis_fast {VERSION}")
    # The compiled modules load: the package could not be imported without them.
    yield good("compiled", str(Path(_core.__file__).parent))
    yield good("botocore", botocore.__version__)
    path = library()
    found = path.is_file()
    yield good("plugin", str(path)) if found else bad("plugin", f"{path} is missing", REINSTALL)


def _is_this_python(path: str) -> bool:
    """Compare without resolving links, which would lead out of the virtual environment."""
    own = Path(sys.executable)
    return Path(path).parent.resolve() == own.parent.resolve() and Path(path).samefile(own)


def _libpython(named: str) -> Finding:
    if named:
        text = f"{named} (option libpython)"
        if locate.is_file(Path(named)):
            return good("libpython", text)
        return bad("libpython", text, "the file does not exist: correct the option or leave it out")
    problem = locate.objection()
    if problem:
        return bad("libpython", "none that Fluent Bit can use", problem)
    return good("libpython", str(locate.libpython()))


def _fluent_bit(named: str | None) -> Iterator[Finding]:
    """Whether Fluent Bit loads the plugin: if so, its help lists it among the outputs."""
    path = named or shutil.which("fluent-bit")
    if path is None:
        yield unknown("Fluent Bit", "not on PATH; check another one with --fluent-bit PATH")
        return
    try:
        version = _output_of(path, "--version").splitlines()[0]
        text = _output_of(path, "-e", str(library()), "--help")
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        advice = "name a Fluent Bit that runs here with --fluent-bit"
        yield bad("Fluent Bit", f"{path} does not run: {error}", advice)
        return
    if any(line.split()[:1] == ["kinesis"] for line in text.splitlines()):
        yield good("Fluent Bit", f"{version} at {path} loads the plugin")
    else:
        advice = f"use a build for {platform.machine()} that supports Go plugins"
        yield bad("Fluent Bit", f"{version} at {path} does not load the plugin", advice)


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
        yield unknown("service", "not checked: give the output's options, -p region=... and so on")
        return
    yield good("options", config.describe())
    for text in config.warnings():
        yield unknown("options", text)
    yield from service_findings(config)


def _show(finding: Finding) -> None:
    mark = f"{finding.state.value:4}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        mark = f"\x1b[{COLOURS[finding.state]}m{mark}\x1b[0m"
    print(f"{mark} {finding.subject:12} {printable(finding.text)}", flush=True)
    if finding.advice:
        print(f"{'':17} -> {printable(finding.advice)}", flush=True)
