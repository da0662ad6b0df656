"""Draws the panels of a Grafana dashboard as SVG, from the answers of a Prometheus."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final, NamedTuple

WIDTH, HEIGHT, COLUMNS = 380, 210, 3
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 34, 44  # of a panel, around its plot
N_LINES: Final = 4  # of the grid
MAX_LEGEND: Final = 51  # characters of a legend
COLOURS: Final = ("#1f77b4", "#d95f02", "#2a9d4a", "#c2255c", "#7b4fb5", "#8a6d3b", "#00868b")
STYLE: Final = (
    "text{font:11px sans-serif;fill:#444}.t{font-weight:bold;font-size:12px;fill:#222}"
    ".g{stroke:#ddd}.p{fill:#fff;stroke:#ccc}polyline{fill:none;stroke-width:1.6}"
)

Points = list[tuple[float, float]]


class Series(NamedTuple):
    """A line of a panel: its name, and its points (seconds since 1970, value), in pieces."""

    name: str
    pieces: list[Points]


class Panel(NamedTuple):
    """A panel: its title, the unit as Grafana calls it, and its lines."""

    title: str
    unit: str
    series: list[Series]


def query_of(expression: str, interval: str) -> str:
    """Return the query of a dashboard with its variables replaced.

    Args:
        expression: as in the dashboard.
        interval: what stands for $__rate_interval, such as 30s.
    """
    return expression.replace("$__rate_interval", interval).replace("$stream", ".*")


def series_of(answer: Sequence[Any], legend: str, step_s: float) -> list[Series]:
    """Return the lines of an answer of query_range.

    Args:
        answer: its series.
        legend: the format of a name, such as "{{stream}}".
        step_s: seconds between two points; where one is missing, the line has a gap.
    """
    return [
        Series(_name(legend, one["metric"]), _pieces(one["values"], step_s * 1.5)) for one in answer
    ]


def _name(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend)


def _pieces(values: Sequence[tuple[float, str]], gap_s: float) -> list[Points]:
    pieces: list[Points] = []
    for when, text in values:
        value = float(text)
        if not math.isfinite(value):
            continue
        if not pieces or when - pieces[-1][-1][0] > gap_s:
            pieces.append([])
        pieces[-1].append((when, value))
    return pieces


def draw(panels: Sequence[Panel], start: float, end: float) -> str:
    """Return the panels as one SVG.

    Args:
        panels: in the order of reading.
        start: left end of each plot, seconds since 1970.
        end: right end.
    """
    rows = -(-len(panels) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * COLUMNS}" '
        f'height="{HEIGHT * rows}"><style>{STYLE}</style>'
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        parts.append(f'<g transform="translate({column * WIDTH},{row * HEIGHT})">')
        parts += _panel(panel, start, end)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, start: float, end: float) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    highest = max((v for s in panel.series for p in s.pieces for _, v in p), default=0.0)
    top = round_up(highest)

    def x(when: float) -> float:
        return LEFT + (when - start) / (end - start) * (right - LEFT)

    def y(value: float) -> float:
        return bottom - max(0.0, value) / top * (bottom - TOP)

    parts = [
        f'<rect class="p" x="3" y="3" width="{WIDTH - 6}" height="{HEIGHT - 6}" rx="4"/>',
        f'<text class="t" x="12" y="21">{escape(panel.title)}</text>',
    ]
    for line in range(N_LINES + 1):
        value = top * line / N_LINES
        parts.append(
            f'<line class="g" x1="{LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text x="{LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{shown(value, panel.unit)}</text>"
        )
    for share in (0.0, 0.5, 1.0):
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts.append(
            f'<text x="{LEFT + share * (right - LEFT):.0f}" y="{bottom + 14}" '
            f'text-anchor="{anchor}">{share * (end - start):.0f} s</text>'
        )
    return [*parts, *_lines(panel.series, x, y), _legend(panel.series)]


def _lines(
    series: Sequence[Series], x: Callable[[float], float], y: Callable[[float], float]
) -> list[str]:
    return [
        f'<polyline stroke="{COLOURS[number % len(COLOURS)]}" points="'
        + " ".join(f"{x(when):.1f},{y(value):.1f}" for when, value in piece)
        + '"/>'
        for number, one in enumerate(series)
        for piece in one.pieces
    ]


def _legend(series: Sequence[Series]) -> str:
    parts, room = [], MAX_LEGEND
    for number, one in enumerate(series):
        name = one.name if len(one.name) <= room else f"{one.name[: max(0, room - 1)]}…"
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<tspan fill="{colour}">■</tspan> {escape(name)}  ')
        room -= len(name) + 4
        if room <= 0:
            break
    return f'<text x="12" y="{HEIGHT - 12}" xml:space="preserve">{"".join(parts)}</text>'


def round_up(value: float) -> float:
    """Return the next of 1, 2, 4 and 8 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 4, 8, 10) if value <= power * factor * 1.001)


def shown(value: float, unit: str) -> str:
    """Return a value with its unit, as short as an axis wants it."""
    if unit == "percentunit":
        return f"{value * 100:g} %"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:g} ms"
    suffix = {"s": " s", "bytes": "B", "Bps": "B/s", "cps": "/s", "reqps": "/s"}.get(unit, "")
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor and unit != "s":
            return f"{value / factor:g} {letter}{suffix}"
    return f"{value:g}{suffix if suffix != 'B' else ' B'}"
