"""Which connections are kept, which one is used next, and when they are closed."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
from direct import GOOD, direct, post, serving
from raw_server import Arrived, RawServer, http
from scripted_server import Script, ScriptedServer

from kinesis_fast.limits import MAX_IDLE_S
from kinesis_fast.transport.direct.connection import Connection
from kinesis_fast.transport.direct.connector import Connector
from kinesis_fast.transport.direct.pool import Pool


class FakeConnection:
    """Counts how often it is closed."""

    def __init__(self) -> None:
        self.is_new = True
        self.reusable = True
        self.alive = True
        self.n_closed = 0

    def is_alive(self) -> bool:
        return self.alive

    def close(self) -> None:
        self.n_closed += 1


class Bench:
    """A pool with a clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.remembered: list[object] = []
        self.remembers: Callable[[object], object] = lambda _: None
        self.looks_at_clock: Callable[[], object] = lambda: None
        self.pool = Pool(cast(Connector, self), self._clock)

    def _clock(self) -> float:
        self.looks_at_clock()
        return self.now_s

    def remember(self, connection: object) -> None:
        self.remembered.append(connection)
        self.remembers(connection)

    def release(self, *connections: FakeConnection) -> None:
        for connection in connections:
            self.pool.release(cast(Connection, connection), self.pool.generation)

    def acquire(self) -> object:
        return self.pool.acquire()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_connection_used_last_is_the_next(bench: Bench) -> None:
    first, second = FakeConnection(), FakeConnection()
    bench.release(first, second)
    assert [bench.acquire(), bench.acquire(), bench.acquire()] == [second, first, None]


def test_the_oldest_idle_connections_are_closed_while_others_are_busy(bench: Bench) -> None:
    """One at a time is enough: a release adds one at most."""
    old = [FakeConnection() for _ in range(3)]
    busy = FakeConnection()
    bench.release(*old, busy)
    closed = []
    for _ in range(5):
        bench.now_s += MAX_IDLE_S / 2 - 1
        assert bench.acquire() is busy
        bench.release(busy)
        closed.append([connection.n_closed for connection in old])
    assert closed == [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert busy.n_closed == 0
    assert [bench.acquire(), bench.acquire()] == [busy, None]


def test_a_connection_that_was_idle_for_long_is_closed(bench: Bench) -> None:
    connection = FakeConnection()
    bench.release(connection)
    bench.now_s += MAX_IDLE_S - 1
    assert bench.acquire() is connection
    bench.release(connection)
    bench.now_s += MAX_IDLE_S
    assert bench.acquire() is None
    assert connection.n_closed == 1


def test_a_connection_that_the_peer_has_closed_is_closed(bench: Bench) -> None:
    good, gone = FakeConnection(), FakeConnection()
    gone.alive = False
    bench.release(good, gone)
    assert bench.acquire() is good
    assert (good.n_closed, gone.n_closed) == (0, 1)


def test_a_connection_that_is_not_reusable_is_closed(bench: Bench) -> None:
    connection = FakeConnection()
    connection.reusable = False
    bench.release(connection)
    assert connection.n_closed == 1
    assert bench.acquire() is None
    assert bench.remembered == []


def test_a_closed_pool_keeps_nothing(bench: Bench) -> None:
    idle, busy = FakeConnection(), FakeConnection()
    bench.release(idle)
    bench.pool.close()
    bench.release(busy)
    assert (idle.n_closed, busy.n_closed) == (1, 1)
    assert bench.acquire() is None


def test_closing_during_a_release_leaves_nothing_open(bench: Bench) -> None:
    """Another thread may close the pool at any moment of a release."""
    old, new = FakeConnection(), FakeConnection()
    bench.release(old)
    bench.remembers = lambda _: bench.pool.close()
    bench.release(new)
    assert (old.n_closed, new.n_closed) == (1, 1)


def test_closing_while_the_oldest_is_looked_at_leaves_nothing_open(bench: Bench) -> None:
    old, new = FakeConnection(), FakeConnection()
    bench.release(old, new)
    assert bench.acquire() is new
    looks = iter((lambda: None, bench.pool.close))  # at the clock: when it is kept, at the oldest

    def look() -> None:
        next(looks)()

    bench.looks_at_clock = look
    bench.release(new)
    assert (old.n_closed, new.n_closed) == (1, 1)


def test_after_a_renewal_no_connection_of_before_is_used(bench: Bench) -> None:
    idle, busy, new = FakeConnection(), FakeConnection(), FakeConnection()
    bench.release(idle)
    generation = bench.pool.generation
    bench.pool.renew()
    bench.release(new)
    bench.pool.release(cast(Connection, busy), generation)
    assert (idle.n_closed, busy.n_closed, new.n_closed) == (1, 1, 0)
    assert [bench.acquire(), bench.acquire()] == [new, None]


def test_a_renewal_during_a_release_leaves_nothing_of_before(bench: Bench) -> None:
    """Another thread may renew the pool at any moment of a release."""
    connection = FakeConnection()
    bench.remembers = lambda _: bench.pool.renew()
    bench.release(connection)
    assert connection.n_closed == 1
    assert bench.acquire() is None


def test_the_tls_session_is_remembered_once_for_a_connection(bench: Bench) -> None:
    first, second = FakeConnection(), FakeConnection()
    bench.release(first, second)
    bench.acquire()
    bench.release(second)
    assert bench.remembered == [first, second]


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


def test_a_response_that_may_be_about_the_idle_time_ends_the_connection() -> None:
    """A peer may send 408 to an idle connection just when a request goes out, and then respond."""

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            while server.read(sock) is not None:
                sock.sendall(http(408) if number == 1 and len(server.requests) == 2 else GOOD)

        return script

    with serving(make) as (transport, server):
        found = [post(transport, b"%d" % number).status for number in range(3)]
        assert found == [200, 408, 200]
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


@pytest.mark.heavy
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
            responses = list(executor.map(lambda body: post(transport, body).body, bodies))
        assert responses == [body[::-1] for body in bodies]
        assert {arrived.connection for arrived in server.arrived} == {1, 2, 3, 4}
        for _ in range(3):
            post(transport)
        assert len({arrived.connection for arrived in server.arrived[-3:]}) == 1
        transport.close()
