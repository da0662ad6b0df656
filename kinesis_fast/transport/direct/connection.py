"""One connection to the service: a request goes out, its answer comes in, all within bounds.

The channel does not block; waiting is done here, because an answer may come before the request is
out, and then nobody may be left to take the rest of it.
"""

import contextlib
import math
import select
import ssl
import time
from typing import Final

from kinesis_fast.errors import TransportError
from kinesis_fast.limits import SLOWEST_BYTES_PER_S
from kinesis_fast.transport import Response
from kinesis_fast.transport.direct.channel import WOULD_BLOCK, Channel
from kinesis_fast.transport.direct.response import ResponseReader
from kinesis_fast.transport.errors import CHECK_NETWORK

MAX_POLL_MS: Final = 2**31 - 1


class UnansweredError(TransportError):
    """The other side closed the connection before a byte of the answer; nothing else went wrong."""


class Connection:
    """What takes one request after the other over a channel; used by one thread at a time.

    Args:
        channel: belongs to this object from now on.
        address: the other side, for errors.
    """

    def __init__(self, channel: Channel, address: str) -> None:
        self._channel = channel
        self._address = address
        self._is_cut = False
        self._reader = ResponseReader()
        self._readable = _poll(channel, select.POLLIN)
        self._either = _poll(channel, select.POLLIN | select.POLLOUT)
        self.idle_since_s = 0.0  # of time.monotonic(), when the last answer was complete
        self.is_new = True  # until it is given back for the first time

    @property
    def reusable(self) -> bool:
        """Whether a further request may be sent, as far as the last one and its answer say."""
        return self._reader.reusable and not self._is_cut

    def is_alive(self) -> bool:
        """Look whether the other side has neither closed an idle connection nor said anything."""
        if not self._channel.has_unread and not self._readable.poll(0):
            return True
        try:
            self._channel.receive()
        except WOULD_BLOCK:  # it was a ticket for a TLS session, which is no data
            return True
        except OSError:
            pass
        return False

    def exchange(self, head: bytes, body: memoryview, timeout_s: float | None) -> Response:
        """Send a request and wait for its answer; see limits.py for the bounds.

        Raises:
            UnansweredError: the connection was closed or reset before a byte of an answer.
            TransportError: there is no answer or no complete one in time, or it is no HTTP.
            OSError: the network fails in another way.
        """
        self._reader.begin()
        self._is_cut = False  # whether the request was not sent to its end
        self._channel.begin(head, body)
        try:
            self._write(len(head) + len(body), timeout_s)
        finally:
            self._channel.drop()
        self._read(timeout_s)
        self.idle_since_s = time.monotonic()
        return self._reader.response()

    def tls_session(self) -> tuple[ssl.SSLContext, ssl.SSLSession] | None:
        """Return what makes a later handshake short, and the context it belongs to."""
        return self._channel.tls_session()

    def close(self) -> None:
        """Close it, without a word to the other side."""
        self._reader.close()
        self._channel.close()

    def _write(self, n_bytes: int, timeout_s: float | None) -> None:
        """Send all, or as much as it takes until an answer begins."""
        patience = None if timeout_s is None else timeout_s + n_bytes / SLOWEST_BYTES_PER_S
        deadline_s = _deadline(patience)
        has_more = True
        while has_more:
            try:
                has_more = self._channel.push()
            except WOULD_BLOCK as error:
                self._wait_to_write(error, timeout_s, deadline_s)
                if self._is_cut:
                    return
            except (ConnectionError, ssl.SSLEOFError):
                self._is_cut = True
                return  # an answer that came before is read next

    def _wait_to_write(
        self, reason: OSError, timeout_s: float | None, deadline_s: float | None
    ) -> None:
        """Wait until more can be sent; when an answer or the end arrives instead, cut it short."""
        left_s = _left(deadline_s)
        wait_s = left_s if timeout_s is None or left_s is None else min(timeout_s, left_s)
        poll = self._readable if isinstance(reason, ssl.SSLWantReadError) else self._either
        events = self._wait(poll, wait_s, "the request could not be sent")
        if events & ~select.POLLOUT:
            with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
                n = self._receive()
                self._is_cut = n == 0 or self._reader.is_final

    def _read(self, timeout_s: float | None) -> None:
        """Receive until the answer is complete."""
        deadline_s = _deadline(timeout_s)
        what = "no complete answer"
        if not self._reader.started and not self._channel.has_unread:
            self._wait(self._readable, timeout_s, what)
        while not self._reader.complete:
            try:
                n = self._receive()
            except (ConnectionError, ssl.SSLEOFError) as error:
                raise self._lost(f"{type(error).__name__}: {error}") from error
            if n is None:
                self._wait(self._readable, _left(deadline_s), what)
            elif n == 0 and not self._reader.end():
                raise self._lost("closed by the other side")

    def _receive(self) -> int | None:
        """Feed the reader. Returns how many bytes there were, None for nothing yet, 0 for the end.

        Raises:
            TransportError: what arrived is not fit to be an answer.
        """
        try:
            data = self._channel.receive()
        except WOULD_BLOCK:
            return None
        if data:
            try:
                self._reader.feed(data)
            except ValueError as error:
                raise self._trouble(str(error)) from error
        return len(data)

    def _wait(self, poll: select.poll, wait_s: float | None, what: str) -> int:
        events = poll.poll(None if wait_s is None else min(math.ceil(wait_s * 1000), MAX_POLL_MS))
        if not events:
            raise self._trouble(f"{what} in time")
        return events[0][1]

    def _lost(self, how: str) -> TransportError:
        if not self._reader.started:
            return UnansweredError(self._text(f"connection lost before an answer: {how}"))
        return self._trouble(f"connection lost in the middle of the answer: {how}")

    def _trouble(self, what: str) -> TransportError:
        return TransportError(self._text(what))

    def _text(self, what: str) -> str:
        return f"{what} ({self._address}); {CHECK_NETWORK}"


def _poll(channel: Channel, events: int) -> select.poll:
    poll = select.poll()
    poll.register(channel, events)
    return poll


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _left(deadline_s: float | None) -> float | None:
    return None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
