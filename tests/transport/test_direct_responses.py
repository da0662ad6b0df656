"""What the direct transport makes of answers, good and bad, late and early."""

import socket
import time

import pytest
from direct import ACCEPTED, BODY, GOOD, LARGE, answering, post, raw, serving
from raw_server import RawServer, http
from scripted_server import Script, ScriptedServer, reset

from kinesis_fast import TransportError
from kinesis_fast.limits import MAX_ANSWER_BYTES

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
    "two answers": GOOD + http(500),
}


@pytest.mark.parametrize("name", KEPT)
def test_answers_after_which_the_connection_is_kept(name: str) -> None:
    with serving(answering(*[KEPT[name]] * 3)) as (transport, server):
        for _ in range(3):
            response = post(transport)
            assert (response.status, response.body) == (200, ACCEPTED)
        assert server.n_connections == 1
        assert server.requests == [BODY] * 3


@pytest.mark.parametrize("name", NOT_KEPT)
def test_answers_after_which_it_is_not(name: str) -> None:
    with serving(answering(*[NOT_KEPT[name]] * 3)) as (transport, server):
        for _ in range(3):
            response = post(transport)
            assert (response.status, response.body) == (200, ACCEPTED)
        assert server.n_connections == 3


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    answer = raw("HTTP/1.1 200 OK", body=ACCEPTED * 10_000)
    with serving(answering(answer)) as (transport, server):
        for _ in range(2):
            assert post(transport).body == ACCEPTED * 10_000
        assert server.n_connections == 2


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    with serving(answering(*[raw(f"HTTP/1.1 {status} Nothing")] * 2)) as (transport, server):
        for _ in range(2):
            response = post(transport)
            assert (response.status, response.body) == (status, b"")
        assert server.n_connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with RawServer(lambda _: GOOD) as other:
        with serving(answering(http(status, b"", Location=other.url))) as (transport, _):
            response = post(transport)
            assert (response.status, response.headers["location"]) == (status, other.url)
        assert other.arrived == []


def test_headers_are_found_in_any_case() -> None:
    answer = raw("HTTP/1.1 400 Bad", "x-AmZn-ErrorType: A:", "X: 1", "x: 2", "Content-Length: 0")
    with serving(answering(answer)) as (transport, _):
        headers = post(transport).headers
    assert headers["X-AMZN-ErrorType"] == "A:"
    assert dict(headers) == {"x-amzn-errortype": "A:", "x": "1, 2", "content-length": "0"}
    assert "nothing" not in headers


@pytest.mark.parametrize(
    "answer",
    [
        http(200, ACCEPTED)[:-1],
        http(200, ACCEPTED)[:20],
        b"H",
        raw("HTTP/1.1 100 Continue"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\n{"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"1\r\n{\r\n"),
    ],
)
def test_half_an_answer_is_none(answer: bytes) -> None:
    with serving(answering(answer)) as (transport, server):
        with pytest.raises(TransportError, match=r"middle of the answer.*\(http.*check the netw"):
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


@pytest.mark.parametrize("answer", GARBAGE)
def test_garbage(answer: bytes) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            sock.sendall(answer)
            server.released.wait(10)

        return script

    with serving(make) as (transport, server):
        with pytest.raises(TransportError, match="the answer is no HTTP/1"):
            post(transport)
        assert len(server.requests) == 1


FLOODS = {
    "length": (raw("HTTP/1.1 200 OK", f"Content-Length: {MAX_ANSWER_BYTES * 2}"), b"x" * 65536),
    "no length": (raw("HTTP/1.1 200 OK"), b"x" * 65536),
    "chunks": (raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 10_000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Name: value\r\n" * 100),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Name: ", b"v" * 4096),
    "interim answers": (b"", raw("HTTP/1.1 100 Continue") * 100),
}


@pytest.mark.parametrize("name", FLOODS)
def test_answers_without_end_are_cut_off(name: str) -> None:
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


@pytest.mark.parametrize("end", ["open", "closed", "reset"])
def test_an_answer_before_the_request_is_out(end: str) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            sock.recv(1000)
            sock.sendall(http(413, b"too much", Connection="close"))
            if end == "open":
                server.released.wait(10)
            elif end == "closed":
                time.sleep(0.1)
                sock.shutdown(socket.SHUT_WR)
                server.released.wait(10)
            else:
                time.sleep(0.1)
                reset(sock)

        return script

    with serving(make) as (transport, server):
        for n_connections in (1, 2):
            started = time.monotonic()
            response = post(transport, LARGE)
            assert (response.status, response.body) == (413, b"too much")
            assert time.monotonic() - started < 5
            assert server.n_connections == n_connections


def test_an_early_answer_that_would_keep_the_connection_does_not() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            if number == 1:
                sock.recv(1000)
                sock.sendall(http(413))
                server.released.wait(10)
            elif server.read(sock) is not None:
                sock.sendall(GOOD)

        return script

    with serving(make) as (transport, server):
        assert post(transport, LARGE).status == 413
        assert post(transport).status == 200
        assert server.n_connections == 2


def test_an_interim_answer_does_not_end_the_sending() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            sock.sendall(raw("HTTP/1.1 100 Continue"))
            time.sleep(0.1)
            server.read(sock)
            sock.sendall(GOOD)

        return script

    with serving(make) as (transport, server):
        assert post(transport, LARGE).status == 200
        assert server.requests == [LARGE]
