"""The HTTP server: what it answers, that no peer holds it up, and that it ends."""

from __future__ import annotations

import errno
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from outputs import PATIENCE_S, eventually
from scraping import scrape

from kinesis_fast.metrics import endpoint, threads
from kinesis_fast.metrics.endpoint import MAX_HEAD, Endpoint, Page

PAGE = Page("text/plain; version=0.0.4", b"kinesis_fast_requests_total 1\n")


@contextmanager
def serving(page: Callable[[str], Page] = lambda _: PAGE) -> Iterator[Endpoint]:
    """Serve a page on a free port."""
    server = Endpoint(("127.0.0.1", 0), page)
    try:
        yield server
    finally:
        server.close()


def exchange(server: Endpoint, request: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    with socket.create_connection(server.address) as connection:
        connection.sendall(request)
        with suppress(OSError):  # the server has read enough, and has closed it
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
        return received


@pytest.mark.parametrize("path", ["/metrics", "/", "/metrics?collect=all"])
def test_a_page(path: str) -> None:
    with serving() as server:
        assert scrape(server.address[1], path) == (200, *PAGE)


def test_a_head_has_no_body() -> None:
    with serving() as server:
        text = exchange(server, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert text.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 30\r\n" in text
    assert text.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/other", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/x", 405),
    ],
)
def test_other_requests(method: str, path: str, status: int) -> None:
    with serving() as server:
        assert scrape(server.address[1], path, method=method).status == status
        assert scrape(server.address[1]).status == 200


def test_all_accept_headers_reach_the_page() -> None:
    seen = []
    with serving(lambda accept: seen.append(accept) or PAGE) as server:  # type: ignore[func-returns-value]
        exchange(server, b"GET / HTTP/1.1\r\nACCEPT: a/b\r\naccept:c/d\r\nX: accept\r\n\r\n")
    assert seen == ["a/b,c/d"]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\r\n\r\n",
        b"GET",
        b"GET /metrics HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(50)),
        b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD + 10) + b"\r\n\r\n",
    ],
)
def test_a_broken_request_harms_nothing(request_: bytes) -> None:
    with serving() as server:
        with suppress(ConnectionError):
            assert not exchange(server, request_).startswith(b"HTTP/1.1 200")
        assert scrape(server.address[1]).body == PAGE.body


def test_a_slow_peer_holds_others_up_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_S", 0.05)
    with serving() as server, socket.create_connection(server.address) as slow:
        slow.sendall(b"GET /metrics HT")
        assert slow.recv(1) == b""
        monkeypatch.setattr(endpoint, "REQUEST_S", PATIENCE_S)
        assert scrape(server.address[1]).status == 200


class Trickle:
    """A connection that brings a byte every half second of a clock of the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timeouts: list[float] = []

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def settimeout(self, seconds: float) -> None:
        """Note how long the next byte may take."""
        self.timeouts.append(seconds)

    def recv(self, _: int) -> bytes:
        """Bring a byte."""
        self.now += 0.5
        return b"x"


def test_all_bytes_of_a_request_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    trickle: Any = Trickle()
    monkeypatch.setattr(endpoint, "time", trickle)
    with pytest.raises(TimeoutError):
        endpoint._read_head(trickle, 102.0)
    assert trickle.timeouts == [2.0, 1.5, 1.0, 0.5]


def test_a_peer_that_reads_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_S", 0.05)

    def large(_: str) -> Page:
        monkeypatch.setattr(endpoint, "REQUEST_S", PATIENCE_S)  # for those who come later
        return Page("text/plain", b"x" * 50_000_000)

    pages: Iterator[Callable[[str], Page]] = iter([large, lambda _: PAGE])

    def page(accept: str) -> Page:
        return next(pages)(accept)

    with (
        serving(page) as server,
        socket.create_connection(server.address) as idle,
    ):
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert scrape(server.address[1]).status == 200


def test_a_peer_that_goes_away_harms_nothing() -> None:
    with serving() as server:
        for _ in range(20):
            with socket.create_connection(server.address) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert scrape(server.address[1]).status == 200


def test_a_page_that_cannot_be_made_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: str) -> Page:
        raise ValueError("no page")

    with serving(fail) as server:
        for _ in range(3):
            assert scrape(server.address[1]).status == 500
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the metrics cannot be written\n")
    assert "ValueError: no page" in line


def test_closing_frees_the_port() -> None:
    with serving() as server:
        address = server.address
        assert scrape(address[1]).status == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    again = Endpoint(address, lambda _: PAGE)
    again.close()
    again.close()


def test_closing_does_not_wait_for_an_idle_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_S", 0.05)
    with serving() as server, socket.create_connection(server.address):
        server.close()
        assert not server._thread.is_alive()


def test_a_taken_port_is_an_error() -> None:
    with serving() as server:
        with pytest.raises(OSError, match="in use") as caught:
            Endpoint(server.address, lambda _: PAGE)
        assert caught.value.errno == errno.EADDRINUSE


def test_nothing_is_left_open_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(threads, "start", no_thread)
    with pytest.raises(RuntimeError):
        Endpoint(("127.0.0.1", 0), lambda _: PAGE)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_ipv6() -> None:
    try:
        server = Endpoint(("::1", 0), lambda _: PAGE)
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        with socket.create_connection(server.address) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
    finally:
        server.close()


def test_the_thread_takes_no_signal_from_the_program() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with serving() as server:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        thread = server._thread
        assert thread.daemon
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    blocked = int(re.findall(r"^SigBlk:\s+(\w+)$", status, re.M)[0], 16)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        assert blocked & 1 << (number - 1), number


def test_an_accept_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        accepted = threading.Event()
        real = server._listener

        class Full:
            """A listener that has no descriptor left, once."""

            def accept(self) -> tuple[socket.socket, object]:
                if not accepted.is_set():
                    accepted.set()
                    raise OSError(errno.EMFILE, "too many open files")
                return real.accept()

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        monkeypatch.setattr(server, "_listener", Full())
        monkeypatch.setattr(time, "sleep", lambda _: None)
        assert scrape(server.address[1]).status == 200
        eventually(accepted.is_set)
