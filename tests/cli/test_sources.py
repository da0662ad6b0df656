"""The readers of `send` and `preview`: the events do not depend on the blocks."""

import io
import math
import os
from collections.abc import Iterable
from typing import Any

import msgpack
import pytest
from chunks import chunk_of, load_chunk
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast.cli import sources
from kinesis_fast.cli.common import UsageError
from kinesis_fast.cli.sources import (
    FORMATS,
    LONE_SURROGATE,
    NOT_UTF8,
    TOO_LARGE,
    InputError,
    MsgpackReader,
    Reader,
    Remarks,
    blocks,
    event_time,
    opened,
    size_of,
)


class KeptRemarks(Remarks):
    """What a reader says."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.bad_lines: list[tuple[int, str]] = []
        super().__init__(self.told.append)

    def bad_line(self, number: int, reason: str) -> None:
        super().bad_line(number, reason)
        self.bad_lines.append((number, reason))


def read(
    input_format: str, parts: Iterable[bytes], remarks: KeptRemarks | None = None
) -> tuple[Reader, list[bytes]]:
    """Feed a reader; returns it and the chunk taken after each part."""
    reader = FORMATS[input_format](remarks or KeptRemarks())
    chunks = []
    for part in parts:
        reader.feed(part)
        chunks.append(reader.take())
    reader.finish()
    chunks.append(reader.take())
    return reader, chunks


def bodies(chunk: bytes) -> list[Any]:
    """Return the bodies of the events of a chunk."""
    events = msgpack.Unpacker(io.BytesIO(chunk), unicode_errors="surrogateescape")
    return [body for _, body in events]


def pieces(content: bytes, size: int) -> list[bytes]:
    """Return content in pieces."""
    return [content[at : at + size] for at in range(0, len(content), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 5000])
def test_msgpack_chunks_end_between_events_and_add_up(size: int) -> None:
    content = load_chunk("fwd_weird_0")
    reader, chunks = read("msgpack", pieces(content, size))
    assert b"".join(chunks) == content
    assert reader.position == len(content)
    assert reader.broken_at is None
    n_events = 0
    for chunk in chunks:
        unpacker = msgpack.Unpacker()
        unpacker.feed(chunk)
        while unpacker.tell() < len(chunk):
            unpacker.skip()
            n_events += 1
    assert n_events == 52


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_cut_off_event_is_the_tail_of_the_last_chunk(size: int) -> None:
    whole, cut = chunk_of([{"a": 1}, {"b": 2}]), chunk_of([{"c": "long enough"}])[:-3]
    reader, chunks = read("msgpack", pieces(whole + cut, size))
    assert b"".join(chunks) == whole + cut
    assert chunks[-1] == cut
    assert reader.broken_at == len(whole)


@pytest.mark.parametrize("garbage", [b"\xc1", b"hello", b"\x00", b"\xa5hello", b"\x93\x01\xc1"])
def test_garbage_ends_the_reading_where_it_begins(garbage: bytes) -> None:
    whole = chunk_of([{"a": 1}])
    reader = MsgpackReader()
    reader.feed(whole + garbage + whole)
    assert reader.broken_at == len(whole)
    assert reader.take() == whole + garbage + whole


def test_an_event_without_end_is_not_collected_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_EVENT_BYTES", 10_000)
    reader = MsgpackReader()
    reader.feed(b"\x92\x00\xdb\xff\xff\xff\xff")
    for _ in range(100):
        if reader.broken_at is not None:
            break
        reader.feed(b"x" * 1000)
    assert reader.broken_at == 0
    assert reader.n_bytes < 12_000


@given(st.lists(st.binary(max_size=20).filter(lambda b: b"\n" not in b)), st.integers(1, 30))
def test_lines_are_the_same_in_any_blocks(texts: list[bytes], size: int) -> None:
    content = b"\n".join(texts)
    reader, chunks = read("lines", pieces(content, size))
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    found = [
        body["log"].encode("utf-8", "surrogateescape") for chunk in chunks for body in bodies(chunk)
    ]
    assert found == [text.removesuffix(b"\r") for text in expected]
    assert reader.position == len(content)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_last_line_needs_no_end(end: bytes) -> None:
    _, chunks = read("lines", [b"one\r\n\nthr", b"ee" + end])
    assert [body for chunk in chunks for body in bodies(chunk)] == [
        {"log": "one"},
        {"log": ""},
        {"log": "three"},
    ]


def test_a_line_becomes_an_event_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_123_456_789)
    _, chunks = read("lines", [b"text\n"])
    assert msgpack.unpackb(chunks[0]) == [event_time(1_700_000_000_123_456_789), {"log": "text"}]
    assert event_time(1_700_000_000_123_456_789).data == bytes.fromhex("6553f100075bcd15")


def test_json_objects_become_bodies() -> None:
    _, chunks = read("jsonl", [b'{"a": [1, -2.5, null, "\xc3\xa9"]}\n  \n{"b": {}}\r\n{}'])
    assert [body for chunk in chunks for body in bodies(chunk)] == [
        {"a": [1, -2.5, None, "\u00e9"]},
        {"b": {}},
        {},
    ]


def test_a_byte_order_mark_is_no_part_of_json() -> None:
    remarks = KeptRemarks()
    mark = b"\xef\xbb\xbf"
    content = mark + b'{"a": 1}\r\n' + mark + b'{"b": 2}\n'  # as `cat` makes it of two files
    _, chunks = read("jsonl", pieces(content, 2), remarks)
    assert [body for chunk in chunks for body in bodies(chunk)] == [{"a": 1}, {"b": 2}]
    _, chunks = read("jsonl", [mark], remarks)
    assert (chunks, remarks.bad_lines) == ([b"", b""], [])


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    remarks = KeptRemarks()
    mark = b"\xef\xbb\xbf"
    _, chunks = read("lines", pieces(mark + b"text\n" + mark + b"more\n", 2), remarks)
    assert [body for chunk in chunks for body in bodies(chunk)] == [
        {"log": "text"},
        {"log": "\ufeffmore"},
    ]
    assert remarks.told == []


@pytest.mark.parametrize("input_format", ["lines", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_one_warning_names_an_encoding_that_is_not_read(encoding: str, input_format: str) -> None:
    remarks = KeptRemarks()
    content = ("\ufeff" if encoding.endswith("be") else "") + '{"a": 1}\n{"b": 2}\n'
    read(input_format, pieces(content.encode(encoding), 3), remarks)
    name = encoding[:6].upper()
    warnings = [text for text in remarks.told if text.startswith("warning: ")]
    assert warnings == [
        f"warning: the input begins as {name} text, but is read as UTF-8; convert it first: "
        f"iconv -f {name} -t UTF-8"
    ]


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", 2**63),
        ("18446744073709551616", 2.0**64),
        ("-9223372036854775809", -(2.0**63)),
        ("9" * 100, 1e100),
        ("9" * 5000, float("inf")),
        ("0.1234567890123456789012", 0.1234567890123456789012),
    ],
)
def test_an_integer_beyond_64_bits_becomes_a_double(digits: str, value: float) -> None:
    remarks = KeptRemarks()
    _, chunks = read("jsonl", [f'{{"a": [{digits}, 1]}}\n'.encode()], remarks)
    assert bodies(chunks[0]) == [{"a": [value, 1]}]
    assert type(bodies(chunks[0])[0]["a"][0]) is type(value)
    is_changed = "." not in digits and isinstance(value, float) and math.isfinite(value)
    assert remarks.changed == ({TOO_LARGE: 1} if is_changed else {})
    assert remarks.bad_lines == []


def test_each_byte_that_is_not_utf_8_becomes_a_replacement_character() -> None:
    remarks = KeptRemarks()
    line = b'{"a\xff": "\xe2\x82x\xf0\x9f", "b": "\xef\xbf\xbd \xc3\xa9"}\n'
    _, chunks = read("jsonl", [line, b'{"c": 1}\n', line], remarks)
    changed = {"a\ufffd": "\ufffd\ufffdx\ufffd\ufffd", "b": "\ufffd \u00e9"}
    assert [body for chunk in chunks for body in bodies(chunk)] == [changed, {"c": 1}, changed]
    assert remarks.changed == {NOT_UTF8: 10}
    assert remarks.told == []


def test_of_many_bad_lines_the_first_are_told() -> None:
    remarks = KeptRemarks()
    read("jsonl", [b"oops\n" * 20], remarks)
    assert remarks.n_bad_lines == 20
    assert len(remarks.told) == 11
    assert remarks.told[-1] == "more bad lines follow; they are counted but not shown"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1}\xff', "not JSON: Extra data at character 9"),
        (b"{", "not JSON: Expecting property name enclosed in double quotes at character 2"),
        (b"[1]", "not a JSON object but an array"),
        (b"17", "but a number"),
        (b'"x"', "but a string"),
        (b"null", "but null"),
        (b"true", "but a boolean"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_a_line_that_is_no_record_is_named_and_left_out(line: bytes, reason: str) -> None:
    remarks = KeptRemarks()
    reader, chunks = read("jsonl", [b'{"a": 1}\n\n' + line + b'\n{"b": 2}\n'], remarks)
    assert [body for chunk in chunks for body in bodies(chunk)] == [{"a": 1}, {"b": 2}]
    assert [number for number, _ in remarks.bad_lines] == [3]
    assert reason in remarks.bad_lines[0][1]
    assert reader.broken_at is None


@pytest.mark.parametrize(
    ("escapes", "value", "n_lone"),
    [
        (r"\ud800", "\ufffd", 1),
        (r"\uDFFFx\udc00\ud800", "\ufffdx\ufffd\ufffd", 3),
        (r"\ud83d\ude00\u00e9\n", "\U0001f600\u00e9\n", 0),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600", 1),
        (r"\\ud800", r"\ud800", 0),
        (r"\\\ud800", "\\\ufffd", 1),
    ],
)
def test_a_lone_surrogate_is_replaced_and_counted(escapes: str, value: str, n_lone: int) -> None:
    remarks = KeptRemarks()
    _, chunks = read("jsonl", [f'{{"{escapes}": ["{escapes}"]}}\n'.encode()], remarks)
    assert bodies(chunks[0]) == [{value: [value]}]
    assert remarks.changed == ({LONE_SURROGATE: 2 * n_lone} if n_lone else {})
    assert remarks.bad_lines == []


def test_a_line_without_end_is_not_collected_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 1000)
    remarks = KeptRemarks()
    content = b"one\n" + b"x" * 10_000 + b"\ntwo\n" + b"y" * 1001 + b"\n" + b"z" * 1000 + b"\n"
    reader, chunks = read("lines", pieces(content + b"w" * 5000, 100), remarks)
    found = [body["log"] for chunk in chunks for body in bodies(chunk)]
    assert found == ["one", "two", "z" * 1000]
    assert [number for number, _ in remarks.bad_lines] == [2, 4, 6]
    assert "longer than 1,000 bytes" in remarks.bad_lines[0][1]
    assert reader.position == len(content) + 5000


def test_blocks_of_a_pipe_come_as_they_are_written() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as file, os.fdopen(writing, "wb", 0) as pipe:
        coming = blocks(file)
        pipe.write(b"one")
        assert next(coming) == b"one"
        assert next(coming) == b""  # idle
        pipe.write(b"two")
        assert next(coming) == b"two"
        pipe.close()
        assert list(coming) == []
        assert size_of(file) is None


def test_input_that_cannot_be_read_on_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = iter([b"one\n", b"two\n"])

    def read_some(_descriptor: int, _size: int) -> bytes:
        for part in parts:
            return part
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.read", read_some)
    with opened(__file__) as file:
        coming = blocks(file)
        assert [next(coming), next(coming)] == [b"one\n", b"two\n"]
        message = "^cannot read the input from byte 8 on: Input/output error$"
        with pytest.raises(InputError, match=message):
            next(coming)


def test_files_have_a_size_and_stdin_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(__file__) as file:
        size = size_of(file)
        assert size == sum(map(len, blocks(file)))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"), opened("-"):
        pass
