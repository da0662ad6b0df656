"""Charts as SVG that takes its colours from the page, for light and dark."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 640
ROW: Final = 22
LABEL_WIDTH: Final = 250
VALUE_WIDTH: Final = 90
HEIGHT: Final = 260
MARGIN: Final = 36
N_COLOURS: Final = 4
MAX_LABEL: Final = 40  # characters


def bars(title: str, values: Mapping[str, tuple[float, str]]) -> str:
    """Return horizontal bars.

    Args:
        title: what they show.
        values: by label: the length, 0 or more, and its text.
    """
    most = max((value for value, _ in values.values()), default=0.0) or 1.0
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    rows = []
    for number, (label, (value, text)) in enumerate(values.items()):
        y = number * ROW
        length = room * value / most
        rows.append(
            f'<text class="label" x="{LABEL_WIDTH - 8}" y="{y + 15}">{_cut(label)}</text>'
            f'<rect class="c0" x="{LABEL_WIDTH}" y="{y + 3}" width="{length:.1f}" '
            f'height="{ROW - 6}" rx="2"/>'
            f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{y + 15}">{escape(text)}</text>'
        )
    return _figure(title, len(values) * ROW, "".join(rows))


def curves(title: str, across: str, values: Mapping[str, Sequence[float]]) -> str:
    """Return curves over 1, 2, 3 and so on, with shares from 0 to 1 as their height.

    Args:
        title: what they show.
        across: what is counted from 1 on.
        values: by label.
    """
    marks = "".join(
        f'<line class="grid" x1="{MARGIN}" x2="{WIDTH}" y1="{_y(share)}" y2="{_y(share)}"/>'
        f'<text class="label" x="{MARGIN - 4}" y="{_y(share) + 4}">{share:.0%}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    parts = [marks]
    for number, (label, shares) in enumerate(values.items()):
        step = (WIDTH - MARGIN) / max(len(shares) - 1, 1)
        points = " ".join(
            f"{MARGIN + index * step:.1f},{_y(share)}" for index, share in enumerate(shares)
        )
        colour = number % N_COLOURS
        parts.append(f'<polyline class="l{colour}" points="{points}"/>')
        y = 16 + number * 18
        parts.append(
            f'<rect class="c{colour}" x="{WIDTH - 240}" y="{y - 9}" width="10" height="10"/>'
            f'<text x="{WIDTH - 224}" y="{y}">{_cut(label)}</text>'
        )
    parts.append(f'<text class="label" x="{WIDTH}" y="{HEIGHT - 4}">{escape(across)}</text>')
    return _figure(title, HEIGHT, "".join(parts))


def _figure(title: str, height: int, content: str) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{content}'
        "</svg></figure>"
    )


def _y(share: float) -> float:
    return round(HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN), 1)


def _cut(label: str) -> str:
    return escape(label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 1]}…")
