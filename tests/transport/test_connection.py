"""One request on a connection: the bounds of its time, and how the connection may end."""

import math
import select
import socket
import ssl
import time
import tracemalloc
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import cast

import pytest
from direct import GOOD, LARGE, post, raw, responding, serving
from raw_server import http
from scripted_server import Script, ScriptedServer, reset

from kinesis_fast import TransportError
from kinesis_fast.limits import KIB, MIB, SLOWEST_BYTES_PER_S
from kinesis_fast.transport.direct import connection
from kinesis_fast.transport.direct.channel import Channel
from kinesis_fast.transport.direct.connection import Connection, NoResponseError

TIMEOUT_S = 5.0


class FakePeer:
    """A channel with its own clock, which only waiting moves.

    Args:
        arrivals: when bytes arrive, seconds from 0, and the bytes.
        step_s: seconds until the socket takes the next `step_bytes` of a request.
    """

    has_unread = False

    def __init__(
        self, arrivals: Iterable[tuple[float, bytes]] = (), step_s: float = 0.0, step_bytes: int = 1
    ) -> None:
        self.now_s = 0.0
        self._arrivals = list(arrivals)
        self._step_s, self._step_bytes = step_s, step_bytes
        self._n_unsent = 0
        self._is_writable = False

    def queue(self, head: bytes, body: memoryview) -> None:
        self._n_unsent = len(head) + len(body)

    def push(self) -> bool:
        if not self._is_writable and self._step_s:
            raise BlockingIOError
        self._is_writable = False
        self._n_unsent -= self._step_bytes if self._step_s else self._n_unsent
        return self._n_unsent > 0

    def drop(self) -> None:
        self._n_unsent = 0

    def receive(self) -> memoryview:
        if not self._arrivals or self._arrivals[0][0] > self.now_s:
            raise BlockingIOError
        return memoryview(self._arrivals.pop(0)[1])

    def poll(self, events: int, wait_ms: float | None) -> list[tuple[int, int]]:
        """Do what select.poll does, on this clock."""
        readable_s = self._arrivals[0][0] if self._arrivals else math.inf
        writable_s = self.now_s + self._step_s if events & select.POLLOUT else math.inf
        late_s = self.now_s + (math.inf if wait_ms is None else wait_ms / 1000)
        self.now_s = max(self.now_s, min(readable_s, writable_s, late_s))
        assert self.now_s < math.inf, "it waits for ever"
        self._is_writable = writable_s <= self.now_s
        happened = select.POLLIN * (readable_s <= self.now_s) | select.POLLOUT * self._is_writable
        return [(0, happened)] if happened else []

    def exchange(self, body: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
        """Send a body on a connection to this peer. Returns the status of the response."""
        peer = self

        class Poll:
            def register(self, _: object, events: int) -> None:
                self._events = events

            def poll(self, wait_ms: float | None) -> list[tuple[int, int]]:
                return peer.poll(self._events, wait_ms)

        fake = SimpleNamespace(poll=Poll, POLLIN=select.POLLIN, POLLOUT=select.POLLOUT)
        monkeypatch.setattr(connection, "select", fake)
        monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.connection = Connection(cast(Channel, self), "the peer")
        return self.connection.exchange(b"head", memoryview(body), TIMEOUT_S).status


@pytest.mark.parametrize(
    "response", [GOOD, raw("HTTP/1.1 200 OK") + b"x" * 100, raw("HTTP/1.1 100 Continue") * 9]
)
def test_a_response_that_drips(response: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-out bounds the whole response, not the wait for each byte."""
    peer = FakePeer((0.7 * number, bytes([byte])) for number, byte in enumerate(response))
    with pytest.raises(TransportError, match="timed out while waiting for a complete response"):
        peer.exchange(b"body", monkeypatch)
    assert peer.now_s == pytest.approx(TIMEOUT_S, abs=0.01)


def test_a_request_that_drips_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that reads more slowly than SLOWEST_BYTES_PER_S does not hold a request for ever."""
    peer = FakePeer(step_s=1.0, step_bytes=SLOWEST_BYTES_PER_S // 2)
    with pytest.raises(TransportError, match="timed out while sending the request"):
        peer.exchange(bytes(MIB), monkeypatch)
    assert peer.now_s == pytest.approx(TIMEOUT_S + MIB / SLOWEST_BYTES_PER_S, abs=0.1)


def test_a_request_may_take_longer_than_the_time_out_while_it_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = FakePeer([(60.0, GOOD)], step_s=1.0, step_bytes=SLOWEST_BYTES_PER_S + KIB)
    assert peer.exchange(bytes(MIB), monkeypatch) == 200
    assert peer.now_s == 60.0


def test_a_response_ends_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = FakePeer([(1.0, http(413))], step_s=10.0)
    assert peer.exchange(b"body", monkeypatch) == 413
    assert peer.now_s == 1.0
    assert not peer.connection.reusable


def test_each_wait_while_sending_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = FakePeer(step_s=TIMEOUT_S + 1, step_bytes=MIB)
    with pytest.raises(TransportError, match="timed out while sending the request"):
        peer.exchange(bytes(MIB), monkeypatch)
    assert peer.now_s == TIMEOUT_S


class HalfClosedPeer(FakePeer):
    """A peer that ends its side of TLS without the closing message, and reads nothing."""

    n_received = 0

    def receive(self) -> memoryview:
        self.n_received += 1
        assert self.n_received < 9, "it asks for ever"
        raise ssl.SSLEOFError


def test_the_end_of_tls_ends_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there at every look, so waiting for room to write would not wait at all."""
    peer = HalfClosedPeer([(1.0, b"")], step_s=math.inf)
    with pytest.raises(NoResponseError, match="connection lost before a response"):
        peer.exchange(b"body", monkeypatch)
    assert peer.now_s == 1.0


class ChattyPeer(FakePeer):
    """A peer that sends messages of TLS all the time, which are no data."""

    def receive(self) -> memoryview:
        self.now_s += 0.01
        raise ssl.SSLWantReadError

    def poll(self, events: int, wait_ms: float | None) -> list[tuple[int, int]]:
        assert self.now_s < 1000, "it goes on for ever"
        return [(0, select.POLLIN)]


def test_messages_of_tls_do_not_hold_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Session tickets instead of a response: the time-out bounds them as well."""
    peer = ChattyPeer()
    with pytest.raises(TransportError, match="timed out while waiting for a complete response"):
        peer.exchange(b"body", monkeypatch)
    assert peer.now_s == pytest.approx(TIMEOUT_S, abs=0.02)


def test_messages_of_tls_are_no_progress_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer reads nothing of the request, and sends instead."""
    peer = ChattyPeer(step_s=1.0)
    with pytest.raises(TransportError, match="timed out while sending the request"):
        peer.exchange(bytes(MIB), monkeypatch)
    assert peer.now_s == pytest.approx(TIMEOUT_S, abs=0.02)


class RestlessPeer(FakePeer):
    """A socket that takes one byte at a time without ever making its user wait."""

    def push(self) -> bool:
        assert self.now_s < 1000, "it goes on for ever"
        self.now_s += 1.0
        return True


def test_a_request_that_never_waits_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = RestlessPeer()
    with pytest.raises(TransportError, match="timed out while sending the request"):
        peer.exchange(bytes(SLOWEST_BYTES_PER_S * 10), monkeypatch)
    assert peer.now_s == pytest.approx(TIMEOUT_S + 10, abs=1.1)


class DrippingPeer(FakePeer):
    """A peer whose next byte has always arrived; each takes half a second to read."""

    def receive(self) -> memoryview:
        index = int(self.now_s / 0.5)
        self.now_s += 0.5
        return memoryview((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100)[index : index + 1])


def test_bytes_that_are_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response whose bytes are never waited for is bounded in time, too."""

    peer = DrippingPeer([(0.0, b"")])
    with pytest.raises(TransportError, match="timed out while waiting for a complete response"):
        peer.exchange(b"body", monkeypatch)
    assert peer.now_s == pytest.approx(TIMEOUT_S, abs=0.6)


def test_an_idle_peer_that_sends_for_ever_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = FakePeer([(0.0, GOOD)])
    peer.exchange(b"body", monkeypatch)
    monkeypatch.setattr(peer, "receive", ChattyPeer.receive.__get__(peer))
    monkeypatch.setattr(peer, "poll", lambda events, _: [(0, select.POLLIN)])
    assert not peer.connection.is_alive()
    assert peer.now_s < 1.0


def test_no_response_in_time() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            server.released.wait(10)

        return script

    with serving(make) as (transport, _):
        started = time.monotonic()
        with pytest.raises(
            TransportError,
            match=r"timed out while waiting for a complete response.*check the network",
        ):
            post(transport, timeout_s=0.2)
        assert 0.19 < time.monotonic() - started < 5


def test_the_peer_does_not_read_the_request() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.released.wait(10)

        return script

    with serving(make) as (transport, _):
        started = time.monotonic()
        with pytest.raises(TransportError, match="timed out while sending the request"):
            post(transport, LARGE, timeout_s=0.2)
        assert 0.19 < time.monotonic() - started < 5


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_fresh_connection_without_a_response(end: Callable[[socket.socket], None]) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            end(sock)

        return script

    with serving(make) as (transport, server):
        with pytest.raises(NoResponseError, match="connection lost before a response"):
            post(transport)
        assert (server.n_connections, len(server.requests)) == (1, 1)


def test_a_kept_connection_with_half_a_response_is_not_replaced() -> None:
    with serving(responding(GOOD, GOOD[:-1])) as (transport, server):
        post(transport)
        with pytest.raises(TransportError, match="middle of the response"):
            post(transport)
        assert (server.n_connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("end", ["open", "closed", "reset"])
def test_a_response_before_the_request_is_out(end: str) -> None:
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


def test_an_early_response_that_would_keep_the_connection_does_not() -> None:
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
        assert post(transport, timeout_s=3.0).status == 200
        assert server.n_connections == 2


def test_an_interim_response_does_not_end_the_sending() -> None:
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
