"""An endpoint that can be down: it passes connections on to a server, or refuses them."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

BLOCK = 65536


class Gate:
    """A port on the loopback, closed at first.

    Args:
        port: of the server on the loopback that connections are passed on to.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = _bound(0)  # bound without listening: connections are refused
        self._port = self._listener.getsockname()[1]
        self._acceptor: threading.Thread | None = None
        self._connections: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Pass connections on from now on."""
        self._listener.listen()
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def shut(self) -> None:
        """Break all connections and refuse new ones."""
        if self._acceptor is None:
            return
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() would not
        self._acceptor.join()
        self._acceptor = None
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for pump in self._pumps:
            pump.join()
        for connection in self._connections:
            connection.close()
        self._connections, self._pumps = [], []
        self._listener.close()
        self._listener = _bound(self._port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.create_connection(self._target)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections += [client, server]
            for ends in ((client, server), (server, client)):
                pump = threading.Thread(target=_pump, args=ends)
                self._pumps.append(pump)
                pump.start()


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until either side ends, then end the other."""
    with contextlib.suppress(OSError):
        while block := source.recv(BLOCK):
            sink.sendall(block)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
