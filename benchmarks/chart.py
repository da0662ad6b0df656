"""A bar chart as SVG, readable on light and dark pages."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTH = 760
LEFT = 190  # where the bars begin
LONGEST = 490  # of a bar
BAR, STEP = 11, 14  # height of a bar, and from one to the next
GROUP_GAP = 14
TOP = 74
TEXT_SHIFT = 9  # from the top of a bar to the base line of its text
LEGEND_STEP = 150

STYLE = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.value { font-size: 11px; fill: #59636e }
.first { font-weight: 600; fill: #1f2328 }
.axis { stroke: #d1d9e0 }
.bar0 { fill: #0f766e } .bar1 { fill: #7c8a99 } .bar2 { fill: #a3afbb } .bar3 { fill: #c4ccd4 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .value { fill: #9198a1 }
  .first { fill: #f0f6fc }
  .axis { stroke: #3d444d }
  .bar0 { fill: #2dd4bf } .bar1 { fill: #8b98a5 } .bar2 { fill: #66727e } .bar3 { fill: #4a545e }
}
"""


class Group(NamedTuple):
    """The bars of one measured item; one value for each series, at least 0."""

    name: str
    values: Sequence[float]


def bars(title: str, series: Sequence[str], groups: Sequence[Group]) -> str:
    """Draw groups of horizontal bars, each with its value.

    series: what the bars of a group stand for, the first one emphasised; at most four.
    """
    largest = max(value for group in groups for value in group.values)
    group_height = len(series) * STEP + GROUP_GAP
    height = TOP + len(groups) * group_height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
        *_legend(series),
        f'<path class="axis" d="M{LEFT - 0.5} {TOP - 6}V{height - GROUP_GAP}"/>',
    ]
    for number, group in enumerate(groups):
        parts += _group(group, TOP + number * group_height, LONGEST / largest)
    return "\n".join([*parts, "</svg>", ""])


def _legend(series: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(series):
        x = number * LEGEND_STEP
        yield f'<rect class="bar{number}" x="{x}" y="36" width="{BAR}" height="{BAR}" rx="2"/>'
        yield f'<text x="{x + BAR + 6}" y="{36 + TEXT_SHIFT + 1}">{escape(name)}</text>'


def _group(group: Group, top: int, scale: float) -> Iterator[str]:
    middle = top + len(group.values) * STEP / 2 + 3
    yield f'<text x="{LEFT - 10}" y="{middle:g}" text-anchor="end">{escape(group.name)}</text>'
    for number, value in enumerate(group.values):
        y = top + number * STEP
        width = max(value * scale, 1)
        yield (
            f'<rect class="bar{number}" x="{LEFT}" y="{y}" width="{width:.1f}" '
            f'height="{BAR}" rx="2"/>'
        )
        kind = "value first" if number == 0 else "value"
        x = LEFT + width + 6
        yield f'<text class="{kind}" x="{x:.1f}" y="{y + TEXT_SHIFT + 1}">{value:.1f}x</text>'
