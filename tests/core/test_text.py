"""Strings as JSON text: escapes, UTF-8, keys, of all lengths around the block sizes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import wire
from chunks import chunk_of, event, output_config
from encoded import assert_as_oracle, data_of, drain
from kernel_levels import ALL_LEVELS_IN_ONE, each_level
from oracle_text import text_of

pytestmark = pytest.mark.usefixtures("kernel_level")

REPLACEMENT = "\ufffd".encode()
LENGTHS = [*range(81), *range(4056, 4137)]


def one(body: Any, **options: str) -> bytes:
    (data,) = data_of(event(body), **options)
    return data


def in_map(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return wire.array([b"\x01", wire.mapping(pairs)])


def test_escapes_are_those_that_json_demands() -> None:
    controls = "".join(map(chr, range(0x20)))
    written = (
        "\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r"
        "\\u000e\\u000f\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017"
        "\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f"
    )

    assert one({"a": controls}) == f'{{"a":"{written}"}}'.encode()
    assert one({"a": '"\\/'}) == b'{"a":"\\"\\\\/"}'
    assert one({"a": "\x7f<>&'\u2028\u2029"}) == '{"a":"\x7f<>&\'\u2028\u2029"}'.encode()


def test_every_byte_alone_and_in_the_middle() -> None:
    for byte in range(256):
        raw = bytes([byte])
        for text in (raw, b"x" * 20 + raw + b"y" * 20):
            (data,) = data_of(in_map([(wire.string(b"a"), wire.string(text))]))
            assert json.loads(data) == {"a": text_of(text)}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"cut \xe6\x97", "cut \ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # a surrogate
        (b"\xed\x9f\xbf\xee\x80\x80", "\ud7ff\ue000"),  # its neighbours
        (b"\xc0\xaf\xc1\xbf", "\ufffd" * 4),  # overlong
        (b"\xe0\x9f\xbf", "\ufffd" * 3),
        (b"\xe0\xa0\x80", "\u0800"),
        (b"\xf0\x8f\xbf\xbf", "\ufffd" * 4),
        (b"\xf0\x90\x80\x80", "\U00010000"),
        (b"\xf4\x8f\xbf\xbf", "\U0010ffff"),
        (b"\xf4\x90\x80\x80", "\ufffd" * 4),  # above U+10FFFF
        (b"\xf5\x80\x80\x80", "\ufffd" * 4),
        (b"\xf0\x9f\x9ax", "\ufffd\ufffd\ufffdx"),
        (b"\x80\xbf", "\ufffd\ufffd"),
        (b"\xc3\xa9\xc3", "é\ufffd"),
        ("\ufffd\uffff\ufeff".encode(), "\ufffd\uffff\ufeff"),
    ],
)
def test_each_byte_that_is_not_utf8_becomes_a_replacement_character(raw: bytes, text: str) -> None:
    for before, after in ((0, 0), (14, 0), (15, 40), (31, 3), (0, 64)):
        padded = b"a" * before + raw + b"z" * after
        for form in (wire.string(padded), wire.binary(padded)):
            (data,) = data_of(in_map([(wire.string(b"k"), form)]))
            assert data == f'{{"k":"{"a" * before}{text}{"z" * after}"}}'.encode()


def test_all_characters() -> None:
    """All characters except the surrogates, 4096 per record."""
    characters = [chr(i) for i in range(0x20, 0x110000) if not 0xD800 <= i <= 0xDFFF]
    texts = ["".join(characters[i : i + 4096]) for i in range(0, len(characters), 4096)]

    found = data_of(chunk_of({"a": text} for text in texts))

    assert [json.loads(data)["a"] for data in found] == texts
    assert [data.decode() for data in found[1:]] == [f'{{"a":"{text}"}}' for text in texts[1:]]


@pytest.mark.heavy
@ALL_LEVELS_IN_ONE
@pytest.mark.parametrize("special", ['"', "\\", "\n", "\x00", "é", "世", "🚀", "\ufffd"])
def test_all_lengths_with_something_special_anywhere(special: str) -> None:
    """There is one record per length and position of the special character.

    In long texts it is at one in five of the last 70 positions, at other ones for the next length.
    """
    width = len(special.encode())
    for n_bytes in LENGTHS:
        n_places = n_bytes - width + 1
        places = range(n_places)
        if n_bytes > 80:
            places = range(n_places - 70 + n_bytes % 5, n_places, 5)
        texts = ["x" * i + special + "y" * (n_bytes - width - i) for i in places]
        chunk = chunk_of({"a": text} for text in texts)
        right = [dumps({"a": text}) for text in texts]
        for level in each_level():
            assert data_of(chunk) == right, (level, n_bytes)


def test_all_lengths_of_specials_only() -> None:
    for special in ('"', "\n\x00\\", "é", "🚀", 'é"'):
        texts = [(special * n_bytes)[:n_bytes] for n_bytes in range(100)]
        assert data_of(chunk_of({"a": text} for text in texts)) == [dumps({"a": t}) for t in texts]


def test_a_string_at_the_very_end_of_the_chunk() -> None:
    """The bytes after it must not matter; test_guard_page checks that they are not read."""
    for n_bytes in LENGTHS:
        text = "x" * n_bytes
        chunk = event({"a": text})
        assert data_of(chunk) == [dumps({"a": text})]
        longer = chunk + b'"\\\xff\x00' * 20
        assert [
            e.data for e in drain(memoryview(longer)[: len(chunk)], output_config()).entries
        ] == [dumps({"a": text})]


def dumps(value: Any) -> bytes:
    """Return Python's JSON of a value, which is the expected text for strings and maps."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


# --- keys and containers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (wire.string(b"plain"), "plain"),
        (wire.binary(b"bin"), "bin"),
        (wire.string(b'q"\\\n'), 'q\\"\\\\\\n'),
        (wire.string(b"k\xff"), "k\ufffd"),
        (wire.string(b""), ""),
        (wire.NIL, "null"),
        (wire.TRUE, "true"),
        (wire.FALSE, "false"),
        (b"\x01", "1"),
        (b"\xff", "-1"),
        (wire.unsigned(2**64 - 1, wire.W64), "18446744073709551615"),
        (wire.signed(-(2**63), wire.W64), "-9223372036854775808"),
        (wire.float64(1.5), "1.5"),
        (wire.float64(100.0), "100"),
        (wire.float64(-0.0), "-0"),
        (wire.float64(1e21), "1e+21"),
        (wire.float64(1e-7), "1e-07"),
        (wire.float32_bits(0x3DCCCCCD), "0.10000000149011612"),
        (wire.float64(float("nan")), "NaN"),
        (wire.float64(float("inf")), "+Inf"),
        (wire.float64(float("-inf")), "-Inf"),
        (wire.ext(0, (1_700_000_000).to_bytes(4, "big") + bytes(4)), "2023-11-14T22:13:20Z"),
        (wire.ext(-1, bytes(4), wire.FIX), "1970-01-01T00:00:00Z"),
    ],
)
def test_keys_of_every_kind(key: bytes, text: str) -> None:
    chunk = in_map([(key, b"\x01"), (b"\x02", wire.mapping([(key, wire.array([]))]))])

    drained = drain(chunk, output_config())

    assert drained.entries[0].data == f'{{"{text}":1,"2":{{"{text}":[]}}}}'.encode()
    assert drained.tally == {"records": 1}


@pytest.mark.parametrize(
    "key",
    [
        wire.array([]),
        wire.array([b"\x01"]),
        wire.mapping([]),
        wire.mapping([(b"\x01", b"\x02")]),
        wire.ext(5, b"abc"),
        wire.ext(0, bytes(7)),
        wire.ext(-1, bytes(5)),
    ],
)
def test_keys_that_json_cannot_express(key: bytes) -> None:
    in_body = in_map([(b"\x01", b"\x01"), (key, b"\x01")])
    nested = in_map([(b"\x01", wire.array([wire.mapping([(key, b"\x01")])]))])

    assert drain(in_body + nested, output_config()).tally == {"skipped_bad_key": 2}
    assert drain(in_body, output_config({"data_keys": "a"})).tally == {
        "records": 1,
        "no_data_keys": 1,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (wire.NIL, "null"),
        (wire.TRUE, "true"),
        (wire.FALSE, "false"),
        (wire.array([]), "[]"),
        (wire.mapping([]), "{}"),
        (wire.array([wire.array([]), wire.mapping([])]), "[[],{}]"),
        (wire.array([b"\x01"] * 16), f"[{','.join('1' * 16)}]"),
        (wire.mapping([(b"\x01", b"\x02")] * 16), '{"1":2' + ',"1":2' * 15 + "}"),
        (wire.ext(5, b"abc"), '{"type":5,"data":"YWJj"}'),
        (wire.ext(-128, b""), '{"type":-128,"data":""}'),
        (wire.ext(127, b"\xff" * 17, wire.W32), f'{{"type":127,"data":"{"/" * 22}8="}}'),
        (wire.ext(0, bytes(7)), '{"type":0,"data":"AAAAAAAAAA=="}'),
        (wire.ext(-1, bytes(3)), '{"type":-1,"data":"AAAA"}'),
    ],
)
def test_values_of_every_kind(value: bytes, text: str) -> None:
    chunk = in_map([(wire.string(b"a"), value), (wire.string(b"b"), value)])

    assert data_of(chunk) == [f'{{"a":{text},"b":{text}}}'.encode()]


def test_extensions_of_all_lengths() -> None:
    """The base64 text has all lengths around the block sizes, at the end of the chunk."""
    for n_bytes in [*range(100), 1000, 4096]:
        data = bytes(i * 37 & 0xFF for i in range(n_bytes))
        assert_as_oracle(
            in_map([(wire.string(b"a"), wire.ext(7, data, wire.W32))]), output_config()
        )


@pytest.mark.parametrize(
    ("code", "data", "text"),
    [
        (0, "6553f100 00000005", "2023-11-14T22:13:20.000000005Z"),
        (0, "ffffffff 00000000", "2106-02-07T06:28:15Z"),
        (0, "6553f100 3b9aca00", "2023-11-14T22:13:21Z"),
        (-1, "6553f100", "2023-11-14T22:13:20Z"),
        (-1, "77359400 6553f100", "2023-11-14T22:13:20.5Z"),
        (-1, "05f5e100 ffffffffffffffff", "1969-12-31T23:59:59.1Z"),
        (-1, "00000000 0000003afff4417f", "9999-12-31T23:59:59Z"),
        (-1, "00000001 fffffff1868b8400", "0000-01-01T00:00:00.000000001Z"),
    ],
)
def test_times_in_records(code: int, data: str, text: str) -> None:
    value = wire.ext(code, bytes.fromhex(data))

    assert data_of(in_map([(wire.string(b"t"), value)])) == [f'{{"t":"{text}"}}'.encode()]


@pytest.mark.parametrize("seconds", ["0000003afff44180", "fffffff1868b83ff", "7fffffffffffffff"])
def test_times_are_written_as_extensions_if_the_year_is_not_of_four_digits(seconds: str) -> None:
    chunk = in_map([(wire.string(b"t"), wire.ext(-1, bytes(4) + bytes.fromhex(seconds)))])

    assert data_of(chunk)[0].startswith(b'{"t":{"type":-1,"data":"')
    assert_as_oracle(chunk, output_config())
