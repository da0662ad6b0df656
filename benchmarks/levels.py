"""The kernels of each CPU level against each other: is a wider level slower than a narrower one?

    python benchmarks/levels.py           some seconds; exit status 1 when a target is missed
    python benchmarks/levels.py --json    compares the chunks with msgpack + json as well

The kernels of all levels of this CPU do the same work in turns, in one process. Before anything is
timed, the results of the narrowest level are compared with those of plain Python, and those of the
others with these. Each level has to reach LEAST of the speed of each narrower one. What misses a
target is measured again, up to ATTEMPTS times: other load on the machine spoils one measurement or
another, slow code spoils all of them.

A row with a chunk is all of `encoder.requests(chunk)`; MB/s are 10^6 bytes of msgpack per second.
The rows with 48 and 100 B are one kernel, called from Python, which takes most of that time. MD5 is
that of 100 messages side by side, whose lengths differ by up to 5 %. "faster" is against the
narrowest level; the reference is the same in plain Python. All figures are medians of CPU time.
"""

import argparse
import gc
import hashlib
import json
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from random import Random
from unittest.mock import patch

import baselines
import compare_encode
import table
from compare_encode import WrongResultError
from timing import Effort, Series, interleave, ratio
from workloads import BASE_OPTIONS, SEED, Workload, all_workloads

from kinesis_fast import OutputConfig, RecordEncoder
from kinesis_fast._core import kernels

LEAST = 0.9
ATTEMPTS = 3
EFFORT = Effort(rounds=7, sample_s=0.01)
REFERENCE = "reference"
REPEATS = 100  # calls of a single kernel in one pass
KERNEL_SLACK = 32  # bytes that a kernel may write after its text
TEXT = b'GET "/api/v1/items?page=2&sort=name" 200 from 10.0.3.17 to 10.0.0.8 in 13 ms, "curl/8"'
MD5_MESSAGES, MD5_BYTES = 100, 51_200
# hashlib takes about 1.6 s/GB; this leaves at most 1.0 for four lanes and 0.6 for eight.
MD5_TARGETS = {"ssse3": 1.6, "avx2": 2.7}


@dataclass(frozen=True)
class Work:
    """Something to do with the kernels of each level.

    figure: turns the CPU time of one pass in ns into what the table shows, in `unit`.
    reference: the same work in plain Python.
    targets: level -> how many times as fast as the reference it has to be.
    """

    name: str
    run: Callable[[], object]
    unit: str
    figure: Callable[[float], float]
    reference: Callable[[], object] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """How long each level took for the work, and the reference."""

    work: Work
    series: Mapping[str, Series]

    @property
    def missed(self) -> list[str]:
        """The targets that are not reached, in words."""
        levels = [name for name in self.series if name != REFERENCE]
        wanted = [(narrow, wide, LEAST) for narrow, wide in combinations(levels, 2)]
        wanted += [(REFERENCE, level, least) for level, least in self.work.targets.items()]
        return [
            f"{self.work.name}: {name} is {self.faster(other, name):.2f}x as fast as {other} "
            f"(target {least:g}x)"
            for other, name, least in wanted
            if name in levels and self.faster(other, name) < least
        ]

    def faster(self, other: str, name: str) -> float:
        """How many times as fast as another contender one is."""
        return ratio(self.series[other], self.series[name]).median

    def cells(self) -> list[str]:
        """The row of the table."""
        narrowest, *_ = kernels.levels()
        cells = [self.work.name, self.work.unit]
        for name, series in self.series.items():
            cells.append(f"{self.work.figure(series.spread.median):.4g}")
            if name != REFERENCE:
                cells.append(f"{self.faster(narrowest, name):.2f}x")
        return cells if REFERENCE in self.series else [*cells, "-"]


def main(arguments: list[str] | None = None) -> int:
    """Measure everything; the return value is the exit status."""
    parser = argparse.ArgumentParser(description="Compare the kernels of the CPU levels.")
    parser.add_argument("--json", action="store_true", help="measure msgpack + json too")
    options = parser.parse_args(arguments)
    rows = [measure(work) for work in works(with_json=options.json)]
    header = ["work", "unit"]
    for name in kernels.levels():
        header += [name, "faster"]
    print(table.layout([*header, REFERENCE], [row.cells() for row in rows]))
    missed = [text for row in rows for text in row.missed]
    print("\n  ".join(["targets missed:", *missed]) if missed else "targets: all reached")
    return 1 if missed else 0


def measure(work: Work) -> Row:
    """Time a piece of work; again, with more rounds, while it misses a target."""
    contenders: dict[str, Callable[[], object]] = {
        level: partial(at_level, level, work.run) for level in kernels.levels()
    }
    if work.reference:
        contenders[REFERENCE] = work.reference
    gc.freeze()  # a sample begins with a collection, which then skips what exists already
    for attempt in range(1, ATTEMPTS + 1):
        effort = Effort(attempt * EFFORT.rounds, EFFORT.sample_s)
        row = Row(work, interleave(contenders, effort))
        if not row.missed:
            break
    return row


def at_level(level: str, run: Callable[[], object]) -> object:
    """Do work with the kernels of a level, and return what it returns."""
    best = kernels.level()
    kernels.use_level(level)
    try:
        return run()
    finally:
        kernels.use_level(best)


def works(*, with_json: bool) -> Iterator[Work]:
    """Yield everything that is measured, after a look at the results."""
    for workload in all_workloads():
        yield _chunk(workload, with_json)
    start, escaped = TEXT[:48], json.dumps(TEXT.decode())[1:-1].encode()
    yield _kernel("base64 of 48 B", kernels.base64, start, b64encode(start))
    yield _kernel(f"escape of {len(TEXT)} B", kernels.escape, TEXT, escaped)
    yield _md5()


def _chunk(workload: Workload, with_json: bool) -> Work:
    encoder = RecordEncoder(OutputConfig.from_options(BASE_OPTIONS))
    chunk, narrowest = workload.chunk, kernels.levels()[0]

    def bodies() -> list[bytes]:
        with patch("os.urandom", side_effect=bytes):  # makes the same random keys every time
            return list(compare_encode.copied_bodies(encoder, chunk))

    at_level(narrowest, lambda: compare_encode.check(workload, encoder, None))
    check_levels(workload.name, bodies, at_level(narrowest, bodies))
    json_pass = compare_encode.baseline_pass(chunk, baselines.baselines()["json"], None)
    return Work(
        workload.name,
        lambda: compare_encode.exhaust(encoder, chunk),
        "MB/s",
        lambda cpu_ns: len(chunk) * 1e3 / cpu_ns,
        json_pass if with_json else None,
    )


def _kernel(
    name: str, kernel: Callable[[bytes, bytearray], int], source: bytes, result: bytes
) -> Work:
    target = bytearray(6 * len(source) + KERNEL_SLACK)
    check_levels(name, lambda: bytes(target[: kernel(source, target)]), result)
    return Work(
        name, lambda: _repeat(kernel, source, target), "ns", lambda cpu_ns: cpu_ns / REPEATS
    )


def _repeat(kernel: Callable[[bytes, bytearray], int], source: bytes, target: bytearray) -> None:
    for _ in range(REPEATS):
        kernel(source, target)


def _md5() -> Work:
    rng = Random(SEED)
    n_bytes = [MD5_BYTES - rng.randrange(MD5_BYTES // 20) for _ in range(MD5_MESSAGES)]
    messages = [rng.randbytes(n) for n in n_bytes]

    def reference() -> list[bytes]:
        return [hashlib.md5(message, usedforsecurity=False).digest() for message in messages]

    check_levels("md5", lambda: kernels.md5(messages), reference())
    return Work(
        f"md5 of {MD5_BYTES} B",
        lambda: kernels.md5(messages),
        "s/GB",
        lambda cpu_ns: cpu_ns / sum(n_bytes),
        reference,
        MD5_TARGETS,
    )


def check_levels(name: str, run: Callable[[], object], right: object) -> None:
    """Raise WrongResultError if work has another result with the kernels of some level."""
    for level in kernels.levels():
        if at_level(level, run) != right:
            raise WrongResultError(f"{name}: the result of the level {level} is wrong")


if __name__ == "__main__":
    sys.exit(main())
