"""Flushes into a spool and ends without close(), in one of many ways: a program.

Usage: end_flush.py URL SPOOL_DIR END SECONDS. It prints the first number of each chunk whose flush
returned OK, and ends SECONDS after the first one.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from chunks import output_config
from end_flush_codes import CHILD, EXIT_CODE, N_EVENTS
from outputs import assert_balanced, numbered

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.context import Timing

ALARM_S = 30


def end_by(name: str, output: KinesisOutput) -> None:
    """End this process in the named way; for "return" do nothing."""
    if name == "exit":
        sys.exit(EXIT_CODE)
    if name == "raise":
        raise ValueError("told to fail")
    if name == "SIGTERM":
        signal.raise_signal(signal.SIGTERM)
    if name == "SIGINT":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be inherited as ignored
        signal.raise_signal(signal.SIGINT)
    if name == "fork":
        fork_and_go_on(output)


def fork_and_go_on(output: KinesisOutput) -> None:
    """Fork twice; each child flushes, closes and exits as a program does."""
    children = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            signal.alarm(ALARM_S)
            assert output.stats()["pending"] == 0
            assert output.flush(numbered([CHILD + number])) is FlushResult.OK
            output.close(ALARM_S)
            assert output.stats()["delivered"] == 1
            assert_balanced(output.stats())
            sys.exit(EXIT_CODE)
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == EXIT_CODE
    output.close(ALARM_S)
    assert_balanced(output.stats())
    assert output.stats()["pending"] == 0


def main() -> None:
    """Flush until SECONDS have passed."""
    url, spool_dir, end, seconds = sys.argv[1:]
    output = KinesisOutput(
        output_config(endpoint=url, spool_dir=spool_dir, experimental_concurrency="3"),
        timing=Timing(random=lambda: 0.001),
    )
    first, deadline = 0, 0.0
    while not deadline or time.monotonic() < deadline:
        assert output.flush(numbered(range(first, first + N_EVENTS))) is FlushResult.OK
        print(first, flush=True)
        deadline = deadline or time.monotonic() + float(seconds)
        first += N_EVENTS
    end_by(end, output)


if __name__ == "__main__":
    main()
