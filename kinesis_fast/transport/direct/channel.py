"""Bytes to and from a non-blocking socket: what plain.pyx, and with TLS tls.pyx, offer.

All sending uses MSG_NOSIGNAL: a process that embeds Python may not ignore SIGPIPE.
"""

import ssl
import time
from typing import Final, Protocol

from kinesis_fast.limits import KIB, MAX_ANSWER_BYTES

BUFFER_BYTES: Final = 64 * KIB  # for what arrives; holds the response for 500 records
# What may come from the socket for one request: the response, and all that TLS adds.
MAX_WIRE_BYTES: Final = 2 * MAX_ANSWER_BYTES
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


def socket_timeout(deadline_s: float | None, n_shares: int = 1) -> float | None:
    """Return one share of the time until a deadline, fit for socket.settimeout().

    Args:
        deadline_s: of time.monotonic(), None for no bound.
        n_shares: how many parts to divide the time into, at least 1.

    Raises:
        TimeoutError: the deadline has passed.
    """
    if deadline_s is None:
        return None
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s / n_shares
