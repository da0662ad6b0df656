"""Aggregates of the KPL format are read as other readers read them; anything else is one record."""

from __future__ import annotations

import base64
import json
import subprocess

import node
import pytest
from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from hypothesis import given, settings
from hypothesis import strategies as st
from kpl_aggregates import aggregate, sealed

from kinesis_fast.reading.kpl import MAGIC, SubRecord, de_aggregate

JAVASCRIPT = """
const { deaggregateSync } = require('aws-kinesis-agg')
for (const data of JSON.parse(require('fs').readFileSync(0, 'utf8'))) {
    deaggregateSync({ data, partitionKey: 'outer', sequenceNumber: '1' }, true, (error, records) =>
        console.log(JSON.stringify(error ? null : records)))
}
"""
TWO = [SubRecord("k", None, b"one"), SubRecord("j", None, b"two")]
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
hash_keys = st.integers(0, 2**128 - 1).map(str)
# Explicit hash keys on all records or on none: aws-kinesis-agg gives one without the first of all.
some_records = st.lists(
    st.builds(SubRecord, keys, hash_keys, st.binary(max_size=300)), min_size=1, max_size=20
) | st.lists(st.builds(SubRecord, keys, st.none(), st.binary(max_size=300)), max_size=20)


@given(some_records)
def test_what_was_put_in_comes_out(records: list[SubRecord]) -> None:
    if records:
        assert de_aggregate(aggregate(records)) == records


@given(some_records)
def test_aws_kinesis_agg_reads_the_same(records: list[SubRecord]) -> None:
    data = aggregate(records)
    stored = {
        "kinesis": {
            "data": base64.b64encode(data),
            "partitionKey": "outer",
            "sequenceNumber": "1",
            "approximateArrivalTimestamp": 1.0,
            "kinesisSchemaVersion": "1.0",
        }
    }
    theirs = [record["kinesis"] for record in iter_deaggregate_records([stored])]
    ours = de_aggregate(data)
    if not records:
        assert ours is None
        assert theirs == [stored["kinesis"]]
        return
    assert ours == [
        SubRecord(one["partitionKey"], one["explicitHashKey"], base64.b64decode(one["data"]))
        for one in theirs
    ]


@pytest.mark.slow
def test_the_reader_for_node_reads_the_same() -> None:
    program = node.node()
    records = [
        [SubRecord(f"k\u00e9y {i % 3}", None, b"\x00\xff%d" % i) for i in range(n)] for n in (1, 9)
    ]
    records += [[SubRecord("k", str(2**128 - 1 - i), b"%d" % i) for i in range(200)]]
    inputs = [base64.b64encode(aggregate(part)).decode() for part in records]
    done = subprocess.run(
        [program, "--eval", JAVASCRIPT],
        cwd=node.DIRECTORY,
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    for part, found in zip(records, theirs, strict=True):
        assert part == [
            SubRecord(
                one["partitionKey"],
                one.get("explicitPartitionKey"),
                base64.b64decode(one["data"]),
            )
            for one in found
        ]


@given(st.binary(max_size=100))
def test_other_data_is_one_record(data: bytes) -> None:
    assert de_aggregate(data) is None
    assert de_aggregate(MAGIC + data) is None


def test_every_byte_counts() -> None:
    data = aggregate(TWO)
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1
        assert de_aggregate(bytes(changed)) is None
        assert de_aggregate(data[:index]) is None
    assert de_aggregate(data + b"\n") is None


@given(st.binary(max_size=60))
@settings(max_examples=500)
def test_any_message_with_the_right_md5_is_read_or_is_one_record(content: bytes) -> None:
    found = de_aggregate(sealed(content))
    assert found is None or isinstance(found, list)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x0a\x01k\x1a\x03\x1a\x01d", "no partition key"),
        (b"\x0a\x01k\x1a\x02\x08\x00", "no data"),
        (b"\x0a\x01k\x1a\x05\x08\x01\x1a\x01d", "a partition key outside the table"),
        (b"\x0a\x01k\x1a\x07\x08\x00\x10\x00\x1a\x01d", "a hash key outside the table"),
        (b"\x0a\x01k\x1a\x05\x08\x00\x1a\x02d", "data longer than its record"),
        (b"\x0a\x09k", "a key longer than the message"),
        (b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01d\x80", "half a number"),
        (b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01d\x00\x01", "field 0"),
        (b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01d\x0b\x0c", "a group"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "a number of more than 64 bits"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "a number of more than 10 bytes"),
    ],
)
def test_what_does_not_fit_is_one_record(content: bytes, why: str) -> None:
    assert de_aggregate(sealed(content)) is None, why


@pytest.mark.parametrize(
    "content",
    [
        b"\x1a\x05\x08\x00\x1a\x01d\x0a\x01k",  # the table behind its records
        b"\x0a\x01k\x22\x01z\x28\x05\x31ABCDEFGH\x3dABCD\x1a\x05\x08\x00\x1a\x01d",  # other fields
        b"\x0a\x01k\x1a\x0b\x08\x00\x1a\x01d\x22\x04\x0a\x02tk",  # a tag
        b"\x0a\x01k\x1a\x06\x08\x80\x00\x1a\x01d",  # a number that is longer than needed
        b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01d\x08\x01",  # field 1 with a number
        b"\x0a\x01k\x1a\x07\x08\x05\x08\x00\x1a\x01d",  # the last of two indexes counts
    ],
)
def test_unusual_messages_are_read(content: bytes) -> None:
    assert de_aggregate(sealed(content)) == [SubRecord("k", None, b"d")]


def test_an_aggregate_within_an_aggregate_is_data() -> None:
    inner = aggregate(TWO)
    assert de_aggregate(aggregate([SubRecord("k", None, inner)])) == [SubRecord("k", None, inner)]
