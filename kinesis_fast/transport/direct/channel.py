"""Bytes to and from a non-blocking socket: without TLS here, with TLS in tls.py.

All sending uses MSG_NOSIGNAL: a process that embeds Python may not ignore SIGPIPE.
"""

import socket
import ssl
from typing import Final, Protocol

from kinesis_fast.limits import KIB

BUFFER_BYTES: Final = 64 * KIB  # for what arrives; holds the response for 500 records
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError)


class Channel(Protocol):
    """Carries bytes both ways. One thread at a time uses it.

    Errors of the network are `OSError`; `ConnectionError` and `ssl.SSLEOFError` mean that the peer
    is gone.
    """

    @property
    def has_unread(self) -> bool:
        """Whether bytes were read from the socket that `receive` has not returned yet."""

    def fileno(self) -> int:
        """The socket's descriptor, to poll it."""

    def queue(self, head: bytes, body: memoryview) -> None:
        """Queue one request. The body must not change until push() returns False, or drop()."""

    def push(self) -> bool:
        """Send as much as the socket takes at once. Returns whether more is to be sent.

        Raises:
            BlockingIOError: the socket takes nothing now.
            ssl.SSLWantReadError: TLS has to receive something first.
        """

    def drop(self) -> None:
        """Send no more of the queued request, and release its memory."""

    def receive(self) -> memoryview:
        """Return what has arrived, empty at the end. It is valid until the next call.

        Raises:
            WOULD_BLOCK: nothing has arrived, or nothing but messages of TLS.
        """

    def tls_session(self) -> tuple[ssl.SSLContext, ssl.SSLSession] | None:
        """Return the session that shortens a later handshake, and the context it belongs to."""

    def close(self) -> None:
        """Close the socket, without TLS's closing message."""


class PlainChannel(Channel):
    """A `Channel` without TLS.

    Args:
        sock: connected; belongs to this object from now on.
    """

    has_unread = False

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._parts: list[memoryview] = []
        self._buffer = memoryview(bytearray(BUFFER_BYTES))

    def fileno(self) -> int:
        return self._sock.fileno()

    def queue(self, head: bytes, body: memoryview) -> None:
        self._parts = [memoryview(head), body]

    def push(self) -> bool:
        n = self._sock.sendmsg(self._parts, (), socket.MSG_NOSIGNAL)
        while self._parts and n >= len(self._parts[0]):
            n -= len(self._parts.pop(0))
        if n:
            self._parts[0] = self._parts[0][n:]
        return bool(self._parts)

    def drop(self) -> None:
        self._parts = []

    def receive(self) -> memoryview:
        return self._buffer[: self._sock.recv_into(self._buffer)]

    def tls_session(self) -> None:
        return None

    def close(self) -> None:
        self._sock.close()
