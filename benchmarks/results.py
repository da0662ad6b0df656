"""The figures as plain values, for the JSON file behind the README's table and chart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from compare_encode import MEMCPY, OURS, EncodeResult
from compare_flush import MemoryRow
from compare_packing import PackingRow
from compare_send import SendRow
from compare_threads import ThreadRow
from timing import Spread

Values = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """Everything that one run measured."""

    machine: str
    encode: Sequence[EncodeResult]
    memory: Sequence[MemoryRow]
    send: Sequence[SendRow]
    packing: Sequence[PackingRow]
    threads: Sequence[ThreadRow]

    @property
    def missed(self) -> list[str]:
        """Every target that was not reached, in words."""
        missed = [row.missed for row in self.encode]
        missed += [row.missed for row in self.send]
        missed += [row.missed for row in self.packing]
        missed += [row.missed for row in self.threads]
        return list(chain.from_iterable(missed))

    def write(self, path: Path) -> Values:
        """Write the figures to a file, and return them."""
        values = {
            "machine": self.machine,
            "encode": [_encode_values(result) for result in self.encode],
            "flush_into_memory": [_memory_values(row) for row in self.memory],
            "send": [_send_values(row) for row in self.send],
            "packing": [_packing_values(row) for row in self.packing],
            "threads": [_thread_values(row) for row in self.threads],
            "missed": self.missed,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=2) + "\n")
        return values


def _encode_values(result: EncodeResult) -> Values:
    others = [name for name in result.series if name not in (OURS, MEMCPY)]
    return {
        "chunk": result.workload.name,
        "about": result.workload.about,
        "options": result.options,
        "n_bytes": len(result.workload.chunk),
        "n_records": result.n_records,
        "mb_per_s": {name: _values(result.mb_per_s(name)) for name in result.series},
        "ns_per_record": {name: _values(result.ns_per_record(name)) for name in result.series},
        "ratio": {name: _values(result.ratio_to(name)) for name in others},
        "targets": dict(result.targets),
    }


def _memory_values(row: MemoryRow) -> Values:
    return {
        "chunk": row.name,
        "n_bytes": row.n_bytes,
        "n_requests": row.n_requests,
        "mb_per_s": _values(row.mb_per_s),
        "fixed_us_per_request": _values(row.fixed_us),
    }


def _send_values(row: SendRow) -> Values:
    return {
        "server": row.scheme,
        "latency_ms": row.latency_ms,
        "chunk": row.case.name,
        "way": row.way,
        "sent": row.sent._asdict(),
        "cpu_ms_per_request": _values(row.cpu_ms),
        "wall_ms": _values(row.wall_ms),
        "cpu_ratio": _values(row.faster),
        "wall_ratio": _values(row.sooner),
        "target": row.target,
        "max_ms": row.max_ms,
    }


def _packing_values(row: PackingRow) -> Values:
    return {
        "work": row.work,
        "chunk": row.chunk,
        "way": row.way,
        "other": row.other,
        "packed": row.packed._asdict(),
        "entry_bytes_part": row.entry_bytes_part,
        "cpu_s_per_gb": _values(row.cpu_s_per_gb),
        "cpu_part": _values(row.cpu_part),
        "limits": row.limits._asdict(),
    }


def _thread_values(row: ThreadRow) -> Values:
    return {
        "work": row.name,
        "one_thread_s": row.one_s,
        "two_threads_s": row.two_s,
        "scaling": row.scaling,
        "target": row.target,
    }


def _values(spread: Spread) -> dict[str, float]:
    return {"median": spread.median, "min": spread.low, "max": spread.high}
