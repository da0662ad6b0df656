"""Interleaved measurement: the contenders take turns, so that a slow second hits all of them.

CPU time is what counts where nothing waits: on a busy machine a long sample is interrupted more
often than a short one, and a ratio of wall times would flatter the faster contender. Wall time is
taken as well, for work that waits for responses or runs in several threads. The cyclic garbage
collector is off while a sample runs, which favours the contenders that make many objects.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of several samples, with the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        """Summarise samples (at least one)."""
        return cls(statistics.median(samples), min(samples), max(samples))

    def map(self, function: Callable[[float], float]) -> "Spread":
        """Apply a monotonic function, rising or falling, to the three figures."""
        low, high = sorted((function(self.low), function(self.high)))
        return Spread(function(self.median), low, high)


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and the least CPU seconds that one sample must take."""

    rounds: int
    sample_s: float


@dataclass(frozen=True)
class Series:
    """CPU and wall ns of one pass in every round, and the share of a core that the samples got."""

    cpu_ns: tuple[float, ...]
    wall_ns: tuple[float, ...]

    @property
    def core_share(self) -> float:
        """CPU time by wall time."""
        return sum(self.cpu_ns) / sum(self.wall_ns)

    @property
    def spread(self) -> Spread:
        """CPU time of one pass in ns."""
        return Spread.of(self.cpu_ns)


def ratio(slower: Series, faster: Series) -> Spread:
    """How many times the CPU time of `faster` `slower` takes, taken round by round."""
    return Spread.of([a / b for a, b in zip(slower.cpu_ns, faster.cpu_ns, strict=True)])


def wall_ratio(slower: Series, faster: Series) -> Spread:
    """How many times as long as `faster` `slower` takes by the clock, taken round by round."""
    return Spread.of([a / b for a, b in zip(slower.wall_ns, faster.wall_ns, strict=True)])


def interleave(contenders: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, Series]:
    """Measure every contender once in each round.

    contenders: name -> a function that makes one pass; a short one is called often in a sample.
    effort: rounds and length of a sample.
    """
    passes = {name: _passes_per_sample(run, effort.sample_s) for name, run in contenders.items()}
    samples: dict[str, list[_Sample]] = {name: [] for name in contenders}
    for _ in range(effort.rounds):
        for name, run in contenders.items():
            samples[name].append(_sample(run, passes[name]))
    return {name: _series(taken, passes[name]) for name, taken in samples.items()}


@dataclass(frozen=True)
class _Sample:
    cpu_ns: int
    wall_ns: int


def _passes_per_sample(run: Callable[[], object], sample_s: float) -> int:
    run()
    return max(1, math.ceil(sample_s * 1e9 / max(1, _sample(run, 1).cpu_ns)))


def _sample(run: Callable[[], object], passes: int) -> _Sample:
    gc.collect()
    gc.disable()
    try:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        for _ in range(passes):
            run()
        return _Sample(time.process_time_ns() - cpu, time.perf_counter_ns() - wall)
    finally:
        gc.enable()


def _series(samples: Sequence[_Sample], passes: int) -> Series:
    return Series(
        tuple(sample.cpu_ns / passes for sample in samples),
        tuple(sample.wall_ns / passes for sample in samples),
    )
