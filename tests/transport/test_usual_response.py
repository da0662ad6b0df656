"""The responses that are read without httptools: the result is that of httptools."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast.transport.direct.response import GeneralReader
from kinesis_fast.transport.direct.response_reader import ResponseReader

USUAL = (
    b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 1-2\r\nDate:Sat, 28 Nov 2026 06:00:00 GMT\r\n"
    b"Content-Type: application/x-amz-json-1.1\r\nContent-Length: 5\r\n"
    b"Connection: keep-alive\r\n\r\nhello"
)
STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.1 500 ",
        b"HTTP/1.1 599 ~",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 99 Low",
        b"HTTP/1.1",
    ]
)
HEADER_LINES = st.sampled_from(
    [
        b"Content-Length: 5",
        b"content-length:5",
        b"Content-Length: 0",
        b"Content-Length: 05",
        b"Content-Length: +5",
        b"Content-Length: 5 ",
        b"Content-Length: 5, 5",
        b"Content-Length:",
        b"Content-Length: 99999999999",
        b"CONTENT-LENGTH: 4",
        b"Connection: close",
        b"Connection: Keep-Alive",
        b"connection:  keep-alive, x",
        b"Transfer-Encoding: chunked",
        b"Upgrade: h2c",
        b"Proxy-Connection: close",
        b"X: 1",
        b"X: ",
        b" folded",
        b"no colon",
        b": no name",
        b"bad name: 1",
        b"\xff: 1",
        b"X: \xff",
        b"X: a\tb",
        b"X: a\x01b",
        b"x-Y_z:  two  spaces  ",
        b"X: a:b",
    ]
)
WHOLE = 10_000
SIZES = st.integers(1, 40) | st.just(WHOLE)  # of the pieces; only a whole head is a usual one
BODIES = st.sampled_from([b"", b"hell", b"hello", b"hello\r\n", b"5\r\nhello\r\n0\r\n\r\n"])


def reading(reader: Any, stream: bytes, size: int) -> object:
    """Return what a reader makes of a stream that comes in pieces and then ends."""
    try:
        for start in range(0, len(stream), size):
            reader.feed(memoryview(stream)[start : start + size])
            if reader.complete:
                break
        reusable = reader.reusable
        if not reader.complete and not reader.end():
            return "incomplete", reader.is_final
        status, headers, body = reader.response()
        return reusable, status, dict(headers), body
    except ValueError:
        return "error"
    finally:
        reader.close()


def has_read_itself(stream: bytes) -> bool:
    """Tell whether httptools was not needed: it copies each part of a body."""
    reader = ResponseReader()
    reader.feed(memoryview(stream))
    headers = reader.response().headers
    reader.close()
    return isinstance(headers._source, bytes)  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 7, len(USUAL)])
def test_the_usual_response(size: int) -> None:
    found = reading(ResponseReader(), USUAL, size)
    assert found == reading(GeneralReader(), USUAL, size)
    assert isinstance(found, tuple)
    assert found[:2] == (True, 200)
    assert found[3] == b"hello"


def test_the_usual_response_is_read_without_httptools() -> None:
    assert has_read_itself(USUAL)
    assert not has_read_itself(USUAL.replace(b"keep-alive", b"close"))


@given(STATUS_LINES, st.lists(HEADER_LINES, max_size=4), BODIES, SIZES)
def test_any_response_is_what_httptools_makes_of_it(
    status: bytes, headers: list[bytes], body: bytes, size: int
) -> None:
    stream = b"\r\n".join([status, *headers, b"", b""]) + body
    assert reading(ResponseReader(), stream, size) == reading(GeneralReader(), stream, size)


@given(st.integers(0, len(USUAL) - 1), st.integers(0, 255), SIZES)
def test_one_byte_is_different(place: int, byte: int, size: int) -> None:
    stream = USUAL[:place] + bytes([byte]) + USUAL[place + 1 :]
    assert reading(ResponseReader(), stream, size) == reading(GeneralReader(), stream, size)


@pytest.mark.parametrize("value", [b"1", b" 1", b"1 ", b"\t1 \t", b" 1  2 ", b" ", b""])
@pytest.mark.parametrize("size", [1, 7, WHOLE])
@pytest.mark.parametrize("new_reader", [ResponseReader, GeneralReader])
def test_spaces_around_a_value(new_reader: Any, size: int, value: bytes) -> None:
    """They do not belong to it, whoever reads it and in whatever pieces it comes."""
    stream = USUAL.replace(b" 1-2", value)
    found = reading(new_reader(), stream, size)
    assert isinstance(found, tuple)
    assert found[2]["x-amzn-requestid"] == value.decode().strip()


def test_one_reader_reads_all_kinds_in_turn() -> None:
    reader = ResponseReader()
    unusual = USUAL.replace(b"keep-alive", b"x")
    for stream in (USUAL, unusual, unusual, USUAL, USUAL, unusual):
        reader.reset()
        assert not reader.started
        reader.feed(memoryview(stream))
        assert reader.started
        assert reader.response().body == b"hello"
        assert reader.reusable
    reader.close()


@pytest.mark.parametrize("stream", [USUAL, USUAL.replace(b"keep-alive", b"x")])
def test_bytes_after_a_response_spend_the_connection(stream: bytes) -> None:
    reader = ResponseReader()
    reader.feed(memoryview(stream + b"H"))
    assert reader.complete
    assert not reader.reusable
    assert reader.response().body == b"hello"
    reader.close()
