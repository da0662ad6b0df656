"""KCL's rule: the test tool and `kinesis_fast.reading.kcl` agree with KCL itself.

tests/data/kcl/kept.jsonl holds entries, the hash range of their shard, and the records that
AggregatorUtil of amazon-kinesis-client 3.5.1 (commit 024eb86, compiled and run with protobuf
3.21) has returned for them: 150 at random, then what is damaged or unusual.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import kcl
import pytest
from kpl_aggregates import aggregate

from kinesis_fast.reading.kcl import HashRange, first_outside, hash_key
from kinesis_fast.reading.kpl import SubRecord, de_aggregate

FILE = Path(__file__).resolve().parents[1] / "data" / "kcl" / "kept.jsonl"
CASES: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text().splitlines()]
HALF = 2**127
LOWER, UPPER = HashRange(0, HALF - 1), HashRange(HALF, 2**128 - 1)


def recorded(case: dict[str, Any]) -> list[kcl.UserRecord]:
    """Return what KCL has returned."""
    return [
        kcl.UserRecord(
            record["partition_key"],
            record["explicit_hash_key"],
            base64.b64decode(record["data"]),
            record["sub"],
            record["aggregated"],
        )
        for record in case["kept"]
    ]


def test_the_tool_keeps_what_kcl_has_kept() -> None:
    for case in CASES:
        entry = kcl.Entry("shard", "outer", base64.b64decode(case["data"]))
        shard = (int(case["first"]), int(case["last"]))
        assert kcl.survivors([entry], {"shard": shard}) == recorded(case), case
    assert sum(not case["kept"] for case in CASES) > 20
    assert sum(case["kept"] != [] and case["kept"][0]["aggregated"] for case in CASES) > 50


def test_the_command_says_what_kcl_has_dropped() -> None:
    n_unlike = 0
    for case in CASES:
        data = base64.b64decode(case["data"])
        records = de_aggregate(data)
        kept = recorded(case)
        if records is None:
            # What KCL cannot use, but for an index outside a table: KCL stops there.
            n_unlike += kept != [kcl.UserRecord("outer", None, data)]
            continue
        shard = HashRange(int(case["first"]), int(case["last"]))
        ours = [] if first_outside(records, shard) is not None else records
        assert [(one.partition_key, one.explicit_hash_key, one.data) for one in kept] == ours
    assert n_unlike == 4  # two indexes of keys, one of a hash key, a group


def test_one_record_outside_drops_the_whole_aggregate() -> None:
    inside, outside = SubRecord("k", "5", b"in"), SubRecord("k", str(HALF), b"out")
    for records in ([inside, outside], [outside, inside], [inside, inside, outside]):
        assert first_outside(records, LOWER) == records.index(outside)
        assert kcl.kept(kcl.Entry("s", "k", aggregate(records)), LOWER) == []
    assert first_outside([inside] * 2, LOWER) is None
    assert first_outside([], LOWER) is None


def test_the_explicit_hash_key_decides_if_there_is_one() -> None:
    # MD5 of "a" is 0cc1..., of "b" 92eb...
    assert hash_key(SubRecord("a", None, b"")) == 0x0CC175B9C0F1B6A831C399E269772661
    assert first_outside([SubRecord("b", None, b"")], LOWER) == 0
    assert first_outside([SubRecord("b", None, b"")], UPPER) is None
    assert first_outside([SubRecord("b", "0", b"")], LOWER) is None
    assert first_outside([SubRecord("a", str(HALF), b"")], LOWER) == 0


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "abc", "\u0661", "1" * 5000, " 1"])
def test_a_hash_key_that_is_not_a_number_is_outside(text: str) -> None:
    assert hash_key(SubRecord("k", text, b"")) is None
    assert first_outside([SubRecord("k", text, b"")], HashRange(0, 2**128 - 1)) == 0


def test_both_ends_of_a_range_belong_to_it() -> None:
    for key in (0, 1, HALF - 1):
        assert first_outside([SubRecord("k", str(key), b"")], LOWER) is None
    assert first_outside([SubRecord("k", str(HALF), b"")], LOWER) == 0
    assert first_outside([SubRecord("k", str(HALF - 1), b"")], UPPER) == 0


def test_kcl_keeps_everything_from_a_shard_that_it_does_not_know() -> None:
    outside = kcl.Entry("unknown", "k", aggregate([SubRecord("k", str(HALF), b"x")] * 2))
    assert len(kcl.survivors([outside], {"shard": (LOWER.first, LOWER.last)})) == 2


def test_ranges_of_list_shards() -> None:
    described = {"StartingHashKey": "0", "EndingHashKey": "9"}
    assert kcl.ranges_of([{"ShardId": "s", "HashKeyRange": described}]) == {"s": (0, 9)}
