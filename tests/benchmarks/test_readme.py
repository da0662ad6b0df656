"""The block in the README, and the chart."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
import readme
from chart import Group, bars
from readme import BEGIN, END, MarkError

SVG = "{http://www.w3.org/2000/svg}"


def figure(median: float) -> dict[str, float]:
    """A figure in the format of the results."""
    return {"median": median, "min": median, "max": median}


def encoded(options: str, speed: float, ratio: float) -> dict[str, Any]:
    """A chunk in the results."""
    return {
        "chunk": "access_0",
        "options": options,
        "mb_per_s": {"kinesis_fast": figure(speed)},
        "ratio": {"json": figure(ratio), "orjson": figure(ratio / 2)},
    }


def sent(way: str, cpu_ms: float, latency_ms: int = 0) -> dict[str, Any]:
    """A way of sending in the results."""
    return {
        "server": "https",
        "latency_ms": latency_ms,
        "chunk": "500 x 10 KB",
        "way": way,
        "cpu_ms_per_request": figure(cpu_ms),
        "cpu_ratio": figure(60 / cpu_ms),
    }


def packed(way: str, cpu_s_per_gb: float, put_units: int, requests: int) -> dict[str, Any]:
    """A whole flush with aggregation or compression in the results."""
    counts = {"record_bytes": 10**6, "entries": put_units, "requests": requests}
    counts |= {"entry_bytes": 50_000, "put_units": put_units, "billed_bytes": 8000}
    return {
        "work": "https",
        "chunk": "access_0",
        "way": way,
        "packed": counts,
        "cpu_s_per_gb": figure(cpu_s_per_gb),
    }


RESULTS = {
    "machine": "a machine",
    "encode": [encoded("plain", 801, 30), encoded("shaped", 502, 20)],
    "packing": [packed("plain", 10, 1000, 24), packed("aggregation", 5.5, 8, 1)],
    "send": [sent("direct", 10), sent("direct", 12, latency_ms=20), sent("plain boto3", 60)],
}


def test_block_has_the_measured_figures() -> None:
    lines = list(readme.block(RESULTS))
    assert "| access log, 200 B a record | 801 | 30.0x | 15.0x | 502 MB/s, 20.0x |" in lines
    assert [line for line in lines if line.startswith("| 500")] == [
        "| 500 x 10 KB, HTTPS | 10 | 60 | 6.0x |"
    ]


def test_packing_is_shown_as_parts_of_a_plain_flush() -> None:
    lines = list(readme.block(RESULTS))
    assert "| plain | 10.0 | 100 % | 100 % | 100 % | 100 % | 100 % |" in lines
    assert "| aggregation | 5.5 | 55 % | 4.2 % | 100 % | 0.8 % | 100 % |" in lines


def test_the_page_about_aggregation_has_the_marks_and_gets_the_figures() -> None:
    page = readme.packing_page(readme.PAGE.read_text(), RESULTS)
    assert "| 205 B | plain | 1,000,000 | 24,000 | 0.050 | 1,000,000 | 0.008 | 10.0 |" in page
    assert readme.packing_page(page, RESULTS) == page


def test_only_what_is_between_the_marks_changes() -> None:
    text = f"before\n{BEGIN}old\n{END}after\n"
    once = readme.replaced(text, "new\n")
    assert once == f"before\n{BEGIN}new\n{END}after\n"
    assert readme.replaced(once, "new\n") == once


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, BEGIN + END + BEGIN, BEGIN + END + END])
def test_marks_that_are_missing_or_wrong(text: str) -> None:
    with pytest.raises(MarkError):
        readme.replaced(text, "new\n")


def test_the_readme_has_the_marks() -> None:
    assert readme.replaced(readme.README.read_text(), "new\n")


def test_bars_are_as_long_as_their_values() -> None:
    svg = ET.fromstring(
        bars("a < b", ["one", "two"], [Group("x & y", [40, 10]), Group("z", [20, 5])])
    )
    widths = [float(bar.attrib["width"]) for bar in svg.iter(f"{SVG}rect")][2:]
    longest = widths[0]
    assert widths == pytest.approx([longest, longest / 4, longest / 2, longest / 8], rel=0.01)
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"a < b", "x & y", "40.0x", "5.0x"} <= set(texts)


def test_chart_of_results_is_relative_to_json() -> None:
    svg = ET.fromstring(readme.draw(RESULTS))
    values = [text.text for text in svg.iter(f"{SVG}text") if "value" in text.get("class", "")]
    assert values == ["30.0x", "2.0x", "1.0x"]
