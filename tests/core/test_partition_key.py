"""Partition keys: from the record, or random."""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

import pytest
import wire
from chunks import chunk_of, event, output_config
from encoded import assert_as_oracle, drain

from kinesis_fast import RecordEncoder

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
RANDOM_KEY = re.compile("[a-zA-Z0-9]{8}")
NAN = float("nan")


def keys_of(chunk: bytes, partition_key: str, **options: str) -> list[str]:
    config = output_config(options, partition_key=partition_key)
    return [entry.partition_key for entry in drain(chunk, config).entries]


def random_keys(encoder: RecordEncoder, chunk: bytes) -> list[str]:
    return [record.partition_key for record in encoder.records(chunk)]


# --- from the record ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("text", "text"),
        (b"bin", "bin"),
        ("é世🚀", "é世🚀"),
        ('q"\\\n\x00', 'q"\\\n\x00'),
        (b"bad\xff\xfe", "bad\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd" * 3),
        (0, "0"),
        (-1, "-1"),
        (2**64 - 1, "18446744073709551615"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (100.0, "100"),
        (1e21, "1e+21"),
        (-0.0, "-0"),
    ],
)
def test_values_that_yield_a_key(value: Any, key: str) -> None:
    assert keys_of(event({"a": 1, "pk": value, "b": 2}), "pk") == [key]
    assert keys_of(event({"n": {"m": {"pk": value}}}), "n->m->pk") == [key]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"PK": "x"},
        {"pk": ""},
        {"pk": b""},
        {"pk": None},
        {"pk": {}},
        {"pk": {"pk": "x"}},
        {"pk": []},
        {"pk": ["x"]},
        {"pk": NAN},
        {"pk": float("inf")},
        {"n": {"pk": "x"}},
    ],
)
def test_values_that_yield_no_key(body: Any) -> None:
    drained = drain(event(body), output_config({"partition_key": "pk"}))

    assert RANDOM_KEY.fullmatch(drained.entries[0].partition_key)
    assert drained.tally["random_keys"] == 1


def test_an_extension_yields_no_key() -> None:
    for value in (wire.ext(0, bytes(8)), wire.ext(-1, bytes(4)), wire.ext(5, b"x")):
        chunk = wire.array([b"\x01", wire.mapping([(wire.string(b"pk"), value)])])
        assert drain(chunk, output_config({"partition_key": "pk"})).tally["random_keys"] == 1


def test_a_random_key_is_counted_only_if_partition_key_is_set() -> None:
    assert drain(event({"a": 1}), output_config()).tally == {"records": 1}


@pytest.mark.parametrize("path", ["n->pk", "n->m->pk", "n->m", "x->pk", "n->n->n"])
def test_paths_that_do_not_lead_to_a_key(path: str) -> None:
    bodies: list[Any] = [{"n": "text"}, {"n": [{"pk": "x"}]}, {"n": {"m": {}}}, {"pk": "x"}]
    for body in (*bodies, {"n": None}):
        assert_as_oracle(event(body), output_config({"partition_key": path}))
        assert drain(event(body), output_config({"partition_key": path})).tally["random_keys"] == 1


def test_the_last_duplicate_counts_at_each_level() -> None:
    def pair(name: bytes, value: bytes) -> tuple[bytes, bytes]:
        return wire.string(name), value

    inner = wire.mapping([pair(b"pk", wire.string(b"1")), pair(b"pk", wire.string(b"2"))])
    other = wire.mapping([pair(b"pk", wire.string(b"3"))])

    def chunk(*pairs: tuple[bytes, bytes]) -> bytes:
        return wire.array([b"\x01", wire.mapping(pairs)])

    assert keys_of(chunk(pair(b"n", other), pair(b"n", inner)), "n->pk") == ["2"]
    assert keys_of(chunk(pair(b"n", inner), pair(b"n", other)), "n->pk") == ["3"]
    text = pair(b"n", wire.string(b"text"))
    drained = drain(chunk(pair(b"n", inner), text), output_config({"partition_key": "n->pk"}))
    assert drained.tally["random_keys"] == 1


def test_a_bin_key_in_the_record_is_found() -> None:
    chunk = wire.array([b"\x01", wire.mapping([(wire.binary(b"pk"), wire.string(b"v"))])])

    assert keys_of(chunk, "pk") == ["v"]


def test_the_key_is_read_before_the_record_is_shaped() -> None:
    body = {"a.b": "key", "n.m": {"x.y": "deep"}, "log": "text"}

    assert keys_of(event(body), "a.b", data_keys="log") == ["key"]
    assert keys_of(event(body), "a.b", log_key="log") == ["key"]
    assert keys_of(event(body), "a.b", replace_dots="_") == ["key"]
    assert keys_of(event(body), "n.m->x.y", replace_dots="_") == ["deep"]
    drained = drain(event(body), output_config({"partition_key": "a_b", "replace_dots": "_"}))
    assert drained.tally["random_keys"] == 1


def test_the_time_as_key() -> None:
    options = {"time_key": "t", "time_key_format": "%s.%L", "partition_key": "t"}
    chunk = event({"t": "other", "a": 1}, 1_700_000_000)

    assert keys_of(chunk, **options) == ["1700000000.000"]
    assert keys_of(chunk, **options, log_key="a") == ["1700000000.000"]
    path = output_config(options, partition_key="t->x")
    assert drain(event({"t": {"x": "y"}}), path).tally["random_keys"] == 1


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 256),
        ("é" * 300, "é" * 256),
        ("世" * 300, "世" * 256),
        ("🚀" * 200, "🚀" * 128),
        ("x" + "🚀" * 200, "x" + "🚀" * 127),
        ("x" * 255 + "🚀", "x" * 255),
        ("x" * 254 + "🚀x", "x" * 254 + "🚀"),
        (b"\xff" * 300, "\ufffd" * 256),
        ("x" * 255 + "é" + "y", "x" * 255 + "é"),
        (b"x" * 255 + b"\xe6\x97", "x" * 255 + "\ufffd"),
        ("\x00" * 256, "\x00" * 256),
        ("世" * 256, "世" * 256),
    ],
)
def test_keys_are_cut_at_256_utf16_units(text: Any, key: str) -> None:
    chunk = event({"pk": text})
    (request,) = RecordEncoder(output_config({"partition_key": "pk"})).requests(chunk)
    data = len(drain(chunk, output_config()).entries[0].data)

    assert keys_of(chunk, "pk") == [key]
    assert request.n_bytes == request.n_bytes_of(0) == data + len(key.encode())


# --- random -------------------------------------------------------------------------------------


def test_random_keys_are_spread_over_the_whole_alphabet() -> None:
    n_keys = 31_000
    keys = random_keys(RecordEncoder(output_config()), event({}) * n_keys)
    expected = n_keys / len(ALPHABET)

    assert all(RANDOM_KEY.fullmatch(key) for key in keys)
    assert len(set(keys)) == n_keys
    for place in range(8):
        counts = Counter(key[place] for key in keys)
        # With 61 degrees of freedom, a sum above 150 has a probability below 1e-8.
        assert sum((counts[char] - expected) ** 2 / expected for char in ALPHABET) < 150
    pairs = Counter(key[3:5] for key in keys)
    assert len(pairs) > 0.99 * len(ALPHABET) ** 2


def test_no_two_streams_have_the_same_keys() -> None:
    chunk = event({}) * 500
    encoder = RecordEncoder(output_config())

    keys = [key for _ in range(50) for key in random_keys(encoder, chunk)]
    keys += [key for _ in range(50) for key in random_keys(RecordEncoder(output_config()), chunk)]

    assert len(set(keys)) == len(keys) == 50_000


def test_a_forked_child_has_other_keys() -> None:
    chunk = event({}) * 500
    encoder = RecordEncoder(output_config())
    random_keys(encoder, chunk)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child(connection: Connection) -> None:
        connection.send(random_keys(encoder, chunk))

    process = context.Process(target=child, args=(sender,))
    process.start()
    keys = receiver.recv()
    process.join(10)

    assert process.exitcode == 0
    assert len(keys) == 500
    assert not set(keys) & set(random_keys(encoder, chunk))


def test_missing_keys_are_random_one_by_one() -> None:
    chunk = chunk_of([{"pk": "a"}, {}, {"pk": "b"}, {"pk": ""}])
    drained = drain(chunk, output_config({"partition_key": "pk"}))
    keys = [entry.partition_key for entry in drained.entries]

    assert (keys[0], keys[2]) == ("a", "b")
    assert RANDOM_KEY.fullmatch(keys[1]) and RANDOM_KEY.fullmatch(keys[3]) and keys[1] != keys[3]
    assert drained.tally == {"records": 4, "random_keys": 2}
