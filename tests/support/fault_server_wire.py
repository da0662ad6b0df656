"""HTTP on a socket, byte by byte, and ways to break a connection."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from typing import Final, NamedTuple

BLOCK: Final = 65536
MAX_LINE: Final = 65536  # bytes of a line of a request
NO_LINGER: Final = struct.pack("ii", 1, 0)  # close() sends a reset


class GoneError(Exception):
    """The peer has closed the connection."""


class Head(NamedTuple):
    """A request without its body."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case


class Wire:
    """A connection of the server.

    Args:
        connection: its socket; closed by `close` or `reset`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()
        self._was_reset = False

    def head(self) -> Head | None:
        """Read a request up to its body; None when the peer has closed the connection."""
        line = self._line()
        if not line:
            return None
        method, path, _ = line.split(" ", 2)
        headers: dict[str, str] = {}
        while header := self._line():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        return Head(method, path, headers)

    def read(self, n_bytes: int) -> bytes:
        """Read exactly that many bytes."""
        while len(self._buffer) < n_bytes:
            if not self._more():
                raise GoneError
        taken = bytes(self._buffer[:n_bytes])
        del self._buffer[:n_bytes]
        return taken

    def send(self, data: bytes) -> None:
        """Send all of it."""
        try:
            self._socket.sendall(data)
        except OSError:
            raise GoneError from None

    def wait_for_end(self) -> None:
        """Wait until the peer has closed the connection, and discard what it sends."""
        while self._more():
            self._buffer.clear()

    def say_end(self) -> None:
        """Send the close_notify of TLS, and wait briefly for that of the peer."""
        if isinstance(self._socket, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self._socket.settimeout(1.0)
                self._socket.unwrap()

    def shut(self) -> None:
        """Send the end of the connection below TLS, and go on reading."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def is_gone(self) -> bool:
        """Whether the peer has closed the connection, even if data is still unread."""
        return bool(self._events(select.POLLRDHUP))

    def left_unread(self) -> bool:
        """Whether the peer closed the connection before it read all that was sent."""
        return self._was_reset or bool(self._events(0) & select.POLLERR)

    def _events(self, mask: int) -> int:
        """Return the events of the socket in the mask, and errors; 0 when it is closed here."""
        with contextlib.suppress(ValueError, OSError):
            poll = select.poll()
            poll.register(self._socket, mask)
            return sum(events for _, events in poll.poll(0))
        return 0

    def reset(self) -> None:
        """Close the connection with a reset."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._socket.close()

    def close(self) -> None:
        """Close the connection as usual, also when it was reset before."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _line(self) -> str:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE or not self._more():
                return ""
        line = self._buffer[:end].decode("latin-1").rstrip("\r")
        del self._buffer[: end + 1]
        return line

    def _more(self) -> bool:
        try:
            block = self._socket.recv(BLOCK)
        except ConnectionResetError:
            self._was_reset = True
            return False
        except OSError:
            return False
        self._buffer += block
        return bool(block)
