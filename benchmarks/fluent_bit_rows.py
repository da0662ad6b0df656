"""The cost of runs of Fluent Bit, as a table."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from counting_sink import Totals

HEADER = (
    *("output", "requests", "MB body", "CPU s/GB", "start CPU s", "wall s", "peak MiB"),
    *("CPU, part of kinesis_streams", "time, part"),
)
WIDTHS = (28, 10, 10, 10, 12, 8, 10, 30, 20)


@dataclass(frozen=True)
class Run:
    """One log file through one output; `sent` is what the sink counted."""

    status: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    log: str
    sent: Totals


class Sizes(NamedTuple):
    """The sizes of both log files, 10^9 bytes."""

    small: float
    large: float


@dataclass(frozen=True)
class Costs:
    """What one output takes, round by round.

    per_gb: CPU seconds per 10^9 bytes, from the small file to the large one.
    start_s: CPU seconds that do not grow with the file.
    cpu_s: CPU seconds of the large file, start included.
    wall_s: seconds for it.
    cpu_parts, wall_parts: of those of another output; empty when it is compared with none.
    """

    last: Run
    peak_mib: float
    per_gb: Sequence[float]
    start_s: Sequence[float]
    cpu_s: Sequence[float]
    wall_s: Sequence[float]
    cpu_parts: Sequence[float] = ()
    wall_parts: Sequence[float] = ()

    @classmethod
    def of(
        cls,
        runs: Sequence[tuple[Run, ...]],
        null: Sequence[tuple[Run, ...]] | None,
        sizes: Sizes,
    ) -> "Costs":
        """Summarise rounds, each of a small and a large file, above `null` in the same rounds."""
        small = [both[0].cpu_s for both in runs]
        large = [both[1].cpu_s for both in runs]
        if null is not None:
            small = [own - both[0].cpu_s for own, both in zip(small, null, strict=True)]
            large = [own - both[1].cpu_s for own, both in zip(large, null, strict=True)]
        per_gb = [
            (two - one) / (sizes.large - sizes.small) for one, two in zip(small, large, strict=True)
        ]
        start_s = [one - slope * sizes.small for one, slope in zip(small, per_gb, strict=True)]
        peak_mib = max(run.peak_mib for both in runs for run in both)
        wall_s = [both[1].wall_s for both in runs]
        return cls(runs[-1][1], peak_mib, per_gb, start_s, large, wall_s)

    def compared_with(self, other: "Costs") -> "Costs":
        """Return the same with the parts of another output, in the same rounds."""
        return replace(
            self,
            cpu_parts=_parts(self.cpu_s, other.cpu_s),
            wall_parts=_parts(self.wall_s, other.wall_s),
        )

    @property
    def cpu_part(self) -> float:
        """The median part of the CPU time."""
        return statistics.median(self.cpu_parts)

    @property
    def wall_part(self) -> float:
        """The median part of the time."""
        return statistics.median(self.wall_parts)


def table(rows: Iterable[tuple[str, Costs]]) -> str:
    """The costs of outputs as text, each with its label."""
    return "\n".join([_line(HEADER), *(_line(_cells(label, costs)) for label, costs in rows)])


def _parts(own: Sequence[float], other: Sequence[float]) -> list[float]:
    return [one / two for one, two in zip(own, other, strict=True)]


def _cells(label: str, costs: Costs) -> Sequence[str]:
    return (
        label,
        f"{costs.last.sent.requests:,}",
        f"{costs.last.sent.body_bytes / 1e6:.1f}",
        _median(costs.per_gb),
        _median(costs.start_s),
        f"{statistics.median(costs.wall_s):.1f}",
        f"{costs.peak_mib:.0f}",
        _spread(costs.cpu_parts),
        _spread(costs.wall_parts),
    )


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _line(cells: Sequence[str]) -> str:
    first, *others = zip(cells, WIDTHS, strict=True)
    return f"{first[0]:{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in others)
