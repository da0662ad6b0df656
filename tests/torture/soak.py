"""Full speed for a long time, a fault in one of a hundred requests: no leak, no lost record.

Run by hand: `make soak`, or this file with --help. It starts fault servers of its own, prints a
line every few seconds, compares every record, and exits with 1 when memory, descriptors or threads
grow. Between two rounds at full speed, other outputs deliver one chunk each while an exception is
raised at a random line of the delivery.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import statistics
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

from kinesis_fast import KinesisOutput
from kinesis_fast.transport.client import open_transport

MIB: Final = 1024 * 1024
ALLOWED_GROWTH_BYTES: Final = 8 * MIB  # of resident memory, from the second third to the last
ALLOWED_MORE: Final = 2  # file descriptors or threads, likewise


class Sample(NamedTuple):
    """The resources of the process after a round, when nothing is in flight."""

    rss_bytes: int
    n_fds: int
    n_threads: int


def sample() -> Sample:
    """Return the resources of this process.

    Exceptions with their frames are cycles, and these tests raise more of them than a host ever
    does: they are collected before the memory is looked at.
    """
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    n_fds = len(list(Path("/proc/self/fd").iterdir()))
    return Sample(pages * os.sysconf("SC_PAGESIZE"), n_fds, threading.active_count())


def line(seconds: float, now: Sample, round_: Round, round_s: float, output: KinesisOutput) -> str:
    """Return what is printed after a round."""
    stats: dict[str, int] = output.stats()
    shares = ("in", "delivered", "skipped", "dead", "pending", "returned", "resumed", "retried")
    account = " ".join(f"{share}={stats[share]}" for share in shares)
    return (
        f"{seconds:7.0f} s  {now.rss_bytes / MIB:7.1f} MiB  {now.n_fds:3} fds  "
        f"{now.n_threads:3} threads  {round_.n_records / round_s:8.0f} records/s  "
        f"{round_.n_retries} flushes again, {round_.n_twice} records twice  {account}"
    )


def growth(samples: Sequence[Sample]) -> list[str]:
    """Return the resources that have grown from the second third of the samples to the last."""
    third = len(samples) // 3
    before, after = samples[third : 2 * third], samples[2 * third :]
    allowed = Sample(ALLOWED_GROWTH_BYTES, ALLOWED_MORE, ALLOWED_MORE)
    grown = []
    for name, most in allowed._asdict().items():
        first, last = (
            statistics.median(getattr(one, name) for one in part) for part in (before, after)
        )
        if last > first + most:
            grown.append(f"{name} has grown from {first:.0f} to {last:.0f}")
    return grown


def soak(arguments: argparse.Namespace) -> list[str]:
    """Run rounds until the time is up. Returns what is wrong; raises when a record is lost."""
    options = {"transport": arguments.transport, "http_request_timeout": TIMEOUT_S}
    samples: list[Sample] = []
    with FaultServer() as server, FaultServer() as other, ExitStack() as stack:
        for each in (server, other):
            each.plan(then=mixed(arguments.chance))
        config = output_config(options, endpoint=server.url)
        output = stack.enter_context(KinesisOutput(config))
        load = Load(output, server, arguments.callers)
        transport = open_transport(output_config(options, endpoint=other.url))
        stack.callback(transport.close)
        interrupted = InterruptedLoad(other, transport)
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
