"""The figures as text tables."""

from collections.abc import Iterable, Mapping, Sequence

from compare_encode import MEMCPY, OURS, EncodeResult
from compare_flush import MemoryRow
from compare_packing import PackingRow
from compare_send import SendRow
from compare_threads import ThreadRow
from timing import Series, Spread
from workloads import SHA256

NAMES_ON_THE_LEFT = {
    "chunk",
    "options",
    "server",
    "way",
    "work",
    "unit",
    "against",
    "(min-max)",
    "target",
}


def encode_table(results: Sequence[EncodeResult]) -> str:
    """Every chunk with plain and with shaped records, a line each."""
    baselines = [name for name in results[0].series if name not in (OURS, SHA256, MEMCPY)]
    header = ["chunk", "options", "records", "MB/s", "(min-max)", "ns/record"]
    for name in baselines:
        header += [f"{name} MB/s", "faster", "(min-max)"]
    rows = [_encode_row(result, baselines) for result in results]
    return layout([*header, "of sha256", "memcpy MB/s", "target"], rows)


def memory_table(rows: Iterable[MemoryRow]) -> str:
    """Flushes into memory."""
    header = ["chunk", "requests", "MB/s", "(min-max)", "µs/request besides encoding", "(min-max)"]
    cells = [
        [row.name, str(row.n_requests), *_cells(row.mb_per_s, 0), *_cells(row.fixed_us, 1)]
        for row in rows
    ]
    return layout(header, cells)


def send_table(rows: Iterable[SendRow]) -> str:
    """Flushes into the sink."""
    header = ["server", "chunk", "way", "requests", "records", "MB body", "CPU ms/request"]
    header += ["(min-max)", "less CPU", "(min-max)", "wall ms", "(min-max)", "sooner", "target"]
    return layout(header, [_send_row(row) for row in rows])


def packing_table(rows: Iterable[PackingRow]) -> str:
    """What aggregation and compression cost and save."""
    header = ["work", "chunk", "way", "requests", "entries", "bytes", "PUT units"]
    header += ["s/GB", "(min-max)", "part", "(min-max)", "against", "target"]
    return layout(header, [_packing_row(row) for row in rows])


def thread_table(rows: Iterable[ThreadRow]) -> str:
    """One thread against two."""
    header = ["work", "1 thread ms", "2 threads ms", "scaling", "target"]
    return layout(header, [_thread_row(row) for row in rows])


def noise_line(series: Iterable[Series]) -> str:
    """How steady the machine was."""
    taken = list(series)
    swings = [one.spread.high / one.spread.low for one in taken]
    shares = [one.core_share for one in taken]
    return (
        f"noise: samples of the same thing differ by up to {max(swings):.2f}x "
        f"(median {Spread.of(swings).median:.2f}x); "
        f"they got {min(shares):.0%} to {max(shares):.0%} of a core"
    )


def _encode_row(result: EncodeResult, baselines: Sequence[str]) -> list[str]:
    row = [result.workload.name, result.options, str(result.n_records)]
    row += [*_cells(result.mb_per_s(OURS), 0), f"{result.ns_per_record(OURS).median:.0f}"]
    for name in baselines:
        row += [f"{result.mb_per_s(name).median:.0f}", *_cells(result.ratio_to(name), 1, "x")]
    row += [f"{1 / result.ratio_to(SHA256).median:.2f}", f"{result.mb_per_s(MEMCPY).median:.0f}"]
    return [*row, _verdicts(result.targets, result)]


def _verdicts(targets: Mapping[str, float], result: EncodeResult) -> str:
    verdicts = [
        f">= {wanted:g}x {name}: {_verdict(result.ratio_to(name).median >= wanted)}"
        for name, wanted in targets.items()
    ]
    return ", ".join(verdicts) or "-"


def _send_row(row: SendRow) -> list[str]:
    server = row.scheme + (f", {row.latency_ms} ms" if row.latency_ms else "")
    sent = [str(row.sent.requests), str(row.sent.records), f"{row.sent.body_bytes / 1e6:.3f}"]
    figures = [*_cells(row.cpu_ms, 3), *_cells(row.faster, 1, "x"), *_cells(row.wall_ms, 1)]
    target = "-"
    if row.target:
        target = f">= {row.target:g}x: {_verdict(not row.missed)}"
    if row.max_ms:
        target = f"<= {row.max_ms:.2f} ms: {_verdict(not row.missed)}"
    return [server, row.case.name, row.way, *sent, *figures, f"{row.sooner.median:.1f}x", target]


def _packing_row(row: PackingRow) -> list[str]:
    counted = [str(row.packed.requests), str(row.packed.entries), f"{row.entry_bytes_part:.3f}"]
    figures = [*_cells(row.cpu_s_per_gb, 2), *_cells(row.cpu_part, 2), row.other]
    target = "-"
    if row.limits.cpu:
        wanted = f"<= {row.limits.cpu:.2f}"
        wanted += f", bytes <= {row.limits.entry_bytes:.3f}" if row.limits.entry_bytes else ""
        target = f"{wanted}: {_verdict(not row.missed)}"
    names = [row.work, row.chunk, row.way]
    return [*names, *counted, str(row.packed.put_units), *figures, target]


def _thread_row(row: ThreadRow) -> list[str]:
    target = f">= {row.target:g}x: {_verdict(not row.missed)}" if row.target else "-"
    times = [f"{row.one_s * 1e3:.1f}", f"{row.two_s * 1e3:.1f}"]
    return [row.name, *times, f"{row.scaling:.2f}x", target]


def _verdict(reached: bool) -> str:
    return "pass" if reached else "FAIL"


def _cells(spread: Spread, digits: int, unit: str = "") -> list[str]:
    low_to_high = f"({spread.low:.{digits}f}-{spread.high:.{digits}f})"
    return [f"{spread.median:.{digits}f}{unit}", low_to_high]


def layout(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header, in columns."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if title in NAMES_ON_THE_LEFT else cell.rjust(width)
            for title, cell, width in zip(header, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
