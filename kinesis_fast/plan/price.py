"""What a way takes at a rate: requests, entries and bytes a second, shards, and money."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kinesis_fast.plan.measure import MAX_SHARDS, Measured

# What a shard takes; docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
SHARD_BYTES_PER_S: Final = 1_000_000
SHARD_ENTRIES_PER_S: Final = 1000
MOST_SHARDS: Final = 10_000
HOURS: Final = 730  # of a month
MONTH_S: Final = HOURS * 3600


@dataclass(frozen=True)
class Prices:
    """Prices of the operator's region, in any currency; None: not given.

    Attributes:
        put_units: of a million PUT payload units.
        shard_hour: of a shard, provisioned, for an hour.
        gb: of 10^9 bytes that an on-demand stream takes in.
    """

    put_units: float | None = None
    shard_hour: float | None = None
    gb: float | None = None


@dataclass(frozen=True)
class Cost:
    """A way at a rate, each figure per second unless it says otherwise.

    Attributes:
        shards: that a provisioned stream needs; None: one key alone is too much for a shard.
        provisioned, on_demand: money a month; None without the prices, or without `shards`.
    """

    measured: Measured
    records: float
    entries: float
    requests: float
    n_bytes: float
    put_units: float
    billed_bytes: float
    shards: int | None
    provisioned: float | None
    on_demand: float | None

    @property
    def money(self) -> float | None:
        """The lower price of a month, None if there is none."""
        known = [price for price in (self.provisioned, self.on_demand) if price is not None]
        return min(known, default=None)


def cost(measured: Measured, bytes_per_s: float, prices: Prices) -> Cost:
    """Return what a way takes at a rate.

    Args:
        measured: of a sample with at least one byte.
        bytes_per_s: of logs, as they were read.
        prices: to compute money with.
    """
    factor = bytes_per_s / measured.n_bytes
    put_units, billed_bytes = measured.put_units * factor, measured.billed_bytes * factor
    shards = _shards(measured, factor)
    provisioned = on_demand = None
    if shards is not None and None not in (prices.put_units, prices.shard_hour):
        units = put_units * MONTH_S / 1e6 * (prices.put_units or 0.0)
        provisioned = units + shards * HOURS * (prices.shard_hour or 0.0)
    if prices.gb is not None:
        on_demand = billed_bytes * MONTH_S / 1e9 * prices.gb
    return Cost(
        measured,
        measured.records * factor,
        measured.entries * factor,
        measured.requests * factor,
        measured.entry_bytes * factor,
        put_units,
        billed_bytes,
        shards,
        provisioned,
        on_demand,
    )


def _shards(measured: Measured, factor: float) -> int | None:
    """Return the lowest number of shards of which the fullest takes its part."""
    n_bytes, entries = measured.entry_bytes * factor, measured.entries * factor
    n_shards = 1
    while n_shards <= MOST_SHARDS:
        share, share_of_bytes = measured.spread.fullest(n_shards)
        # How often the fullest shard would have to be there to take what it gets.
        load = max(
            share_of_bytes * n_bytes / SHARD_BYTES_PER_S, share * entries / SHARD_ENTRIES_PER_S
        )
        if load <= 1:
            return n_shards
        n_shards = max(n_shards + 1, n_shards * 5 // 4 if n_shards >= MAX_SHARDS else 0)
    return None


def best(costs: Sequence[Cost], key: str, *, is_plain: bool = False) -> Cost:
    """Return the cheapest: by money where prices are known, or else by shards and PUT units.

    Args:
        costs: of every way.
        key: what partition_key is; another one changes which records keep their order.
        is_plain: whether consumers take each record as it is.
    """
    ways = [cost for cost in costs if cost.measured.way.key == key]
    return min((one for one in ways if one.measured.way.is_plain or not is_plain), key=_rank)


def _rank(one: Cost) -> tuple[float, float, float, float]:
    money = float("inf") if one.money is None else one.money
    shards = float("inf") if one.shards is None else one.shards
    return money, shards, round(one.put_units, 1), one.measured.cpu_s_per_gb
