"""Bytes to and from a socket that does not block: in the clear here, through TLS in tls.py.

All sending says MSG_NOSIGNAL: a host process that embeds Python may not ignore SIGPIPE.
"""

import socket
import ssl
from typing import Final, Protocol

from kinesis_fast.limits import KIB

BUFFER_BYTES: Final = 64 * KIB  # for what arrives; the answer for 500 records fits
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError)


class Channel(Protocol):
    """Two ways for bytes; used by one thread at a time.

    Errors of the network are `OSError`; `ConnectionError` and `ssl.SSLEOFError` mean that the other
    side is gone.
    """

    @property
    def has_unread(self) -> bool:
        """Whether something has been taken off the socket that nobody has asked for yet."""

    def fileno(self) -> int:
        """The socket's descriptor, to wait for it."""

    def begin(self, head: bytes, body: memoryview) -> None:
        """Say what is to be sent, which does not change until `push` or `drop` has ended it."""

    def push(self) -> bool:
        """Send as much as the socket takes at once. Returns whether more is to be sent.

        Raises:
            BlockingIOError: the socket takes nothing now.
            ssl.SSLWantReadError: something has to be received before.
        """

    def drop(self) -> None:
        """Send no more of it, and let go of its memory."""

    def receive(self) -> memoryview:
        """Return what has arrived, empty at the end; it is good until the next call.

        Raises:
            WOULD_BLOCK: nothing is there now.
        """

    def tls_session(self) -> tuple[ssl.SSLContext, ssl.SSLSession] | None:
        """Return what makes a later handshake short, and the context it belongs to."""

    def close(self) -> None:
        """Close the socket, without a word to the other side."""


class PlainChannel:
    """A `Channel` without TLS.

    Args:
        sock: connected; belongs to this object from now on.
    """

    has_unread: Final = False

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._parts: list[memoryview] = []
        self._buffer = memoryview(bytearray(BUFFER_BYTES))

    def fileno(self) -> int:
        """See `Channel`."""
        return self._sock.fileno()

    def begin(self, head: bytes, body: memoryview) -> None:
        """See `Channel`."""
        self._parts = [memoryview(head), body]

    def push(self) -> bool:
        """See `Channel`."""
        n = self._sock.sendmsg(self._parts, (), socket.MSG_NOSIGNAL)
        while self._parts and n >= len(self._parts[0]):
            n -= len(self._parts.pop(0))
        if n:
            self._parts[0] = self._parts[0][n:]
        return bool(self._parts)

    def drop(self) -> None:
        """See `Channel`."""
        self._parts = []

    def receive(self) -> memoryview:
        """See `Channel`."""
        return self._buffer[: self._sock.recv_into(self._buffer)]

    def tls_session(self) -> None:
        """See `Channel`: there is none."""

    def close(self) -> None:
        """See `Channel`."""
        self._sock.close()
