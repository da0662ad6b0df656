"""Serves metrics over HTTP: one thread for each address, one request at a time."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from kinesis_fast.logs import LOGGER, LogLimit
from kinesis_fast.metrics import threads
from kinesis_fast.transport.secrets import failure_text

BACKLOG: Final = 16  # connections that wait
REQUEST_S: Final = 2.0  # for one request and its response; the next one waits so long at most
JOIN_S: Final = REQUEST_S + 1.0
MAX_HEAD: Final = 16 * 1024  # bytes
PATHS: Final = ("/", "/metrics")

Address = tuple[str, int]


class Page(NamedTuple):
    """What a request for the metrics gets."""

    content_type: str
    body: bytes


class Endpoint:
    """An HTTP server for one page; it listens from the start.

    Args:
        address: IP address and port; port 0 takes a free one.
        page: makes the page for the value of the header Accept; called by the thread of the server.

    Raises:
        OSError: the address is in use, or does not belong to this machine.
        RuntimeError: the system has no more threads.
    """

    def __init__(self, address: Address, page: Callable[[str], Page]) -> None:
        self._page = page
        self._log_limit = LogLimit(time.monotonic)
        self._connection: socket.socket | None = None
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=BACKLOG)
        self._woken, self._wake = socket.socketpair()
        self.address: Address = self._listener.getsockname()[:2]
        try:
            self._thread = threads.start("kinesis-fast-metrics", self._serve)
        except BaseException:
            self.forget()
            raise

    def close(self) -> None:
        """Stop listening, after the response that is being sent."""
        with contextlib.suppress(OSError):  # the thread has ended
            self._wake.send(b"\0")
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    def forget(self) -> None:
        """Close what a forked child has of its parent's server, which goes on."""
        for inherited in (self._listener, self._connection, self._woken, self._wake):
            if inherited is not None:
                inherited.close()

    def _serve(self) -> None:
        poll = select.poll()
        woken = self._woken.fileno()
        for descriptor in (self._listener.fileno(), woken):
            poll.register(descriptor, select.POLLIN)
        try:
            while not any(ready == woken for ready, _ in poll.poll()):
                self._accept()
        finally:
            self.forget()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the peer has gone, or there are no descriptors left
            time.sleep(0.1)
            return
        self._connection = connection
        try:
            self._answer(connection)
        except OSError:  # the peer is slow, or has gone
            pass
        except Exception:
            if self._log_limit.count():
                LOGGER.error("a request for metrics failed\n%s", failure_text())
        finally:
            self._connection = None
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + REQUEST_S
        head = _read_head(connection, deadline)
        if head is None:
            return
        response = self._response(head)
        _set_timeout(connection, deadline)
        connection.sendall(response)
        # Closing with unread bytes would reset the connection, and the peer lose the response.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(MAX_HEAD):
            _set_timeout(connection, deadline)

    def _response(self, head: str) -> bytes:
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return _message(
                "405 Method Not Allowed", "text/plain", b"use GET\n", "Allow: GET, HEAD"
            )
        if path not in PATHS:
            return _message("404 Not Found", "text/plain", b"the metrics are at /metrics\n")
        headers = (line.partition(":") for line in lines)
        accept = ",".join(value.strip() for name, _, value in headers if name.lower() == "accept")
        try:
            page = self._page(accept)
        except Exception:
            if self._log_limit.count():
                LOGGER.error("the metrics cannot be written\n%s", failure_text())
            return _message("500 Internal Server Error", "text/plain", b"see the log\n")
        message = _message("200 OK", page.content_type, page.body)
        return message if method == "GET" else message.removesuffix(page.body)


def _message(status: str, content_type: str, body: bytes, *headers: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def _read_head(connection: socket.socket, deadline: float) -> str | None:
    """Return request line and headers; None if the peer closes first or sends too much."""
    head = b""
    while b"\r\n\r\n" not in head:
        _set_timeout(connection, deadline)
        received = connection.recv(MAX_HEAD - len(head))
        head += received
        if not received:
            return None
    return head.partition(b"\r\n\r\n")[0].decode("latin-1")


def _set_timeout(connection: socket.socket, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)
