"""One connection to the service: sends a request and receives its response, within bounds.

The channel does not block; this module waits. So it can watch for a response while it is still
sending: once the service has responded, it may not read the rest of the request.
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
from kinesis_fast.transport.secrets import presentable

MAX_POLL_MS: Final = 2**31 - 1
MAX_UNASKED: Final = 16  # buffers of TLS messages on an idle connection; a few tickets fill one
SENDING_LATE: Final = "timed out while sending the request"


class NoResponseError(TransportError):
    """The peer closed or reset the connection before it sent a byte of response."""


class Connection:
    """Sends one request after another over a channel. One thread at a time uses it.

    Args:
        channel: belongs to this object from now on.
        address: the peer, for errors.
    """

    def __init__(self, channel: Channel, address: str) -> None:
        self._channel = channel
        self._address = address
        self._is_cut = False  # whether the request was not sent to its end
        self._reader = ResponseReader()
        self._readable = _poll(channel, select.POLLIN)
        self._either = _poll(channel, select.POLLIN | select.POLLOUT)
        self.is_new = True  # until the pool keeps it for the first time

    @property
    def reusable(self) -> bool:
        """Whether a further request may be sent, as far as the last exchange tells."""
        return self._reader.reusable and not self._is_cut

    def is_alive(self) -> bool:
        """Tell whether the peer has neither closed this idle connection nor sent anything."""
        for _ in range(MAX_UNASKED):
            if not self._channel.has_unread and not self._readable.poll(0):
                return True
            try:
                self._channel.receive()
            except WOULD_BLOCK:  # it was a TLS session ticket, which is not data
                continue
            except OSError:
                pass
            return False
        return False

    def exchange(self, head: bytes, body: memoryview, timeout_s: float | None) -> Response:
        """Send a request and wait for its response; see limits.py for the bounds.

        Args:
            head: request line and headers, with the empty line.
            body: must not change during the call.
            timeout_s: seconds, None for no bound.

        Raises:
            NoResponseError: the peer closed or reset the connection before a byte of response.
            TransportError: no complete response in time, or it is not HTTP.
            OSError: the network fails in another way.
        """
        self._reader.reset()
        self._is_cut = False
        self._channel.queue(head, body)
        try:
            self._write(len(head) + len(body), timeout_s)
        finally:
            self._channel.drop()
        self._read(timeout_s)
        return self._reader.response()

    def tls_session(self) -> tuple[ssl.SSLContext, ssl.SSLSession] | None:
        """Return the session that shortens a later handshake, and the context it belongs to."""
        return self._channel.tls_session()

    def close(self) -> None:
        """Close the socket, without TLS's closing message."""
        self._reader.close()
        self._channel.close()

    def _write(self, n_bytes: int, timeout_s: float | None) -> None:
        """Send the request, or as much as the peer takes until a response begins."""
        deadline_s = _deadline(timeout_s, n_bytes / SLOWEST_BYTES_PER_S)
        stalled_s = None  # when the peer has to take more; whatever else it sends does not count
        has_more = True
        while has_more and not self._is_cut:
            try:
                has_more = self._channel.push()
                stalled_s = None
            except WOULD_BLOCK as error:
                if stalled_s is None and timeout_s is not None:
                    stalled_s = time.monotonic() + timeout_s
                self._wait_to_write(error, _earlier(stalled_s, deadline_s))
            except (ConnectionError, ssl.SSLEOFError):
                self._is_cut = True  # a response that came before is read next
            if has_more and _left(deadline_s) == 0:
                raise self._error(SENDING_LATE)

    def _wait_to_write(self, reason: OSError, deadline_s: float | None) -> None:
        """Wait until more can be sent; cut the request short if a response or the end arrives."""
        poll = self._readable if isinstance(reason, ssl.SSLWantReadError) else self._either
        events = self._wait(poll, _left(deadline_s), SENDING_LATE)
        if events & ~select.POLLOUT:
            with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
                n = self._receive()
                self._is_cut = n == 0 or self._reader.is_final

    def _read(self, timeout_s: float | None) -> None:
        """Receive until the response is complete."""
        deadline_s = _deadline(timeout_s)
        late = "timed out while waiting for a complete response"
        if not self._reader.started and not self._channel.has_unread:
            self._wait(self._readable, timeout_s, late)
        while not self._reader.complete:
            try:
                n = self._receive()
            except (ConnectionError, ssl.SSLEOFError) as error:
                raise self._lost(f"{type(error).__name__}: {presentable(error)}") from error
            if n is None:
                self._wait(self._readable, _left(deadline_s), late)
            elif n == 0 and not self._reader.end():
                raise self._lost("closed by the peer")
            elif not self._reader.complete and _left(deadline_s) == 0:
                raise self._error(late)

    def _receive(self) -> int | None:
        """Feed the reader. Returns the number of bytes, None if none has come, 0 at the end.

        Raises:
            TransportError: what arrived cannot be a response.
        """
        try:
            data = self._channel.receive()
        except WOULD_BLOCK:
            return None
        if data:
            try:
                self._reader.feed(data)
            except ValueError as error:
                raise self._error(presentable(error)) from error
        return len(data)

    def _wait(self, poll: select.poll, wait_s: float | None, late: str) -> int:
        """Wait for an event. No time left is too late, even if bytes keep coming."""
        if wait_s is not None and wait_s <= 0:
            raise self._error(late)
        events = poll.poll(None if wait_s is None else min(math.ceil(wait_s * 1000), MAX_POLL_MS))
        if not events:
            raise self._error(late)
        return events[0][1]

    def _lost(self, how: str) -> TransportError:
        if self._reader.started:
            return self._error(f"connection lost in the middle of the response: {how}")
        return self._error(f"connection lost before a response: {how}", NoResponseError)

    def _error(self, text: str, kind: type[TransportError] = TransportError) -> TransportError:
        return kind(f"{text} ({self._address}); {CHECK_NETWORK}")


def _poll(channel: Channel, events: int) -> select.poll:
    poll = select.poll()
    poll.register(channel, events)
    return poll


def _deadline(timeout_s: float | None, more_s: float = 0.0) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s + more_s


def _earlier(one_s: float | None, other_s: float | None) -> float | None:
    return other_s if one_s is None or other_s is None else min(one_s, other_s)


def _left(deadline_s: float | None) -> float | None:
    return None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
