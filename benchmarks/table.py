"""The figures as text for people and as plain values for JSON."""

from collections.abc import Iterable, Sequence

from compare_encode import MEMCPY, OURS, EncodeResult
from compare_flush import HttpRow, MemoryRow
from timing import Series, Spread


def encode_table(results: Sequence[EncodeResult]) -> str:
    """Every chunk with plain and with shaped records, a line each."""
    baselines = [name for name in results[0].series if name not in (OURS, MEMCPY)]
    header = ["chunk", "options", "records", "MB/s", "(min-max)", "ns/record"]
    for name in baselines:
        header += [f"{name} MB/s", "faster", "(min-max)"]
    rows = [_encode_row(result, baselines) for result in results]
    return _layout([*header, "memcpy MB/s", "target"], rows)


def memory_table(rows: Iterable[MemoryRow]) -> str:
    """Flushes into memory."""
    header = ["chunk", "requests", "MB/s", "(min-max)", "µs/request besides encoding", "(min-max)"]
    cells = [
        [row.name, str(row.n_requests), *_cells(row.mb_per_s, 0), *_cells(row.fixed_us, 1)]
        for row in rows
    ]
    return _layout(header, cells)


def http_table(rows: Iterable[HttpRow]) -> str:
    """CPU per request over HTTP."""
    header = ["request", "way", "CPU ms/request", "(min-max)", "of put_records", "(min-max)"]
    cells = [[row.request, row.way, *_cells(row.ms, 2), *_cells(row.share, 2, "x")] for row in rows]
    return _layout(header, cells)


def noise_line(series: Iterable[Series]) -> str:
    """How quiet the machine was."""
    taken = list(series)
    swings = [one.spread.high / one.spread.low for one in taken]
    shares = [one.core_share for one in taken]
    return (
        f"noise: samples of the same thing differ by up to {max(swings):.2f}x "
        f"(median {Spread.of(swings).median:.2f}x); "
        f"they got {min(shares):.0%} to {max(shares):.0%} of a core"
    )


def encode_values(result: EncodeResult) -> dict[str, object]:
    """One encode result as plain values."""
    baselines = [name for name in result.series if name not in (OURS, MEMCPY)]
    return {
        "chunk": result.workload.name,
        "about": result.workload.about,
        "options": result.options,
        "n_bytes": len(result.workload.chunk),
        "n_records": result.n_records,
        "mb_per_s": {name: _values(result.mb_per_s(name)) for name in result.series},
        "ns_per_record": {name: _values(result.ns_per_record(name)) for name in result.series},
        "ratio": {name: _values(result.ratio_to(name)) for name in baselines},
        "target": result.target,
        "reached": result.reached,
    }


def memory_values(row: MemoryRow) -> dict[str, object]:
    """One flush into memory as plain values."""
    return {
        "chunk": row.name,
        "n_bytes": row.n_bytes,
        "n_requests": row.n_requests,
        "mb_per_s": _values(row.mb_per_s),
        "fixed_us_per_request": _values(row.fixed_us),
    }


def http_values(row: HttpRow) -> dict[str, object]:
    """One way of sending as plain values."""
    return {
        "request": row.request,
        "way": row.way,
        "cpu_ms_per_request": _values(row.ms),
        "share_of_put_records": _values(row.share),
    }


def _encode_row(result: EncodeResult, baselines: Sequence[str]) -> list[str]:
    row = [result.workload.name, result.options, str(result.n_records)]
    row += [*_cells(result.mb_per_s(OURS), 0), f"{result.ns_per_record(OURS).median:.0f}"]
    for name in baselines:
        row += [f"{result.mb_per_s(name).median:.0f}", *_cells(result.ratio_to(name), 1, "x")]
    return [*row, f"{result.mb_per_s(MEMCPY).median:.0f}", _verdict(result)]


def _verdict(result: EncodeResult) -> str:
    if result.target is None:
        return "-"
    return f">= {result.target:.0f}x json: {'pass' if result.reached else 'FAIL'}"


def _cells(spread: Spread, digits: int, unit: str = "") -> list[str]:
    low_to_high = f"({spread.low:.{digits}f}-{spread.high:.{digits}f})"
    return [f"{spread.median:.{digits}f}{unit}", low_to_high]


def _values(spread: Spread) -> dict[str, float]:
    return {"median": spread.median, "min": spread.low, "max": spread.high}


def _layout(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = {"chunk", "options", "request", "way", "(min-max)", "target"}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if title in left else cell.rjust(width)
            for title, cell, width in zip(header, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
