"""What a plan counts is what an output sends."""

import base64
import hashlib
import json
from collections import Counter
from math import ceil, inf

import pytest
from chunks import chunk_of
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast import RecordEncoder
from kinesis_fast.limits import HASH_KEYS
from kinesis_fast.plan.keys import suggested_keys
from kinesis_fast.plan.measure import Load, Measured, Spread, measure
from kinesis_fast.plan.price import Prices, best, cost
from kinesis_fast.plan.ways import Way, ways

HOSTS = [f"host-{number}" for number in range(7)]
CHUNK = chunk_of(
    {"n": n, "host": HOSTS[n * n % 7], "text": "x" * (n * 37 % 3000)} for n in range(1200)
)
WAYS = list(ways({}, ["host"]))


def no_time() -> float:
    """Stand for a clock that is past MIN_CPU_S at once."""
    return next(TICKS)


TICKS = iter(range(10**9))


def measured(way: Way, chunk: bytes = CHUNK) -> Measured:
    return measure(way, [chunk], len(chunk), no_time)


def entries_of(way: Way) -> list[dict[str, str]]:
    bodies = [bytes(r.body) for r in RecordEncoder(way.config()).requests(CHUNK, as_cbor=False)]
    return [entry for body in bodies for entry in json.loads(body)["Records"]]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_counts_are_those_of_the_entries(way: Way) -> None:
    found, entries = measured(way), entries_of(way)
    sizes = [len(base64.b64decode(entry["Data"])) + len(entry["PartitionKey"]) for entry in entries]
    assert found.records == 1200
    assert found.entries == len(entries)
    if way.key or way.compression == "none":  # a random key may compress better or worse
        assert found.entry_bytes == sum(sizes)
        assert found.put_units == sum(ceil(size / 25_600) for size in sizes)
        assert found.billed_bytes == sum(ceil(size / 1024) * 1024 for size in sizes)
    assert found.cpu_s_per_gb == pytest.approx(1e9 / len(CHUNK))
    assert found.remarks == {}


@pytest.mark.parametrize("way", [way for way in WAYS if way.key], ids=str)
@pytest.mark.parametrize("n_shards", [1, 2, 8, 64])
def test_the_fullest_shard_is_that_of_the_service(way: Way, n_shards: int) -> None:
    """A power of two divides the places evenly, so the figure is exact."""
    n_bytes: Counter[int] = Counter()
    n_entries: Counter[int] = Counter()
    for entry in entries_of(way):
        digest = hashlib.md5(entry["PartitionKey"].encode(), usedforsecurity=False).digest()
        position = int(entry.get("ExplicitHashKey") or int.from_bytes(digest))
        shard = position * n_shards // HASH_KEYS
        n_entries[shard] += 1
        n_bytes[shard] += len(base64.b64decode(entry["Data"])) + len(entry["PartitionKey"])
    share, share_of_bytes = measured(way).spread.fullest(n_shards)
    assert share == pytest.approx(max(n_entries.values()) / n_entries.total())
    assert share_of_bytes == pytest.approx(max(n_bytes.values()) / n_bytes.total())


def test_random_keys_are_even() -> None:
    assert list(measured(WAYS[0]).spread.fullest(50)) == pytest.approx([0.02, 0.02])


def test_records_without_the_key_are_even_too() -> None:
    chunk = chunk_of([{"host": "a"}] * 50 + [{"other": "b"}] * 50)
    found = measured(Way("host", "none", "none", {}), chunk)
    assert found.spread.fullest(2)[0] == pytest.approx(0.75)
    assert found.remarks == {"random_keys": 50}


def test_the_hottest_keys() -> None:
    chunk = chunk_of([{"host": "a", "text": "x" * 100}] * 3 + [{"host": "b"}])
    found = measured(Way("host", "none", "none", {}), chunk)
    assert [hot.key for hot in found.hottest] == ["a", "b"]
    assert sum(hot.share for hot in found.hottest) == pytest.approx(1)


@given(
    st.dictionaries(st.integers(0, 65535), st.integers(1, 1000), min_size=1),
    st.integers(0, 1000),
    st.integers(1, 64),
)
def test_a_share_is_between_even_and_all(places: dict[int, int], even: int, n_shards: int) -> None:
    loads = {place: Load(n, 10 * n) for place, n in places.items()}
    spread = Spread(loads, Load(even, 10 * even))
    for share in spread.fullest(n_shards):
        assert 1 / n_shards - 1e-9 <= share <= 1 + 1e-9


def test_shards_are_enough_for_bytes_and_entries() -> None:
    plain = cost(measured(WAYS[0]), 10e6, Prices())
    assert plain.shards is not None
    assert plain.n_bytes / plain.shards <= 1e6
    assert plain.entries / plain.shards <= 1000
    assert max(plain.n_bytes / 1e6, plain.entries / 1000) > plain.shards - 1


def test_a_key_that_is_too_hot_for_any_number_of_shards() -> None:
    chunk = chunk_of([{"host": "a", "text": "x" * 100}] * 100)
    found = cost(measured(Way("host", "none", "none", {}), chunk), 10e6, Prices(1, 1))
    assert found.shards is None
    assert found.provisioned is None


def test_money() -> None:
    found = cost(measured(WAYS[0]), 1e6, Prices(put_units=0.02, shard_hour=0.01, gb=0.1))
    assert found.shards is not None
    month = 730 * 3600
    expected = found.put_units * month / 1e6 * 0.02 + found.shards * 730 * 0.01
    assert found.provisioned == pytest.approx(expected)
    assert found.on_demand == pytest.approx(found.billed_bytes * month / 1e9 * 0.1)
    assert found.money == min(found.provisioned or inf, found.on_demand or inf)
    assert cost(found.measured, 1e6, Prices()).money is None


def test_the_best_keeps_the_key() -> None:
    costs = [cost(measured(way), 5e6, Prices()) for way in WAYS]
    for key in ("", "host"):
        assert best(costs, key).measured.way.key == key
        assert best(costs, key, is_plain=True).measured.way == Way(key, "none", "none", {})
        shards = [c.shards or inf for c in costs if c.measured.way.key == key]
        assert (best(costs, key).shards or inf) == min(shards)


def test_keys_that_suggest_themselves() -> None:
    records = [
        {
            "id": f"{n}",
            "level": "info",
            "host": f"h{n % 10}",
            "meta": {"pod": f"p{n % 40}", "same": f"q{n % 40}"},
            "sometimes": f"s{n % 9}" if n % 2 else None,
            "a->b": f"x{n % 20}",
        }
        for n in range(400)
    ]
    assert suggested_keys([chunk_of(records)]) == ["meta->pod", "host"]
    assert suggested_keys([b"\xc1", chunk_of([])]) == []
