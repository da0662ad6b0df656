"""Which bytes the direct transport takes for a response, and whether it keeps the connection."""

import socket
import tracemalloc

import pytest
from direct import ACCEPTED, BODY, GOOD, post, raw, responding, serving
from raw_server import http
from scripted_server import Script, ScriptedServer

from kinesis_fast import TransportError
from kinesis_fast.limits import MAX_ANSWER_BYTES, MAX_ANSWER_HEAD_BYTES
from kinesis_fast.transport.direct.response import GeneralReader
from kinesis_fast.transport.direct.response_reader import ResponseReader

KEPT = {
    "HTTP/1.1": GOOD,
    "HTTP/1.0, keep-alive": raw(
        "HTTP/1.0 200 OK",
        "Connection: keep-alive",
        f"Content-Length: {len(ACCEPTED)}",
        body=ACCEPTED,
    ),
    "chunked": raw(
        "HTTP/1.1 200 OK",
        "Transfer-Encoding: chunked",
        body=b"5\r\n"
        + ACCEPTED[:5]
        + b"\r\n%x;ext=1\r\n" % (len(ACCEPTED) - 5)
        + ACCEPTED[5:]
        + b"\r\n0\r\n\r\n",
    ),
    "after 100 Continue": raw("HTTP/1.1 100 Continue") + GOOD,
    "after 102 and 103": raw("HTTP/1.1 102 Wait") + raw("HTTP/1.1 103 Hints", "Link: <x>") + GOOD,
}


NOT_KEPT = {
    "close": raw(
        "HTTP/1.1 200 OK", "Connection: close", f"Content-Length: {len(ACCEPTED)}", body=ACCEPTED
    ),
    "HTTP/1.0": raw("HTTP/1.0 200 OK", f"Content-Length: {len(ACCEPTED)}", body=ACCEPTED),
    "pipelined junk": GOOD + b"junk",
    "two responses": GOOD + http(500),
}


@pytest.mark.parametrize("name", KEPT)
def test_responses_after_which_the_connection_is_kept(name: str) -> None:
    with serving(responding(*[KEPT[name]] * 3)) as (transport, server):
        for _ in range(3):
            response = post(transport)
            assert (response.status, response.body) == (200, ACCEPTED)
        assert server.n_connections == 1
        assert server.requests == [BODY] * 3


@pytest.mark.parametrize("name", NOT_KEPT)
def test_responses_after_which_the_connection_is_closed(name: str) -> None:
    with serving(responding(*[NOT_KEPT[name]] * 3)) as (transport, server):
        for _ in range(3):
            response = post(transport)
            assert (response.status, response.body) == (200, ACCEPTED)
        assert server.n_connections == 3


def test_a_response_without_a_length_ends_with_the_connection() -> None:
    response = raw("HTTP/1.1 200 OK", body=ACCEPTED * 10_000)
    with serving(responding(response)) as (transport, server):
        for _ in range(2):
            assert post(transport).body == ACCEPTED * 10_000
        assert server.n_connections == 2


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body(status: int) -> None:
    with serving(responding(*[raw(f"HTTP/1.1 {status} Nothing")] * 2)) as (transport, server):
        for _ in range(2):
            response = post(transport)
            assert (response.status, response.body) == (status, b"")
        assert server.n_connections == 1


def test_headers_are_found_in_any_case() -> None:
    response = raw("HTTP/1.1 400 Bad", "x-AmZn-ErrorType: A:", "X: 1", "x: 2", "Content-Length: 0")
    with serving(responding(response)) as (transport, _):
        headers = post(transport).headers
    assert headers["X-AMZN-ErrorType"] == "A:"
    assert dict(headers) == {"x-amzn-errortype": "A:", "x": "1, 2", "content-length": "0"}
    assert "nothing" not in headers


@pytest.mark.parametrize(
    "response",
    [
        http(200, ACCEPTED)[:-1],
        http(200, ACCEPTED)[:20],
        b"H",
        raw("HTTP/1.1 100 Continue"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\n{"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"1\r\n{\r\n"),
    ],
)
def test_half_a_response_is_an_error(response: bytes) -> None:
    with serving(responding(response)) as (transport, server):
        with pytest.raises(TransportError, match=r"middle of the response.*\(http.*check the netw"):
            post(transport)
        assert len(server.requests) == 1


GARBAGE = [
    b"\x00\x01\x02\x03" * 10,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"220 mail.example ESMTP\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"<html></html>\r\n\r\n",
    raw("HTTP/1.1 200 OK", "Content-Length: -1"),
    raw("HTTP/1.1 200 OK", "Content-Length: 99999999999999999999999"),
    raw("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3", body=b"{}}"),
    raw("HTTP/1.1 200 OK", "Content-Length: 2", "Transfer-Encoding: chunked", body=b"{}"),
    raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"zz\r\n"),
    raw("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: upgrade"),
]


@pytest.mark.parametrize("response", GARBAGE)
def test_garbage(response: bytes) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            sock.sendall(response)
            server.released.wait(10)

        return script

    with serving(make) as (transport, server):
        with pytest.raises(TransportError, match="the response is not HTTP/1"):
            post(transport)
        assert len(server.requests) == 1


@pytest.mark.parametrize("n_parts", [1, 4])
@pytest.mark.parametrize("new_reader", [ResponseReader, GeneralReader])
def test_an_idle_connection_does_not_keep_its_last_response(
    new_reader: type[ResponseReader | GeneralReader], n_parts: int
) -> None:
    part = memoryview(b"x" * 65536)
    reader = new_reader()
    tracemalloc.start()
    try:
        head = raw("HTTP/1.1 200 OK", f"Content-Length: {n_parts * len(part)}")
        reader.feed(memoryview(head))
        for _ in range(n_parts):
            reader.feed(part)
        assert len(reader.response().body) == n_parts * len(part)
        assert reader.reusable
        assert tracemalloc.get_traced_memory()[0] < len(part)
    finally:
        tracemalloc.stop()
        reader.close()


FLOODS = {
    "length": (raw("HTTP/1.1 200 OK", f"Content-Length: {MAX_ANSWER_BYTES * 2}"), b"x" * 65536),
    "no length": (raw("HTTP/1.1 200 OK"), b"x" * 65536),
    "chunks": (raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 10_000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Name: value\r\n" * 100),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Name: ", b"v" * 4096),
    "interim responses": (b"", raw("HTTP/1.1 100 Continue") * 100),
}


@pytest.mark.parametrize("name", FLOODS)
def test_the_size_of_a_response_is_bounded(name: str) -> None:
    start, more = FLOODS[name]
    bound = MAX_ANSWER_HEAD_BYTES if "head" in name or "interim" in name else MAX_ANSWER_BYTES
    reader = ResponseReader()
    n_fed = len(start)
    if start:
        reader.feed(memoryview(start))
    with pytest.raises(ValueError, match="is longer than"):
        while n_fed <= 2 * bound:
            reader.feed(memoryview(more))
            n_fed += len(more)
    assert n_fed <= bound < n_fed + len(more)
    reader.close()


@pytest.mark.parametrize("name", FLOODS)
def test_responses_without_end_are_cut_off(name: str) -> None:
    start, more = FLOODS[name]
    n_sent = 0

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            nonlocal n_sent
            server.read(sock)
            sock.sendall(start)
            while True:
                sock.sendall(more)
                n_sent += len(more)

        return script

    with (
        serving(make) as (transport, _),
        pytest.raises(TransportError, match=r"longer than \d+ bytes"),
    ):
        post(transport, timeout_s=20.0)
    assert n_sent < MAX_ANSWER_BYTES * 2
