"""Programs that flush to a fault server. Each runs in a process that a test can signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Final, NamedTuple

SUPPORT: Final = Path(__file__).parent
PATIENCE_S: Final = 60.0
PREAMBLE: Final = """
import atexit, gc, logging, os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from chunks import output_config
from fault_flushes import BRISK, bring
from outputs import assert_balanced, numbered
from kinesis_fast import ClosedError, FlushResult, KinesisOutput

OK, RETRY = FlushResult.OK, FlushResult.RETRY
logging.getLogger("kinesis_fast").addHandler(logging.NullHandler())  # nothing on stderr

def new_output(**options):
    defaults = {"endpoint": sys.argv[2], "transport": sys.argv[3], "http_request_timeout": "20"}
    return KinesisOutput(output_config({**defaults, **options}), timing=BRISK)

def in_threads(number, task):
    threads = [threading.Thread(target=task, args=(i,), daemon=True) for i in range(number)]
    for thread in threads:
        thread.start()
    return threads

def join(threads):
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread does not end"
"""


class Ended(NamedTuple):
    """How a program ended: its status (minus the signal that ended it), its output, its seconds."""

    status: int
    output: str
    errors: str
    seconds: float


def start(script: str, endpoint: str, transport: str) -> subprocess.Popen[str]:
    """Start a program.

    Args:
        script: its text after PREAMBLE, indented or not.
        endpoint: of the server.
        transport: how to send.
    """
    program = PREAMBLE + textwrap.dedent(script)
    # Python 3.12 and later warn when a process with threads forks, which these tests do on purpose.
    command = [sys.executable, "-P", "-W", "ignore", "-X", "faulthandler", "-c", program]
    return subprocess.Popen(
        [*command, str(SUPPORT), endpoint, transport],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its children can be ended as well
    )


def end(process: subprocess.Popen[str], started: float | None = None) -> Ended:
    """Wait for the end of a program. One that takes too long is killed, and the test fails."""
    started = time.monotonic() if started is None else started
    try:
        output, errors = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        raise AssertionError(f"the program did not end; its output:\n{output}\n{errors}") from None
    return Ended(process.returncode, output, errors, time.monotonic() - started)


def run(script: str, endpoint: str, transport: str) -> Ended:
    """Run a program to its end."""
    return end(start(script, endpoint, transport))


def assert_clean(ended: Ended) -> None:
    """Assert that a program exited with 0 and wrote nothing to stderr."""
    assert (ended.status, ended.errors) == (0, ""), ended
