"""A server on a loopback socket; the test decides what it sends and when."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

# What to do with a connection, and its ordinal from 1; the connection is closed afterwards.
Script = Callable[[socket.socket, int], None]
PATIENCE_S = 20.0


class ScriptedServer:
    """Runs a script for each connection, in a thread of its own.

    Args:
        script: may end with any error of the socket.
        tls: with what to encrypt; None for plain HTTP.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.n_connections = 0
        self.requests: list[bytes] = []  # bodies that arrived as a whole, see `read`
        self.released = threading.Event()  # at the end of the test; scripts may wait for it
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """Return http://127.0.0.1:PORT, or https."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def read(self, sock: socket.socket) -> bytes | None:
        """Read one request. Returns its body, None when the client has closed the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        n_bytes = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        parts, n_read = [body], len(body)
        while n_read < n_bytes:
            parts.append(sock.recv(1 << 20))
            if not parts[-1]:
                return None
            n_read += len(parts[-1])
        whole = b"".join(parts)
        self.requests.append(whole)
        return whole

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self._run, args=(sock, self.n_connections), daemon=True).start()

    def _run(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(PATIENCE_S)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with sock:
                self._script(sock, number)
        except OSError:
            sock.close()


def reset(sock: socket.socket) -> None:
    """Close a connection with a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
