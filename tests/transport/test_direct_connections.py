"""Connections of the direct transport: how they end, who uses them, what is told of them."""

import random
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from direct import GOOD, LARGE, answering, direct, post, raw, serving
from raw_server import Arrived, RawServer, http
from scripted_server import Script, ScriptedServer, reset

from kinesis_fast import TransportError
from kinesis_fast.transport.direct import pool
from kinesis_fast.transport.direct.connection import UnansweredError
from kinesis_fast.transport.direct.transport import DirectTransport


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_fresh_connection_without_an_answer(end: Callable[[socket.socket], None]) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            end(sock)

        return script

    with serving(make) as (transport, server):
        with pytest.raises(UnansweredError, match="connection lost before an answer"):
            post(transport)
        assert (server.n_connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_kept_connection_without_an_answer_is_replaced_once(
    end: Callable[[socket.socket], None],
) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            if number < 3:
                sock.sendall(GOOD)
                server.read(sock)
            end(sock)

        return script

    with serving(make) as (transport, server):
        assert post(transport, b"1").status == 200
        assert post(transport, b"2").status == 200
        assert server.requests == [b"1", b"2", b"2"]
        with pytest.raises(UnansweredError):
            post(transport, b"3")
        assert server.requests == [b"1", b"2", b"2", b"3", b"3"]
        assert server.n_connections == 3


def test_a_kept_connection_with_half_an_answer_is_not_replaced() -> None:
    with serving(answering(GOOD, GOOD[:-1])) as (transport, server):
        post(transport)
        with pytest.raises(TransportError, match="middle of the answer"):
            post(transport)
        assert (server.n_connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("last", [b"", b"HTTP/1.1 408 Time-out\r\nContent-Length: 0\r\n\r\n"])
def test_stale_connections_are_noticed_before_they_are_used(last: bytes) -> None:
    ended = threading.Event()

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            sock.sendall(GOOD)
            if number == 1:
                time.sleep(0.05)
                sock.sendall(last)
            else:
                server.read(sock)
            sock.close()
            ended.set()

        return script

    with serving(make) as (transport, server):
        post(transport, b"1")
        assert ended.wait(10)
        post(transport, b"2")
        assert server.requests == [b"1", b"2"]
        assert server.n_connections == 2


def test_connections_that_were_idle_for_long_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(*[GOOD] * 3)) as (transport, server):
        post(transport)
        post(transport)
        assert server.n_connections == 1
        monkeypatch.setattr(pool, "MAX_IDLE_S", 0.0)
        post(transport)
        assert server.n_connections == 2


def test_closing_closes_what_is_kept_and_what_is_in_use() -> None:
    closed = [threading.Event(), threading.Event()]
    go_on = threading.Event()
    together = threading.Barrier(2)

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            together.wait(10)
            if number == 1:
                go_on.wait(10)
            sock.sendall(GOOD)
            if sock.recv(1) == b"":
                closed[number - 1].set()

        return script

    with serving(make) as (transport, server), ThreadPoolExecutor(2) as executor:
        late = executor.submit(post, transport, b"late")
        while not server.requests:
            time.sleep(0.001)
        assert executor.submit(post, transport, b"soon").result().status == 200
        transport.close()
        assert closed[1].wait(10)
        assert not closed[0].is_set()
        go_on.set()
        assert late.result().status == 200
        assert closed[0].wait(10)


def test_a_connection_for_each_request_under_way() -> None:
    together = threading.Barrier(4)

    def handler(arrived: Arrived) -> bytes:
        if arrived.body.startswith(b"together"):
            together.wait(10)
        return http(200, arrived.body[::-1])

    with RawServer(handler) as server:
        transport = direct(server.url)
        bodies = [b"together %d" % i for i in range(4)] + [
            b"%d " % i * (i * 997) or b"-" for i in range(200)
        ]
        with ThreadPoolExecutor(4) as executor:
            answers = list(executor.map(lambda body: post(transport, body).body, bodies))
        assert answers == [body[::-1] for body in bodies]
        assert {arrived.connection for arrived in server.arrived} == {1, 2, 3, 4}
        for _ in range(3):
            post(transport)
        assert len({arrived.connection for arrived in server.arrived[-3:]}) == 1
        transport.close()


def test_answers_belong_to_their_requests_whatever_connections_do() -> None:
    chance = random.Random(7)

    def echo(body: bytes) -> tuple[bytes, bool]:
        """Return some bytes for a request, and whether the connection goes on."""
        answer = http(200, body[::-1])
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body[::-1])
        return chance.choice(
            [
                (answer, True),
                (raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked), True),
                (raw("HTTP/1.1 100 Continue") + answer, True),
                (answer, False),
                (answer + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", True),
                (answer[: chance.randrange(len(answer))], False),
                (b"", False),
                (b"junk", True),
            ]
        )

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            goes_on = True
            while goes_on and (body := server.read(sock)) is not None:
                answer, goes_on = echo(body)
                sock.sendall(answer)
            if number % 3 == 0:
                reset(sock)

        return script

    def reversed_by(transport: DirectTransport, body: bytes) -> bool:
        try:
            return post(transport, body, 20.0).body == body[::-1]
        except TransportError as error:
            return "the answer" in str(error) or "before an answer" in str(error)

    with serving(make) as (transport, server), ThreadPoolExecutor(4) as executor:
        bodies = [b"%d " % n * chance.randrange(1, 3000) for n in range(400)]
        assert all(executor.map(lambda body: reversed_by(transport, body), bodies))
        assert set(server.requests) == set(bodies)


def test_the_body_is_not_copied() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            for _ in range(2):
                _drain(sock, len(LARGE))
                sock.sendall(GOOD)

        return script

    with serving(make) as (transport, _):
        post(transport, LARGE)
        tracemalloc.start()
        post(transport, LARGE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000


def _drain(sock: socket.socket, n_bytes: int) -> None:
    """Read a request with a body of n_bytes in little memory; the head comes in one piece."""
    buffer = bytearray(65536)
    n_read = sock.recv_into(buffer)
    n_read -= buffer.index(b"\r\n\r\n") + 4
    while n_read < n_bytes:
        n_read += sock.recv_into(buffer)


def test_errors_and_reprs_tell_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "open-sesame")
    with serving(answering(b"junk")) as (_, server):
        transport = direct(server.url.replace("//", "//me:sesame@"))
        with pytest.raises(TransportError) as caught:
            post(transport)
        texts = [repr(transport), repr(transport._way), repr(vars(transport))]
        texts += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
        transport.close()
    assert not re.search("sesame", " ".join(texts))
