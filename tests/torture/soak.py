"""Full speed for a long time, a fault in one of a hundred requests: no leak, no lost record.

Run by hand: `make soak`, or this file with --help. It starts fault servers of its own, prints a
line every few seconds, compares every record, and exits with 1 when memory in use, descriptors or
threads grow. Between two rounds at full speed, other outputs deliver one chunk each while an
exception is raised at a random line of the delivery.

Resident memory is printed, but does not count: it contains what the allocators keep for later.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from chunks import output_config
from fault_load import TIMEOUT_S, Load, Round, mixed
from fault_server import FaultServer
from interrupted_load import InterruptedLoad, keep_quiet
from resources import Resources, growth, resident_bytes, resources

from kinesis_fast import KinesisOutput
from kinesis_fast.transport.client import open_transport

MIB: Final = 1024 * 1024


def line(
    seconds: float, now: Resources, round_: Round, round_s: float, output: KinesisOutput
) -> str:
    """Return what is printed after a round."""
    stats: dict[str, int] = output.stats()
    shares = ("in", "delivered", "skipped", "dead", "pending", "returned", "resumed", "retried")
    account = " ".join(f"{share}={stats[share]}" for share in shares)
    return (
        f"{seconds:7.0f} s  {now.malloc_bytes / MIB:6.2f} MiB  {now.python_blocks} blocks  "
        f"{now.python_objects} objects  (resident {resident_bytes() / MIB:.1f} MiB)  "
        f"{now.descriptors} fds  {now.threads} threads  "
        f"{round_.n_records / round_s:6.0f} records/s  {round_.n_retries} flushes again, "
        f"{round_.n_twice} records twice  {account}"
    )


def soak(arguments: argparse.Namespace) -> list[str]:
    """Run rounds until the time is up. Returns what is wrong; raises when a record is lost."""
    options = {"transport": arguments.transport, "http_request_timeout": TIMEOUT_S}
    samples: list[Resources] = []
    with FaultServer() as server, FaultServer() as other, ExitStack() as stack:
        server.plan(then=mixed(arguments.chance))
        config = output_config(options, endpoint=server.url)
        output = stack.enter_context(KinesisOutput(config))
        load = Load(output, server, arguments.callers)
        transport = open_transport(output_config(options, endpoint=other.url))
        stack.callback(transport.close)
        interrupted = InterruptedLoad(other, transport, arguments.chance)
        started = time.monotonic()
        while (passed := time.monotonic() - started) < arguments.seconds:
            round_ = load.run(min(arguments.every, arguments.seconds - passed))
            now = resources()
            samples.append(now)
            took = time.monotonic() - started
            print(line(took, now, round_, took - passed, output), end="  ", flush=True)
            interrupted.run(arguments.every / 2)
            print(f"{interrupted.n_raised} exceptions", flush=True)
    return growth(samples)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="how long")
    parser.add_argument("--every", type=float, default=10.0, help="seconds of a round")
    parser.add_argument("--transport", default="direct", choices=("direct", "botocore"))
    parser.add_argument("--callers", type=int, default=4, help="threads that flush")
    parser.add_argument("--chance", type=float, default=0.01, help="of a fault, for each request")
    logging.disable(logging.CRITICAL)
    keep_quiet()
    os.environ |= {"AWS_ACCESS_KEY_ID": "ENVKEY", "AWS_SECRET_ACCESS_KEY": "secret"}
    os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
    wrong = soak(parser.parse_args())
    print(*wrong or ["no growth, and every record arrived"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
