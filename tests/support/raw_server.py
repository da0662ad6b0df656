"""A server on a loopback socket that shows what really arrives, byte for byte."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple, Self


class Arrived(NamedTuple):
    """One HTTP request."""

    line: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int  # ordinal of the connection it came on


Handler = Callable[[Arrived], bytes | None]


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a response."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class RawServer:
    """Reads requests and sends what the handler returns for each; None closes the connection.

    Args:
        handler: called with each request, by the thread of its connection.
        tls: with what to encrypt; None for plain HTTP.
    """

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.arrived: list[Arrived] = []
        self._handler = handler
        self._lock = threading.Lock()
        self._n_connections = 0
        outer = self

        class Connection(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the peer did not wait
                    outer._serve(self)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Return http://127.0.0.1:PORT, or https."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _serve(self, connection: socketserver.StreamRequestHandler) -> None:
        with self._lock:
            self._n_connections += 1
            number = self._n_connections
        while line := connection.rfile.readline().decode().strip():
            headers: dict[str, str] = {}
            while header := connection.rfile.readline().decode().strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            n_bytes = int(headers.get("content-length", "0"))
            body = connection.rfile.read(n_bytes)
            if len(body) < n_bytes:
                return
            arrived = Arrived(line, headers, body, number)
            with self._lock:
                self.arrived.append(arrived)
            response = self._handler(arrived)
            if response is None:
                return
            connection.wfile.write(response)
