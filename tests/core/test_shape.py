"""data_keys, log_key, replace_dots, time_key and append_newline, alone and together."""

from __future__ import annotations

from typing import Any

import pytest
import wire
from chunks import event, output_config
from encoded import data_of, drain

MOMENT = 1_700_000_000
TIME = {"time_key": "time", "time_key_format": "%s"}


def one(body: Any, **options: str) -> bytes:
    (data,) = data_of(event(body, MOMENT), **options)
    return data


def in_map(*pairs: tuple[bytes, bytes]) -> bytes:
    return wire.array([b"\x01", wire.mapping(pairs)])


def pair(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return wire.string(name), value


DUPLICATES = in_map(pair(b"a", b"\x01"), pair(b"b", b"\x02"), pair(b"a", b"\x03"))


def test_keys_stay_in_the_order_of_the_record_duplicates_included() -> None:
    assert one({"z": 1, "a": {"y": 2, "b": 3}, "": 4}) == b'{"z":1,"a":{"y":2,"b":3},"":4}'
    assert data_of(DUPLICATES) == [b'{"a":1,"b":2,"a":3}']


# --- append_newline -----------------------------------------------------------------------------


def test_append_newline() -> None:
    assert one({"a": 1}, append_newline="true") == b'{"a":1}\n'
    assert one({}, append_newline="true") == b"{}\n"
    assert one({"log": "x\n"}, append_newline="true", log_key="log") == b"x\n\n"
    assert one({"a": 1}, append_newline="false") == b'{"a":1}'


# --- data_keys ----------------------------------------------------------------------------------


def test_data_keys_keep_what_they_name_at_the_top_level() -> None:
    body = {"a": 1, "b": {"a": 2, "c": 3}, "A": 4, " b": 5, "aa": 6}

    assert one(body, data_keys="a") == b'{"a":1}'
    assert one(body, data_keys="b,a") == b'{"a":1,"b":{"a":2,"c":3}}'
    assert one(body, data_keys=" a , b ") == b'{"a":1,"b":{"a":2,"c":3}}'
    assert one(body, data_keys="x") == b"{}"
    assert one({}, data_keys="x") == b"{}"


def test_data_keys_match_bin_keys_and_drop_all_others() -> None:
    chunk = in_map(
        (wire.binary(b"a"), b"\x01"),
        (b"\x07", b"\x02"),
        (wire.NIL, b"\x03"),
        (wire.TRUE, b"\x04"),
        (wire.float64(1.5), b"\x05"),
        (wire.ext(-1, bytes(4)), b"\x06"),
        (wire.array([b"\x01"]), b"\x07"),
        pair(b"b", b"\x08"),
    )

    assert data_of(chunk, data_keys="a,7,null,true,1.5,b") == [b'{"a":1,"b":8}']


def test_data_keys_keep_every_duplicate() -> None:
    assert data_of(DUPLICATES, data_keys="a") == [b'{"a":1,"a":3}']


def test_many_data_keys() -> None:
    names = [f"key_{i}" for i in range(300)]
    body = {name: i for i, name in enumerate(names)}

    assert one(body, data_keys=",".join(names)) == one(body)
    assert one(body, data_keys=",".join(names[::-3])).count(b":") == 100


def test_dropped_values_are_not_checked() -> None:
    deep = b"\x91" * 200 + wire.NIL
    bad_key = wire.mapping([(wire.array([]), b"\x01")])
    chunk = in_map(pair(b"deep", deep), pair(b"a", b"\x01"), pair(b"bad", bad_key))

    assert data_of(chunk, data_keys="a") == [b'{"a":1}']
    assert data_of(chunk, log_key="a") == [b"1"]
    assert drain(chunk, output_config({"data_keys": "deep"})).tally == {"skipped_too_deep": 1}
    assert drain(chunk, output_config({"log_key": "bad"})).tally == {"skipped_bad_key": 1}


# --- log_key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("text", b"text"),
        ('q"\\\n<>&\u2028', 'q"\\\n<>&\u2028'.encode()),
        (b"raw \xff bytes", b"raw \xff bytes"),
        ("", b""),
        (42, b"42"),
        (-1, b"-1"),
        (1e21, b"1e+21"),
        (float("nan"), b"null"),
        (None, b"null"),
        (True, b"true"),
        ({"b": 1, "a": "<x>", "f": 1.0}, b'{"b":1,"a":"<x>","f":1}'),
        ([1, "two", {"z": None}], b'[1,"two",{"z":null}]'),
        ({}, b"{}"),
        ([], b"[]"),
    ],
)
def test_log_key_sends_only_its_value(value: Any, data: bytes) -> None:
    assert one({"a": 1, "log": value, "b": {"log": 2}}, log_key="log") == data


def test_log_key_of_every_header_width() -> None:
    for n_bytes in (0, 31, 32, 255, 256, 65535, 65536):
        for form in (wire.string(b"x" * n_bytes), wire.binary(b"x" * n_bytes)):
            assert data_of(in_map(pair(b"log", form)), log_key="log") == [b"x" * n_bytes]
    extension = in_map(pair(b"log", wire.ext(5, b"abc")), pair(b"x", b"\x01"))
    assert data_of(extension, log_key="log") == [b'{"type":5,"data":"YWJj"}']
    moment = in_map(pair(b"log", wire.ext(-1, bytes(4))), pair(b"x", b"\x01"))
    assert data_of(moment, log_key="log") == [b'"1970-01-01T00:00:00Z"']


def test_a_record_without_log_key_is_skipped() -> None:
    chunk = event({"a": 1}) + event({"b": {"log": "inner"}}) + event({}) + event({"log": "x"})

    drained = drain(chunk, output_config({"log_key": "log"}))

    assert [(entry.event, entry.data) for entry in drained.entries] == [(3, b"x")]
    assert drained.tally == {"records": 1, "skipped_no_log_key": 3}


def test_the_last_duplicate_of_log_key_counts() -> None:
    assert data_of(DUPLICATES, log_key="a") == [b"3"]
    deep_first = in_map(pair(b"a", b"\x91" * 200 + wire.NIL), pair(b"a", b"\x01"))
    assert data_of(deep_first, log_key="a") == [b"1"]


def test_log_key_that_data_keys_drop() -> None:
    body = {"log": "x", "a": 1}

    assert one(body, log_key="log", data_keys="a,log") == b"x"
    drained = drain(event(body), output_config({"log_key": "log", "data_keys": "a"}))
    assert drained.tally == {"skipped_no_log_key": 1}


# --- replace_dots -------------------------------------------------------------------------------


def test_replace_dots_in_the_keys_of_all_maps() -> None:
    body = {"a.b": {"c.d": [{"e.f.g": "v.w"}, [{".": 1}]]}, "plain": 1.5}

    assert one(body, replace_dots="-") == b'{"a-b":{"c-d":[{"e-f-g":"v.w"},[{"-":1}]]},"plain":1.5}'
    assert one({"...": 1}, replace_dots="_") == b'{"___":1}'
    assert one({".a.": 1}, replace_dots="::") == b'{"::a::":1}'
    assert one({"a.b": 1}, replace_dots='é"\\') == '{"aé\\"\\\\b":1}'.encode()
    assert one({"a.b": 1}, replace_dots=".") == b'{"a.b":1}'
    assert one({"a.b" * 100: 1}, replace_dots="_") == b'{"' + b"a_b" * 100 + b'":1}'


def test_replace_dots_writes_both_keys_of_a_collision() -> None:
    assert one({"a.b": 1, "a-b": 2}, replace_dots="-") == b'{"a-b":1,"a-b":2}'


def test_replace_dots_changes_only_strings() -> None:
    chunk = in_map(
        (wire.binary(b"a.b"), b"\x01"),
        (wire.float64(1.5), b"\x02"),
        (wire.ext(-1, bytes.fromhex("77359400 6553f100")), b"\x03"),
        (wire.string(b"\xff.\xe6\x97."), b"\x04"),
    )

    assert data_of(chunk, replace_dots="-") == [
        '{"a-b":1,"1.5":2,"2023-11-14T22:13:20.5Z":3,"\ufffd-\ufffd\ufffd-":4}'.encode()
    ]


def test_data_keys_are_matched_before_replace_dots_and_log_key_after() -> None:
    body = {"a.b": "x", "a_b": "y", "c": 1}

    assert one(body, replace_dots="_", data_keys="a.b") == b'{"a_b":"x"}'
    assert one(body, replace_dots="_", data_keys="a_b") == b'{"a_b":"y"}'
    assert one(body, replace_dots="_", log_key="a_b") == b"y"
    assert one({"a_b": "y", "a.b": "x"}, replace_dots="_", log_key="a_b") == b"x"
    drained = drain(event(body), output_config({"replace_dots": "_", "log_key": "a.b"}))
    assert drained.tally == {"skipped_no_log_key": 1}


@pytest.mark.parametrize(
    ("key", "dot", "log_key"),
    [
        ("a.b", "__", "a__b"),
        ("a.b.c", "x", "axbxc"),
        (".", "log", "log"),
        ("..", "lo", "lolo"),
        ("a.", "aa", "aaa"),
        (".a", "aa", "aaa"),
    ],
)
def test_log_key_through_replaced_dots(key: str, dot: str, log_key: str) -> None:
    assert one({key: "v"}, replace_dots=dot, log_key=log_key) == b"v"
    for near in (log_key + "x", log_key[:-1], "x" + log_key[1:], log_key + dot):
        config = output_config({"replace_dots": dot, "log_key": near or "x"})
        assert drain(event({key: "v"}), config).tally == {"skipped_no_log_key": 1}


# --- time_key -----------------------------------------------------------------------------------


def test_time_key_comes_last() -> None:
    assert one({"b": 1, "a": 2}, **TIME) == b'{"b":1,"a":2,"time":"1700000000"}'
    assert one({}, **TIME) == b'{"time":"1700000000"}'


def test_time_key_replaces_the_field_of_the_record() -> None:
    assert one({"time": "old", "a": {"time": 1}}, **TIME) == b'{"a":{"time":1},"time":"1700000000"}'
    chunk = in_map(
        pair(b"time", b"\x01"), (wire.binary(b"time"), b"\x02"), pair(b"a", b"\x03"),
        pair(b"time", b"\x91" * 200 + wire.NIL),
    )  # fmt: skip
    assert data_of(chunk, **TIME) == [b'{"a":3,"time":"1"}']


def test_time_key_is_sent_whatever_data_keys_say() -> None:
    assert one({"a": 1, "b": 2}, **TIME, data_keys="a") == b'{"a":1,"time":"1700000000"}'
    assert one({"b": 2}, **TIME, data_keys="a,time") == b'{"time":"1700000000"}'


def test_time_key_as_log_key() -> None:
    assert one({"a": 1}, **TIME, log_key="time") == b"1700000000"
    assert one({"time": "old"}, **TIME, log_key="time", append_newline="true") == b"1700000000\n"
    assert one({"a": 1}, **TIME, log_key="time", data_keys="a") == b"1700000000"
    assert one({"a": "x"}, **TIME, log_key="a") == b"x"
    drained = drain(event({"a": 1}), output_config({**TIME, "log_key": "b"}))
    assert drained.tally == {"skipped_no_log_key": 1}


def test_time_key_with_dots() -> None:
    options = {**TIME, "time_key": "t.m", "replace_dots": "_"}

    assert one({"t.m": 1, "t_m": 2}, **options) == b'{"t_m":2,"t_m":"1700000000"}'
    assert one({"t_m": "x"}, **options, log_key="t_m") == b"1700000000"


def test_time_key_and_format_are_escaped() -> None:
    options = {"time_key": 'é"\\', "time_key_format": 'é"\\%s'}

    assert one({}, **options) == '{"é\\"\\\\":"é\\"\\\\1700000000"}'.encode()
