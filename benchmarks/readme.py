"""Writes the tables and the chart of the documentation from a JSON file of benchmarks/run.py.

    python benchmarks/readme.py build/bench/results.json

The text between the marks in README.md and docs/aggregation.md is replaced, and docs/bench.svg is
written.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import chart
import packing_tables

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
CHART = ROOT / "docs" / "bench.svg"
PAGE = ROOT / "docs" / "aggregation.md"
BEGIN, END = "<!-- bench:begin -->\n", "<!-- bench:end -->\n"
PAGE_MARKS = {
    name: (f"<!-- bench-{name}:begin -->\n", f"<!-- bench-{name}:end -->\n")
    for name in ("codecs", "flushes")
}
OURS = "kinesis_fast"
BASELINES = {"orjson": "msgpack + orjson", "msgspec": "msgspec", "json": "msgpack + json"}
NAMES = {
    "access_0": "access log, 200 B a record",
    "k8s_1": "Kubernetes log, 600 B",
    "typed_0": "many numbers",
    "small_48": "records of 48 B",
    "escapes_20k": "20 KB, many escapes",
    "non_ascii": "non-ASCII text",
    "large_10k": "records of 10 KB",
}
TITLE = "Chunk to finished requests: how many times as fast as msgpack + json"


class MarkError(ValueError):
    """A page does not have two marks, each once and in this order."""


# The codecs are timed once: what they cost differs by far more than the noise.
PACKING_SOURCE = (
    "Measured by `benchmarks/compare_packing.py`, codecs in one round, flushes as medians:"
)


def main(arguments: list[str]) -> None:
    """Rewrite the README of this checkout."""
    if len(arguments) != 1:
        sys.exit("usage: python benchmarks/readme.py RESULTS.json")
    rewrite(json.loads(Path(arguments[0]).read_text()))


def rewrite(results: Mapping[str, Any], readme: Path = README, svg: Path = CHART) -> None:
    """Put the figures of a run into the README and docs/aggregation.md, and draw the chart.

    Raises:
        MarkError: a page has no place for them; nothing is written.
    """
    text = replaced(readme.read_text(), "\n".join([*block(results), ""]))
    page = packing_page(PAGE.read_text(), results)
    svg.write_text(draw(results))
    readme.write_text(text)
    PAGE.write_text(page)


def packing_page(text: str, results: Mapping[str, Any]) -> str:
    """The page about aggregation with the figures of a run."""
    tables = {"codecs": packing_tables.codec_table, "flushes": packing_tables.flush_table}
    for name, table in tables.items():
        lines = [*table(results["packing"]), "", f"{PACKING_SOURCE} {results['machine']}."]
        text = replaced(text, "\n".join([*lines, ""]), PAGE_MARKS[name])
    return text


def replaced(text: str, block: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """The text with a new block between two marks."""
    begin, end = marks
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise MarkError(f"the lines {begin.strip()} and {end.strip()} are needed, each once")
    before, _, rest = text.partition(begin)
    return before + begin + block + end + rest.partition(end)[2]


def draw(results: Mapping[str, Any]) -> str:
    """The chart of the plain records."""
    plain = [row for row in results["encode"] if row["options"] == "plain"]
    others = [name for name in BASELINES if name in plain[0]["ratio"]]
    groups = [
        chart.Group(
            NAMES[row["chunk"]],
            [_ratio(row, "json"), *(_ratio(row, "json") / _ratio(row, name) for name in others)],
        )
        for row in plain
    ]
    return chart.bars(TITLE, [OURS, *(BASELINES[name] for name in others)], groups)


def block(results: Mapping[str, Any]) -> Iterator[str]:
    """The lines between the marks."""
    yield "![" + TITLE + "](docs/bench.svg)"
    yield ""
    yield from _encode_table(results["encode"])
    yield ""
    yield from _send_table(results["send"])
    yield ""
    yield from packing_tables.parts_table(results["packing"])
    yield ""
    yield f"Medians of `make bench`: {results['machine']}."
    yield "The ratios hold elsewhere, the MB/s do not."


def _encode_table(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield (
        "| chunk to finished requests, one thread | MB of msgpack/s | against msgpack + json "
        "| + orjson | with all shaping options |"
    )
    yield "|---|---|---|---|---|"
    shaped = {row["chunk"]: row for row in rows if row["options"] == "shaped"}
    for row in rows:
        if row["options"] == "plain":
            other = shaped[row["chunk"]]
            cells = [NAMES[row["chunk"]], f"{_speed(row):.0f}", f"{_ratio(row, 'json'):.1f}x"]
            cells += [_cell(row, "orjson")]
            cells += [f"{_speed(other):.0f} MB/s, {_ratio(other, 'json'):.1f}x"]
            yield f"| {' | '.join(cells)} |"


def _send_table(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield (
        "| whole flush to a server on loopback | CPU ms per request | msgpack + json + boto3 "
        "| less CPU |"
    )
    yield "|---|---|---|---|"
    plain = {(row["server"], row["chunk"]): row for row in rows if row["way"] == "plain boto3"}
    for row in rows:
        if row["way"] == "direct" and not row["latency_ms"]:
            other = plain[row["server"], row["chunk"]]
            yield (
                f"| {row['chunk']}, {row['server'].upper()} | {_cpu(row)} | {_cpu(other)} "
                f"| {row['cpu_ratio']['median']:.1f}x |"
            )


def _speed(row: Mapping[str, Any]) -> float:
    return float(row["mb_per_s"][OURS]["median"])


def _ratio(row: Mapping[str, Any], baseline: str) -> float:
    return float(row["ratio"][baseline]["median"])


def _cell(row: Mapping[str, Any], baseline: str) -> str:
    return f"{_ratio(row, baseline):.1f}x" if baseline in row["ratio"] else "-"


def _cpu(row: Mapping[str, Any]) -> str:
    return f"{row['cpu_ms_per_request']['median']:.2g}"


if __name__ == "__main__":
    main(sys.argv[1:])
