"""Records above max_record_size are cut between characters and counted, and keep their newline."""

from __future__ import annotations

from typing import Any

import pytest
from chunks import event, output_config
from encoded import assert_as_oracle, drain

SUFFIX = b"[Truncated...]"
LIMIT = 1024
KEY = 8  # bytes of a random partition key


def only_entry(chunk: bytes, **options: str) -> tuple[bytes, str, dict[str, int]]:
    config = output_config(options, max_record_size=str(LIMIT))
    drained = drain(chunk, config)
    (entry,) = drained.entries
    return entry.data, entry.partition_key, dict(drained.tally)


@pytest.mark.parametrize("newline", ["true", "false"])
def test_a_record_of_exactly_the_limit_stays_whole(newline: str) -> None:
    ending = b"\n" if newline == "true" else b""
    room = LIMIT - KEY - len(b'{"a":""}') - len(ending)

    for n_bytes in (room - 1, room):
        data, _, counts = only_entry(event({"a": "x" * n_bytes}), append_newline=newline)
        assert data == b'{"a":"' + b"x" * n_bytes + b'"}' + ending
        assert counts == {"records": 1}
    for n_bytes in (room + 1, room + 2, 5000):
        data, _, counts = only_entry(event({"a": "x" * n_bytes}), append_newline=newline)
        kept = room + len(b'"}') - len(SUFFIX)
        assert data == b'{"a":"' + b"x" * kept + SUFFIX + ending
        assert len(data) + KEY == LIMIT
        assert counts == {"records": 1, "truncated": 1}


@pytest.mark.parametrize("char", ["é", "世", "🚀"])
def test_no_character_is_split(char: str) -> None:
    for shift in range(8):
        text = "x" * shift + char * 600
        data, _, counts = only_entry(event({"a": text}))
        kept = data.removesuffix(SUFFIX).decode().removeprefix('{"a":"')
        assert text.startswith(kept)
        assert 0 <= LIMIT - KEY - len(data) < len(char.encode())
        assert counts["truncated"] == 1


def test_an_escape_may_be_cut_since_the_rest_is_not_json_anyway() -> None:
    for shift in range(8):
        assert_as_oracle(
            event({"a": "x" * shift + '"\n\x00' * 600}),
            output_config({"max_record_size": str(LIMIT)}),
        )


@pytest.mark.parametrize("key", ["k", "k" * 256, "世" * 256, "🚀" * 200])
def test_the_partition_key_counts(key: str) -> None:
    chunk = event({"pk": key, "a": "x" * 2000})

    data, found, counts = only_entry(chunk, partition_key="pk", append_newline="true")

    assert found == key[: 128 if key[0] == "🚀" else 256]
    assert len(data) + len(found.encode()) == LIMIT or key[0] in "世🚀"
    assert LIMIT - 3 <= len(data) + len(found.encode()) <= LIMIT
    assert data.endswith(SUFFIX + b"\n")
    assert counts == {"records": 1, "truncated": 1}


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80" * 3000,
        b"\xff" * 3000,
        b"\xc3" * 3000,
        b"\xe4\xb8" * 1500,
        b"\xf0\x9f\x9a" * 1000,
        b"\xf0\x9f\x9a\x80\x80" * 600,
        b"\xf4\x90\x80\x80" * 800,
        b"\xed\xa0\x80" * 1000,
        b"a\xe4\xb8\x96" * 800,
        b"\xe4\xb8\x96\xbf\xbf\xbf\xbf" * 500,
    ],
)
def test_raw_log_lines_that_are_not_utf8(raw: bytes) -> None:
    for shift in range(9):
        log = b"x" * shift + raw
        data, _, counts = only_entry(event({"log": log}), log_key="log")
        kept = data.removesuffix(SUFFIX)
        assert log.startswith(kept)
        assert LIMIT - 3 <= len(data) + KEY <= LIMIT
        assert counts == {"records": 1, "truncated": 1}
        assert_as_oracle(
            event({"log": log}), output_config({"max_record_size": str(LIMIT), "log_key": "log"})
        )


def test_the_time_is_cut_with_the_rest() -> None:
    data, _, _ = only_entry(event({"a": "x" * 2000}), time_key="time")

    assert data.endswith(b"xx" + SUFFIX)


def test_the_default_limit_is_one_mebibyte() -> None:
    mebibyte = 1024 * 1024
    room = mebibyte - KEY - len(b'{"a":""}')
    chunk = event({"a": "x" * room}) + event({"a": "y" * (room + 1)})

    drained = drain(chunk, output_config())

    assert [len(entry.data) + KEY for entry in drained.entries] == [mebibyte, mebibyte]
    assert drained.entries[0].data.endswith(b'xx"}')
    assert drained.entries[1].data.endswith(b"yy" + SUFFIX)
    assert drained.tally == {"records": 2, "truncated": 1}


def test_the_highest_limit_is_ten_mebibytes() -> None:
    limit = 10 * 1024 * 1024
    room = limit - KEY - len(b'{"a":""}')
    chunk = event({"a": "x" * room}) + event({"a": "y" * (room + 1)})

    drained = drain(chunk, output_config({"max_record_size": str(limit)}))

    assert [len(entry.data) + KEY for entry in drained.entries] == [limit, limit]
    assert [len(request) for request in drained.requests] == [1, 1]
    assert drained.tally == {"records": 2, "truncated": 1}


@pytest.mark.parametrize("body", [{"a": [1.5] * 4000}, {"a": {"b": ["é"] * 3000}}, {"a" * 3000: 1}])
def test_other_values_and_keys_are_cut_too(body: Any) -> None:
    config = output_config({"max_record_size": str(LIMIT), "append_newline": "true"})

    events = assert_as_oracle(event(body), config)

    assert events[0].truncated


def test_cut_records_are_counted_next_to_whole_ones() -> None:
    chunk = b"".join(event({"a": "x" * n_bytes}) for n_bytes in range(900, 1100))
    config = output_config({"max_record_size": str(LIMIT)})

    events = assert_as_oracle(chunk, config)

    assert 0 < sum(event.truncated for event in events) < 200
