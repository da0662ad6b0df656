"""The cost of runs of Fluent Bit, as a table."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from counting_sink import Totals

HEADER = ("output", "requests", "records", "MB body", "wall s")
CPU_HEADER = ("CPU s/GB", "net", "running", "peak MiB")


@dataclass(frozen=True)
class Run:
    """One log file through one output; `sent` is what the sink counted."""

    status: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    log: str
    sent: Totals


@dataclass(frozen=True)
class Row:
    """The medians of all runs of one output, and the highest peak.

    cpu: CPU seconds per 10^9 bytes of the log file, of the whole process.
    net: what is above Fluent Bit without an output.
    running: `net` without what the start of the output costs.
    """

    label: str
    wall_s: float
    peak_mib: float
    sent: Totals
    cpu: float
    net: float = 0.0
    running: float = 0.0

    @classmethod
    def of(cls, label: str, runs: Sequence[Run], gb: float) -> "Row":
        """Summarise runs (at least one) over a log file of so many 10^9 bytes."""
        return cls(
            label,
            statistics.median(run.wall_s for run in runs),
            max(run.peak_mib for run in runs),
            runs[-1].sent,
            statistics.median(run.cpu_s for run in runs) / gb,
        )

    def above(self, null: "Row", start: float) -> "Row":
        """This row with what is above another; start: CPU seconds per 10^9 bytes of the start."""
        net = self.cpu - null.cpu
        return replace(self, net=net, running=net - start)


def table(rows: Iterable[Row]) -> str:
    """The rows as text."""
    return "\n".join([_line(HEADER + CPU_HEADER), *(_line(_cells(row)) for row in rows)])


def _cells(row: Row) -> Sequence[str]:
    return (
        row.label,
        f"{row.sent.requests:,}",
        f"{row.sent.records:,}",
        f"{row.sent.body_bytes / 1e6:.1f}",
        f"{row.wall_s:.1f}",
        f"{row.cpu:.1f}",
        f"{row.net:.1f}",
        f"{row.running:.1f}",
        f"{row.peak_mib:.0f}",
    )


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:28}" + "".join(f"{cell:>11}" for cell in cells[1:])
