"""A local Kinesis that outlives its command, so that `read` can look at it."""

import sys
import time
from typing import Final

from kinesis_fast.cli.common import Interrupts, Parser
from kinesis_fast.local.kinesis import LocalKinesis

LOOK_S: Final = 0.1  # between two looks for a signal


def add_keep(parser: Parser) -> None:
    """Add the argument that keeps the local Kinesis."""
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the local Kinesis until Ctrl-C, so that `kinesis-fast read --local URL` can "
        "read it; its URL is printed at the start",
    )


def announce(local: LocalKinesis) -> None:
    """Say how to read a local Kinesis while it runs."""
    print(f"to read it: kinesis-fast read --local {local.endpoint}", file=sys.stderr, flush=True)


def keep() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    sys.stdout.flush()
    print("the local Kinesis runs until Ctrl-C", file=sys.stderr, flush=True)
    with Interrupts() as interrupts:
        while not interrupts:
            time.sleep(LOOK_S)
