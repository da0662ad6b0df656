"""Tables about aggregation and compression for README.md and docs/aggregation.md."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SMALL, MIDDLE = "access_0", "k8s_1"
CHUNKS = {SMALL: "205 B", MIDDLE: "730 B"}
PARTS = ("requests", "entry_bytes", "put_units", "billed_bytes")
GB = 1e9

Row = Mapping[str, Any]


def parts_table(rows: Sequence[Row]) -> Iterator[str]:
    """Whole flushes of small records, as parts of what a plain flush takes."""
    flushes = [row for row in rows if row["work"] != "encode" and row["chunk"] == SMALL]
    yield (
        f"| whole flush of records of {CHUNKS[SMALL]}, {flushes[0]['work'].upper()} | CPU s/GB "
        "| CPU | requests | bytes | PUT units | on-demand bytes |"
    )
    yield "|---|---|---|---|---|---|---|"
    plain = flushes[0]
    for row in flushes:
        parts = [row["packed"][name] / plain["packed"][name] for name in PARTS]
        cpu = _cpu(row) / _cpu(plain)
        cells = [row["way"], f"{_cpu(row):.1f}", *map(_percent, [cpu, *parts])]
        yield f"| {' | '.join(cells)} |"


def flush_table(rows: Sequence[Row]) -> Iterator[str]:
    """Whole flushes, with what they take for 10^9 bytes of records."""
    yield "| records | way | entries | requests | GB | PUT units | on-demand GB | CPU s |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        if row["work"] != "encode":
            packed = row["packed"]
            per_gb = {name: count * GB / packed["record_bytes"] for name, count in packed.items()}
            cells = [CHUNKS[row["chunk"]], row["way"], f"{per_gb['entries']:,.0f}"]
            cells += [f"{per_gb['requests']:,.0f}", f"{per_gb['entry_bytes'] / GB:.3f}"]
            cells += [f"{per_gb['put_units']:,.0f}", f"{per_gb['billed_bytes'] / GB:.3f}"]
            yield f"| {' | '.join([*cells, f'{_cpu(row):.1f}'])} |"


def codec_table(rows: Sequence[Row]) -> Iterator[str]:
    """Bytes sent, and CPU seconds of encoding per 10^9 bytes of records, with each codec."""
    columns = [(chunk, label) for label in ("alone", "joined") for chunk in CHUNKS]
    heads = [f"{CHUNKS[chunk]} {label}" for chunk, label in columns]
    found = {(row["chunk"], row["way"]): row for row in rows if row["work"] == "encode"}
    names = [
        way.removeprefix("alone, ")
        for chunk, way in found
        if chunk == SMALL and way.startswith("alone, ")
    ]
    yield f"| codec, level | {' | '.join(heads)} |"
    yield "|---|---|---|---|---|"
    for name in names:
        measured = [found[chunk, f"{label}, {name}"] for chunk, label in columns]
        cells = [f"{row['entry_bytes_part']:.2f}, {_cpu(row):.1f} s" for row in measured]
        yield f"| {' | '.join([name, *cells])} |"


def _cpu(row: Row) -> float:
    return float(row["cpu_s_per_gb"]["median"])


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %" if part < 1 else f"{100 * part:.0f} %"
