"""Responses in CBOR, compared with cbor2: never too much success, and nothing but valid CBOR."""

from __future__ import annotations

import math
import struct
from typing import Any

import cbor2
import pytest
from cbor_service import cbor_answer
from hypothesis import example, given
from hypothesis import strategies as st

from kinesis_fast._core.cbor_answer import all_accepted_cbor, decode_cbor

NUMBER = "49680637523601025539952625280167129581428284277049524226"
ENTRY = {"SequenceNumber": NUMBER, "ShardId": "shardId-000000000000"}
NULLS = {"ErrorCode": None, "ErrorMessage": None}
BREAK = b"\xff"


def answer(entries: list[dict[str, Any]], **more: Any) -> bytes:
    return cbor2.dumps({"FailedRecordCount": 0, "Records": entries, **more})


def indefinite(value: Any) -> bytes:
    """Write maps and arrays as the service's own library does."""
    if isinstance(value, dict):
        pairs = (cbor2.dumps(key) + indefinite(item) for key, item in value.items())
        return b"\xbf" + b"".join(pairs) + BREAK
    if isinstance(value, list):
        return b"\x9f" + b"".join(map(indefinite, value)) + BREAK
    return cbor2.dumps(value)


# --- the usual response -------------------------------------------------------------------------


@pytest.mark.parametrize("n_records", [1, 2, 23, 24, 255, 256, 500])
@pytest.mark.parametrize("write", [cbor2.dumps, indefinite])
def test_the_usual_responses_are_recognised(n_records: int, write: Any) -> None:
    for entry in (ENTRY, {**NULLS, **ENTRY}, {"SequenceNumber": "1"}):
        for more in ({}, {"EncryptionType": "KMS"}, {"EncryptionType": None}):
            said = {"FailedRecordCount": 0, "Records": [entry] * n_records, **more}
            for ordered in (said, dict(reversed(said.items()))):
                body = write(ordered)
                assert all_accepted_cbor(body, n_records)
                assert not all_accepted_cbor(body, n_records - 1)
                assert not all_accepted_cbor(body, n_records + 1)
                assert decode_cbor(body) == ordered


def test_no_other_response_is() -> None:
    two = [ENTRY, ENTRY]
    for body in (
        b"",
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"},{"SequenceNumber":"2"}]}',
        cbor2.dumps({"FailedRecordCount": 1, "Records": two}),
        cbor2.dumps({"FailedRecordCount": False, "Records": two}),
        cbor2.dumps({"FailedRecordCount": None, "Records": two}),
        cbor2.dumps({"FailedRecordCount": "0", "Records": two}),
        cbor2.dumps({"Records": two}),
        cbor2.dumps({"FailedRecordCount": 0}),
        cbor2.dumps([two]),
        answer([ENTRY, {}]),
        answer([ENTRY, {"ShardId": "s"}]),
        answer([ENTRY, {"SequenceNumber": ""}]),
        answer([ENTRY, {"SequenceNumber": 1}]),
        answer([ENTRY, {"SequenceNumber": None}]),
        answer([ENTRY, {"SequenceNumber": b"1"}]),
        answer([ENTRY, {"SequenceNumber": "1", "ErrorCode": "X"}]),
        answer([ENTRY, {"SequenceNumber": "1", "ErrorCode": ""}]),
        answer([ENTRY, {"SequenceNumber": "1", "ErrorCode": False}]),
        answer([ENTRY, {"SequenceNumber": "1", "ErrorMessage": "x"}]),
        answer([ENTRY, {"SequenceNumber": "1", "Unknown": None}]),
        answer([ENTRY, {"SequenceNumber": "1\n"}]),
        answer([ENTRY, {"SequenceNumber": "é"}]),
        answer(two) + b"\0",
        answer(two, Unknown=1),
    ):
        assert not all_accepted_cbor(body, 2), body
    assert not all_accepted_cbor(answer([]), 0)
    assert not all_accepted_cbor(answer([ENTRY]), -1)


def test_a_member_twice() -> None:
    entry = cbor2.dumps(ENTRY)
    twice = b"\xa2nSequenceNumbera1nSequenceNumbera2"
    records = b"gRecords\x81"
    good = b"\xa2qFailedRecordCount\0" + records
    assert all_accepted_cbor(good + entry, 1)
    for body in (
        good + twice,
        good + b"\xa3nSequenceNumbera1gShardIdasgShardIdas",
        good + b"\xa3nSequenceNumbera1iErrorCode\xf6iErrorCode\xf6",
        b"\xa3qFailedRecordCount\0qFailedRecordCount\0" + records + entry,
        b"\xa3qFailedRecordCount\0" + records + entry + records + entry,
    ):
        assert not all_accepted_cbor(body, 1), body
        with pytest.raises(ValueError, match="twice"):
            decode_cbor(body)


@pytest.mark.parametrize("write", [cbor2.dumps, indefinite])
def test_every_truncation(write: Any) -> None:
    body = write({"FailedRecordCount": 0, "Records": [ENTRY, {**NULLS, **ENTRY}], "E": [1.5, -1]})
    assert decode_cbor(body)
    for end in range(len(body)):
        assert not all_accepted_cbor(body[:end], 2)
        with pytest.raises(ValueError):
            decode_cbor(body[:end])


# --- any other one ------------------------------------------------------------------------------


def test_a_response_with_failures() -> None:
    body = cbor_answer([None, "InternalFailure"]).body
    assert decode_cbor(body) == cbor2.loads(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\x00", 0),
        (b"\x17", 23),
        (b"\x18\x18", 24),
        (b"\x18\x00", 0),
        (b"\x1b" + b"\xff" * 8, 2**64 - 1),
        (b"\x20", -1),
        (b"\x3b" + b"\xff" * 8, -(2**64)),
        (b"\x43abc", b"abc"),
        (b"\x5f\x41a\x40\x42bc\xff", b"abc"),
        (b"\x7f\x61a\x62bc\xff", "abc"),
        (b"\x63abc", "abc"),
        (b"\xf4", False),
        (b"\xf5", True),
        (b"\xf6", None),
        (b"\x99\x00\x01\x01", [1]),
        (b"\x9f\xff", []),
        (b"\xbf\xff", {}),
        (b"\xbf\x7f\x61a\xff\x01\xff", {"a": 1}),
        (b"\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x00", 1700000000000),
        (b"\xd9\xd9\xf7\x01", 1),
        (b"\xf9\x3c\x00", 1.0),
        (b"\xf9\x00\x01", 2.0**-24),
        (b"\xf9\xfc\x00", -math.inf),
        (b"\xfa\x40\x49\x0f\xdb", struct.unpack(">f", b"\x40\x49\x0f\xdb")[0]),
        (b"\xfb" + struct.pack(">d", 0.1), 0.1),
    ],
)
def test_values(body: bytes, value: Any) -> None:
    found = decode_cbor(body)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(decode_cbor(b"\xf9\x7e\x00"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\x1c",
        b"\x1f",
        b"\x3f",
        b"\xdf",
        b"\x7c",
        b"\x61",
        b"\x61\xff",
        b"\x7f\x61a",
        b"\x7f\x41a\xff",
        b"\x5f\x61a\xff",
        b"\x7f\x7f\x61a\xff\xff",
        b"\x7f\x61\xc3\x61\xbc\xff",
        b"\x62\xed\xa0",
        b"\x63\xed\xa0\x80",
        b"\x82\x01",
        b"\x81\xff",
        b"\xa1\x61a",
        b"\xa1\x01\x02",
        b"\xa1\x41a\x02",
        b"\xa1\xff\x02",
        b"\xbf\x61a\xff",
        b"\xbf\x61a\x01\x61a\x01\xff",
        b"\xf7",
        b"\xe0",
        b"\xf8\x14",
        b"\xf8\xff",
        b"\x01\x01",
        b"<html>",
        b"{}",
    ],
)
def test_what_is_not_valid_is_rejected(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode_cbor(body)
    assert not all_accepted_cbor(body, 1)


@pytest.mark.parametrize("major", [0x40, 0x60, 0x80, 0xA0])
@pytest.mark.parametrize("n", [2**64 - 1, 2**63, 2**32, 2**31, 1000])
def test_huge_lengths_cost_nothing(major: int, n: int) -> None:
    head = bytes([major | 27]) + n.to_bytes(8)
    for body in (
        head,
        head + b"\x61a" * 20,
        b"\xa1gRecords" + head + b"\x01" * 20,
        b"\xa2qFailedRecordCount\0gRecords" + head + cbor2.dumps(ENTRY),
        b"\xa2qFailedRecordCount\0gRecords\x81\xa1nSequenceNumber" + head + b"1" * 20,
    ):
        assert not all_accepted_cbor(body, 1)
        with pytest.raises(ValueError):
            decode_cbor(body)


@pytest.mark.parametrize("opening", [b"\x81", b"\x9f", b"\xa1aa", b"\xbfaa", b"\xc1", b"\xd8\x20"])
def test_deep_nesting(opening: bytes) -> None:
    closing = BREAK if opening[0] in (0x9F, 0xBF) else b""
    assert decode_cbor(opening * 20 + b"\x01" + closing * 20) is not None
    for depth in (33, 1000, 200_000):
        with pytest.raises(ValueError, match="too deeply"):
            decode_cbor(opening * depth + b"\x01" + closing * depth)
        assert not all_accepted_cbor(opening * depth, 1)


# --- mutations ----------------------------------------------------------------------------------

pieces = [
    *(b"\xff", b"\xbf", b"\x9f", b"\x7f", b"\x5f", b"\xf6", b"\xf7", b"\0", b"\x1b", b"\x60"),
    *(b"\xa1", b"\xa2", b"\xa4", b"\x81", b"\x82", b"x8", b"nSequenceNumber", b"gShardId"),
    *(b"iErrorCode", b"iErrorCode\xf6", b"lErrorMessage\xf6", b"gRecords", b"qFailedRecordCount"),
    *(b"nSequenceNumbera1", b"nEncryptionType", b"\xc1", b"\xfb"),
]
edits = st.tuples(st.integers(0, 500), st.integers(0, 40), st.sampled_from([b"", *pieces]))


def accepted_by_cbor2(body: bytes, n_records: int) -> bool:
    try:
        said = cbor2.loads(body)
        entries = said["Records"]
        assert said["FailedRecordCount"] == 0
        assert len(entries) == n_records
        assert all(isinstance(e["SequenceNumber"], str) and e["SequenceNumber"] for e in entries)
        assert not any(e.get("ErrorCode") for e in entries)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, EOFError):
        return False
    return True


@given(
    st.integers(1, 4),
    st.lists(edits, min_size=1, max_size=4),
    st.integers(0, 5),
    st.sampled_from([cbor2.dumps, indefinite]),
)
@example(1, [(0, 0, b"")], 1, cbor2.dumps)
def test_mutations(
    n_records: int, changes: list[tuple[int, int, bytes]], n_asked: int, write: Any
) -> None:
    entries = [{**NULLS, **ENTRY}, ENTRY, ENTRY, {**ENTRY, **NULLS}][:n_records]
    body = write({"FailedRecordCount": 0, "EncryptionType": "NONE", "Records": entries})
    for at, n_removed, piece in changes:
        start = at % (len(body) + 1)
        body = body[:start] + piece + body[start + n_removed :]
    for n in (n_records, n_asked):
        if all_accepted_cbor(body, n):
            assert accepted_by_cbor2(body, n)
            assert len(decode_cbor(body)["Records"]) == n


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
items = st.recursive(scalars, lambda s: st.lists(s) | st.dictionaries(st.text(), s), max_leaves=20)


@given(items, st.sampled_from([cbor2.dumps, indefinite]))
def test_what_cbor2_writes(value: Any, write: Any) -> None:
    assert decode_cbor(write(value)) == value


@given(st.binary(max_size=40))
def test_any_bytes(body: bytes) -> None:
    """What is accepted is read as cbor2 reads it."""
    try:
        found = decode_cbor(body)
    except ValueError:
        return
    assert not all_accepted_cbor(body, 1)
    if any(0xC0 <= byte < 0xE0 for byte in body):
        return  # perhaps a tag, which cbor2 turns into an object
    theirs = cbor2.loads(body)
    assert found == theirs or repr(found) == repr(theirs)
