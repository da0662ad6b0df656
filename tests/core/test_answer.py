"""The compiled check of a response, compared with json: it must never report too much success."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kinesis_fast._core.answer import all_accepted


def number(index: int) -> str:
    return f"4961{index:052d}"


def response(n_records: int, **more: Any) -> dict[str, Any]:
    entries = [
        {"SequenceNumber": number(i), "ShardId": f"shardId-{i:012d}"} for i in range(n_records)
    ]
    return {"FailedRecordCount": 0, "Records": entries, **more}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def accepted_by_json(body: bytes, n_records: int) -> bool:
    """Parse a response; reject duplicate names, which JSON parsers treat differently."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(set(names)) == len(names)
        return dict(pairs)

    try:
        said = json.loads(body, object_pairs_hook=once)
        entries = said["Records"]
        assert said["FailedRecordCount"] == 0
        assert len(entries) == n_records
        assert all(isinstance(e["SequenceNumber"], str) and e["SequenceNumber"] for e in entries)
        assert not any(e.get("ErrorCode") for e in entries)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
        return False
    return True


def test_the_usual_responses_are_recognised() -> None:
    for n_records in (1, 2, 3, 499, 500):
        for more in ({}, {"EncryptionType": "KMS"}):
            body = compact(response(n_records, **more))
            assert all_accepted(body, n_records)
            assert not all_accepted(body, n_records - 1)
            assert not all_accepted(body, n_records + 1)


def test_any_order_of_the_members() -> None:
    said = response(2, EncryptionType="NONE")
    for names in (("EncryptionType", "Records", "FailedRecordCount"), sorted(said), said):
        assert all_accepted(compact({name: said[name] for name in names}), 2)
    entry = {"ShardId": "shardId-0", "SequenceNumber": "1"}
    assert all_accepted(compact({"Records": [entry], "FailedRecordCount": 0}), 1)
    assert all_accepted(b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"}]}', 1)


def test_unusual_responses_are_left_to_json() -> None:
    for body in (
        b"",
        b"{",
        b"{}",
        b'{"FailedRecordCount":0,"Records":[]}',
        b'{"FailedRecordCount":0,"Records":[{}]}',
        b'{"FailedRecordCount":0,"Records":[{"ShardId":"s"}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":""}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","SequenceNumber":"2"}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ErrorCode":"X"}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"},]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1",}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1\xff"}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1\n"}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"\\q"}]}',
        b'{"FailedRecordCount":00,"Records":[{"SequenceNumber":"1"}]}',
        b'{"FailedRecordCount":0.5,"Records":[{"SequenceNumber":"1"}]}',
        b'{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1"}]}',
        b'{"Records":[{"SequenceNumber":"1"}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"}],"Records":[]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"}]}}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"}],}',
        b'{"Records":[{"SequenceNumber":"1"},"FailedRecordCount":0,'
        b'"Records":[{"SequenceNumber":"1"}]}',
    ):
        for n_records in (-1, 0, 1, 2):
            assert not all_accepted(body, n_records), (body, n_records)


def test_every_truncation() -> None:
    body = compact(response(3, EncryptionType="KMS"))
    for end in range(len(body)):
        assert not all_accepted(body[:end], 3)


pieces = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"0", b"1", b" ", b"\x00", b"\x80", b"\x7f"),
    *(b'"SequenceNumber":"', b'"ShardId":"', b'"Records":[', b'"FailedRecordCount":0'),
    *(b'"ErrorCode":"X"', b'"EncryptionType":"KMS"', b'{"SequenceNumber":"1"}', b"null"),
]
edits = st.tuples(st.integers(0, 400), st.integers(0, 40), st.sampled_from([b"", *pieces]))


@given(st.integers(1, 4), st.lists(edits, min_size=1, max_size=4), st.integers(0, 5))
@example(1, [(0, 0, b"")], 1)
def test_mutations_are_never_reported_as_accepted_unless_they_are(
    n_records: int, changes: list[tuple[int, int, bytes]], n_asked: int
) -> None:
    body = compact(response(n_records))
    for at, n_removed, piece in changes:
        start = at % (len(body) + 1)
        body = body[:start] + piece + body[start + n_removed :]
    for n in (n_records, n_asked):
        if all_accepted(body, n):
            assert accepted_by_json(body, n)


texts = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF), max_size=40)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_only_plain_text_is_recognised(values: list[tuple[str, str]]) -> None:
    """Texts are long and short, with characters that need an escape anywhere in them."""
    entries = [{"SequenceNumber": a, "ShardId": b} for a, b in values]
    said = {"FailedRecordCount": 0, "Records": entries}
    for ascii_only in (True, False):
        text = json.dumps(said, separators=(",", ":"), ensure_ascii=ascii_only)
        body = text.encode("utf-8", "surrogatepass")
        plain = all(
            value and all(" " <= c < "\x7f" and c not in '"\\' for c in value)
            for pair in values
            for value in pair
        )
        assert all_accepted(body, len(values)) == plain
