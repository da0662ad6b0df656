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
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from chunks import output_config
from fault_load import TIMEOUT_S, Load, Round, mixed
from fault_server import FaultServer
from interrupted_load import InterruptedLoad, keep_quiet
from memory_in_use import memory_in_use, resident_bytes

from kinesis_fast import KinesisOutput
from kinesis_fast.transport.client import open_transport

MIB: Final = 1024 * 1024


class Sample(NamedTuple):
    """The resources of the process after a round, when nothing is in flight.

    The first three are those of `memory_in_use.MemoryInUse`.
    """

    malloc_bytes: int
    python_blocks: int
    python_objects: int
    descriptors: int
    threads: int


# From the second third of a run to the last. What the package keeps on purpose stays far below:
# an output remembers what was refused, for instance, two blocks each.
ALLOWED_GROWTH: Final = Sample(
    malloc_bytes=MIB // 2, python_blocks=4000, python_objects=500, descriptors=2, threads=2
)


def sample() -> Sample:
    """Return the resources of this process."""
    n_fds = len(list(Path("/proc/self/fd").iterdir()))
    return Sample(*memory_in_use(), n_fds, threading.active_count())


def line(seconds: float, now: Sample, round_: Round, round_s: float, output: KinesisOutput) -> str:
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


def growth(samples: Sequence[Sample]) -> list[str]:
    """Return the resources that have grown from the second third of the samples to the last.

    The least of each third counts. A connection, or the buffer of a thread, may be there or not
    when a round ends; what is never given back is there every time.
    """
    third = len(samples) // 3
    before, after = samples[third : 2 * third], samples[2 * third :]
    grown = []
    for name, allowed in ALLOWED_GROWTH._asdict().items():
        first, last = (min(getattr(one, name) for one in part) for part in (before, after))
        if last > first + allowed:
            grown.append(f"{name} grew from {first} to {last}; {allowed} more are allowed")
    return grown


def soak(arguments: argparse.Namespace) -> list[str]:
    """Run rounds until the time is up. Returns what is wrong; raises when a record is lost."""
    options = {"transport": arguments.transport, "http_request_timeout": TIMEOUT_S}
    samples: list[Sample] = []
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
            now = sample()
            samples.append(now)
            took = time.monotonic() - started
            print(line(took, now, round_, took - passed, output), end="  ", flush=True)
            interrupted.run(arguments.every / 2)
            print(f"{interrupted.n_raised} exceptions", flush=True)
    return growth(samples) if len(samples) >= 3 else ["too few rounds to tell"]


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
