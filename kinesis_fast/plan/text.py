"""A plan as text for a terminal, and its recommendation as a section of Fluent Bit's file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from kinesis_fast.logs import printable
from kinesis_fast.plan.price import Cost, best

COLUMNS: Final[Mapping[str, Callable[[Cost], str]]] = {
    "requests/s": lambda cost: amount(cost.requests),
    "entries/s": lambda cost: amount(cost.entries),
    "stored/s": lambda cost: size(cost.n_bytes),
    "PUT units/s": lambda cost: amount(cost.put_units),
    "billed/s": lambda cost: size(cost.billed_bytes),
    "shards": lambda cost: "none is enough" if cost.shards is None else f"{cost.shards:,}",
    "CPU s/GB": lambda cost: f"{cost.measured.cpu_s_per_gb:.1f}",
}
MONEY_COLUMNS: Final[Mapping[str, Callable[[Cost], str]]] = {
    "provisioned/month": lambda cost: money(cost.provisioned),
    "on demand/month": lambda cost: money(cost.on_demand),
}
SHOWN_SHARDS: Final = (1, 2, 4, 8, 16, 32, 64)
WHOLE_FROM: Final = 100  # smaller numbers have three digits
MAX_KEY: Final = 60  # characters that are shown


def columns(costs: Sequence[Cost]) -> dict[str, Callable[[Cost], str]]:
    """Return the columns of the table: name and text; those of money where prices are known."""
    has_money = any(cost.money is not None for cost in costs)
    return {**COLUMNS, **(MONEY_COLUMNS if has_money else {})}


def lines(costs: Sequence[Cost], key: str, plugin_options: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a plan.

    Args:
        costs: of every way at one rate.
        key: the partition_key of the recommendation, empty for random ones.
        plugin_options: what the recommended section has besides the way.
    """
    first = costs[0]
    records = f"{amount(first.records)} records/s"
    yield f"{records} in the logs; what they become, by partition key and packing:"
    yield ""
    yield from _table(costs)
    yield ""
    yield from _skew(costs)
    yield from _remarks(costs)
    yield from _advice(costs, key)
    yield ""
    yield from section(best(costs, key), plugin_options)


def section(cost: Cost, plugin_options: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of an [OUTPUT] section with the options of a way."""
    options = {"Name": "kinesis", "Match": "*", **plugin_options, **cost.measured.way.changes}
    width = max(map(len, options))
    yield "[OUTPUT]"
    for name, value in options.items():
        yield f"    {name:{width}} {value}"


def amount(value: float) -> str:
    """Return a number per second for a person."""
    return f"{value:,.0f}" if value >= WHOLE_FROM else f"{value:.3g}"


def size(n_bytes: float) -> str:
    """Return bytes per second for a person."""
    for unit, factor in (("MB", 1e6), ("KB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:,.2f} {unit}"
    return f"{n_bytes:.0f} B"


def money(value: float | None) -> str:
    """Return a price for a person."""
    return "" if value is None else f"{value:,.2f}"


def percent(share: float) -> str:
    """Return a share for a person."""
    return f"{share:.1%}"


def _table(costs: Sequence[Cost]) -> Iterator[str]:
    shown = columns(costs)
    width = max(len(str(cost.measured.way)) for cost in costs)
    rows = [["", *shown], *([str(c.measured.way), *(f(c) for f in shown.values())] for c in costs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for label, *cells in rows:
        right = "  ".join(f"{cell:>{n}}" for cell, n in zip(cells, widths[1:], strict=True))
        yield f"{label:{width}}  {right}"


def _skew(costs: Sequence[Cost]) -> Iterator[str]:
    for cost in costs:
        way = cost.measured.way
        if way.compression != "none" or way.aggregation != "none":
            continue
        shares = ", ".join(
            f"{n}: {percent(cost.measured.spread.fullest(n)[1])}" for n in SHOWN_SHARDS
        )
        yield f"share of the fullest shard with {way.key or 'random keys'}, by shards: {shares}"
        if cost.measured.hottest:
            hottest = ", ".join(
                f'"{printable(hot.key, MAX_KEY)}" {percent(hot.share)}'
                for hot in cost.measured.hottest
            )
            yield f"hottest keys of {way.key}: {hottest}"
    yield ""


def _remarks(costs: Sequence[Cost]) -> Iterator[str]:
    found: dict[str, int] = {}
    for cost in costs:
        for name, number in cost.measured.remarks.items():
            found[name] = max(found.get(name, 0), number)
    for name, number in found.items():
        yield f"{name.replace('_', ' ')}: {number:,} records of the sample"
    if found:
        yield ""


def _advice(costs: Sequence[Cost], key: str) -> Iterator[str]:
    chosen = best(costs, key)
    need = chosen.measured.way.for_consumers()
    yield f"recommended: {chosen.measured.way}; consumers have to: {need}"
    simplest = best(costs, key, is_plain=True)
    if simplest is not chosen:
        shards = "no number of" if simplest.shards is None else f"{simplest.shards:,}"
        yield (
            f"if consumers take records as they are: {simplest.measured.way}; "
            f"{shards} shards, {amount(simplest.put_units)} PUT units/s"
        )
