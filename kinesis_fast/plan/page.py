"""A plan as one HTML page that needs nothing else: no network, no script, no font."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from kinesis_fast.logs import printable
from kinesis_fast.plan import charts
from kinesis_fast.plan.measure import MAX_SHARDS
from kinesis_fast.plan.price import Cost, best
from kinesis_fast.plan.text import MAX_KEY, amount, columns, money, percent, section

STYLE: Final = """
:root { color-scheme: light dark; --text: #1c2430; --back: #ffffff; --faint: #d5dbe3;
  --card: #f5f7fa; --c0: #2f6fd0; --c1: #c2571a; --c2: #2a8a57; --c3: #8a4fc4; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --back: #14181f; --faint: #3a4350;
  --card: #1d232c; --c0: #6ea8ff; --c1: #f0935a; --c2: #5fcf94; --c3: #c393f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; }
th, td { padding: 0.3rem 0.6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr + tr { border-top: 1px solid var(--faint); }
tr.chosen { background: var(--card); font-weight: 600; }
pre { background: var(--card); padding: 0.8rem; overflow-x: auto; border-radius: 6px; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; margin-bottom: 0.4rem; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--text); } svg .label { text-anchor: end; } svg .grid { stroke: var(--faint); }
svg polyline { fill: none; stroke-width: 2; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); }
.l0 { stroke: var(--c0); } .l1 { stroke: var(--c1); } .l2 { stroke: var(--c2); }
.l3 { stroke: var(--c3); }
"""


def page(costs: Sequence[Cost], key: str, plugin_options: Mapping[str, str], about: str) -> str:
    """Return the page.

    Args:
        costs: of every way at one rate.
        key: the partition_key of the recommendation, empty for random ones.
        plugin_options: what the recommended section has besides the way.
        about: what the plan is about, a sentence.
    """
    chosen = best(costs, key)
    need = chosen.measured.way.for_consumers()
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>kinesis-fast plan</title><style>{STYLE}</style></head><body>",
            f"<h1>What these logs cost in a stream</h1><p>{escape(about)}</p>",
            f"<h2>Recommended: {escape(str(chosen.measured.way))}</h2>",
            f"<p>Consumers have to: {escape(need)}.</p>",
            f"<pre>{escape(chr(10).join(section(chosen, plugin_options)))}</pre>",
            "<h2>Every way</h2>",
            _table(costs, chosen),
            *_charts(costs),
            "</body></html>\n",
        ]
    )


def _table(costs: Sequence[Cost], chosen: Cost) -> str:
    shown = columns(costs)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("way", *shown))
    rows = []
    for cost in costs:
        cells = (str(cost.measured.way), *(text(cost) for text in shown.values()))
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="{"chosen" if cost is chosen else "other"}">{row}</tr>')
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _charts(costs: Sequence[Cost]) -> Iterator[str]:
    names = [str(cost.measured.way) for cost in costs]
    if any(cost.money is not None for cost in costs):
        prices = [cost.money or 0.0 for cost in costs]
        yield charts.bars("Money a month", _bars(names, prices, [money(c.money) for c in costs]))
    shards = [float(cost.shards or 0) for cost in costs]
    texts = ["no number is enough" if c.shards is None else f"{c.shards:,}" for c in costs]
    yield charts.bars("Shards of a provisioned stream", _bars(names, shards, texts))
    units = [cost.put_units for cost in costs]
    yield charts.bars("PUT payload units a second", _bars(names, units, list(map(amount, units))))
    cpu = [cost.measured.cpu_s_per_gb for cost in costs]
    texts = [f"{value:.1f}" for value in cpu]
    yield charts.bars("CPU seconds for a GB of these logs, here", _bars(names, cpu, texts))
    yield _skew(costs)
    for cost in costs:
        if cost.measured.hottest:
            hottest = {
                printable(hot.key, MAX_KEY): (hot.share, percent(hot.share))
                for hot in cost.measured.hottest
            }
            title = f"Hottest keys of {cost.measured.way.key}: share of the bytes"
            if cost.measured.way.compression == "none":
                yield charts.bars(title, hottest)


def _skew(costs: Sequence[Cost]) -> str:
    plain = [cost.measured for cost in costs if cost.measured.way.is_plain]
    shares = {
        one.way.key or "random keys": [
            one.spread.fullest(n_shards)[1] for n_shards in range(1, MAX_SHARDS + 1)
        ]
        for one in plain
    }
    title = f"Share of the fullest of 1 to {MAX_SHARDS} shards"
    return charts.curves(title, "shards", shares)


def _bars(
    names: Sequence[str], values: Sequence[float], texts: Sequence[str]
) -> dict[str, tuple[float, str]]:
    return dict(zip(names, zip(values, texts, strict=True), strict=True))
