"""Fuzz target: any bytes on a connection that waits for a response.

The first byte of an input selects the size of the pieces in which the rest arrives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import answer_target

from kinesis_fast.delivery.retry import classify
from kinesis_fast.transport import Response
from kinesis_fast.transport.direct.response import GeneralReader
from kinesis_fast.transport.direct.response_reader import ResponseReader

GOOD: Final = b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-0"}]}'
HEADS: Final = (
    b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 1\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 400 Bad Request\r\nX-Amzn-ErrorType: a#b:c\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.0 500 \r\nConnection: keep-alive\r\ncontent-length: %d\r\n\r\n",
)
NO_BODY_STATUS: Final = (204, 304)


class Ending(NamedTuple):
    """The result of reading: a response, an error, or neither if the bytes ended too early."""

    response: Response | None
    error: str

    @property
    def kind(self) -> tuple[object, ...]:
        """Return the part that must not depend on the pieces in which the bytes arrive."""
        if self.response is None:
            return (bool(self.error),)
        status, headers, body = self.response
        return status, dict(headers), body


def run(data: bytes) -> None:
    """Read one input in pieces and at once; raise AssertionError if the results differ."""
    size, stream = (data[0] if data else 0), data[1:]
    ending = read(stream, size % 61 + 1)
    assert ending.kind == read(stream, max(len(stream), 1)).kind
    assert ending.kind == read(stream, max(len(stream), 1), GeneralReader).kind
    assert not (ending.response and ending.error)
    if ending.response:
        check(ending.response)


def seeds() -> Iterator[bytes]:
    """Yield responses in each framing of HTTP/1."""
    for size, head in enumerate(HEADS):
        yield bytes([size]) + head % len(GOOD) + GOOD
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(GOOD) + GOOD
    yield b"\x07" + chunked + b"\r\n0\r\nx-trailer: 1\r\n\r\n"
    yield b"\x28" + b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + GOOD
    yield b"\x03" + b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
    yield b"\x0b" + b"HTTP/1.1 204 No Content\r\n\r\n" * 2


def read(
    stream: bytes, size: int, new_reader: type[ResponseReader | GeneralReader] = ResponseReader
) -> Ending:
    """Feed bytes to a reader like a connection does, `size` at a time, and then the end."""
    reader = new_reader()
    try:
        for start in range(0, len(stream), size):
            reader.feed(memoryview(stream)[start : start + size])
            assert reader.complete or not reader.reusable
            if reader.complete:
                return Ending(reader.response(), "")
        return Ending(reader.response() if reader.end() else None, "")
    except ValueError as error:
        return Ending(None, str(error))
    finally:
        reader.close()


def check(response: Response) -> None:
    """Assert that the body has the announced length, and that the response can be classified."""
    status, headers, body = response
    assert status not in range(100, 200)
    length = headers.get("content-length", "").strip()
    if length.isdecimal() and "transfer-encoding" not in headers and status not in NO_BODY_STATUS:
        assert len(body) == int(length)
    for n_records in (1, 2):
        verdict = classify(response, n_records)
        answer_target.check(verdict, status, body, n_records)
