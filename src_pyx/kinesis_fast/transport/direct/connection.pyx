"""One connection to the service: sends a request and receives its response, within bounds.

The channel does not block; this module waits. So it can watch for a response while it is still
sending: once the service has responded, it may not read the rest of the request.
"""

import select
import time
from math import ceil
from ssl import SSLEOFError, SSLWantReadError

from libc.math cimport INFINITY

from kinesis_fast.errors import TransportError
from kinesis_fast.limits import SLOWEST_BYTES_PER_S
from kinesis_fast.transport.direct.channel import WOULD_BLOCK
from kinesis_fast.transport.direct.response_reader import ResponseReader
from kinesis_fast.transport.errors import CHECK_NETWORK
from kinesis_fast.transport.secrets import presentable

MAX_POLL_MS = 2**31 - 1
SENDING_LATE = "timed out while sending the request"
ANSWER_LATE = "timed out while waiting for a complete response"

cdef int MAX_UNASKED = 16  # buffers of TLS messages on an idle connection; a few tickets fill one
cdef int REQUEST_TIMEOUT = 408
cdef double SLOWEST = SLOWEST_BYTES_PER_S
cdef tuple NOTHING_NOW = WOULD_BLOCK
cdef tuple GONE = (ConnectionError, SSLEOFError)


class NoResponseError(TransportError):
    """The peer closed or reset the connection before it sent a byte of response."""


cdef class Connection:
    """Sends one request after another over a channel. One thread at a time uses it.

    Args:
        channel: belongs to this object from now on.
        address: the peer, for errors.

    Attributes:
        is_new: whether the pool has not kept it yet.
    """

    cdef object channel
    cdef object address
    cdef object reader
    cdef object readable    # polls for data to read
    cdef object either      # the same, and for room to write
    cdef bint is_cut        # whether the request was not sent to its end
    cdef bint is_doubtful   # whether a further response may follow, which nothing asked for
    cdef public bint is_new

    def __init__(self, channel, address):
        self.channel = channel
        self.address = address
        self.reader = ResponseReader()
        self.readable = poll_of(channel, select.POLLIN)
        self.either = poll_of(channel, select.POLLIN | select.POLLOUT)
        self.is_cut = self.is_doubtful = False
        self.is_new = True

    @property
    def reusable(self):
        """Whether a further request may be sent, as far as the last exchange tells."""
        return self.reader.reusable and not (self.is_cut or self.is_doubtful)

    def is_alive(self):
        """Tell whether the peer has neither closed this idle connection nor sent anything."""
        for _ in range(MAX_UNASKED):
            if not self.channel.has_unread and not self.readable.poll(0):
                return True
            try:
                self.channel.receive()
            except NOTHING_NOW:  # it was a TLS session ticket, which is not data
                continue
            except OSError:
                pass
            return False
        return False

    def exchange(self, bytes head not None, body not None, timeout_s):
        """Send a request and wait for its response; see limits.py for the bounds.

        Args:
            head: request line and headers, with the empty line.
            body: a memoryview that must not change during the call.
            timeout_s: seconds, None for no bound.

        Returns:
            A Response.

        Raises:
            NoResponseError: the peer closed or reset the connection before a byte of response.
            TransportError: no complete response in time, or it is not HTTP.
            OSError: the network fails in another way.
        """
        cdef double most_s = INFINITY if timeout_s is None else timeout_s
        self.reader.reset()
        self.is_cut = False
        self.channel.queue(head, body)
        try:
            self.write(len(head) + len(body), most_s)
        finally:
            self.channel.drop()
        self.read(most_s)
        response = self.reader.response()
        # The peer may have sent it to the idle connection, and respond to the request as well.
        self.is_doubtful = response.status == REQUEST_TIMEOUT
        return response

    def tls_session(self):
        """Return the session that shortens a later handshake, and the context it belongs to."""
        return self.channel.tls_session()

    def close(self):
        """Close the socket, without TLS's closing message."""
        self.reader.close()
        self.channel.close()

    cdef write(self, double n_bytes, double timeout_s):
        """Send the request, or as much as the peer takes until a response begins."""
        cdef double deadline_s = time.monotonic() + timeout_s + n_bytes / SLOWEST
        cdef double stalled_s = INFINITY  # when the peer has to take more; nothing else counts
        cdef bint has_more = True
        while has_more and not self.is_cut:
            try:
                has_more = self.channel.push()
                stalled_s = INFINITY
            except NOTHING_NOW as error:
                stalled_s = min(stalled_s, time.monotonic() + timeout_s)
                self.wait_to_write(error, min(stalled_s, deadline_s))
            except GONE:
                self.is_cut = True  # a response that came before is read next
            if has_more and left(deadline_s) == 0:
                raise self.error(SENDING_LATE)

    cdef wait_to_write(self, reason, double deadline_s):
        """Wait until more can be sent; cut the request short if a response or the end arrives."""
        poll = self.readable if isinstance(reason, SSLWantReadError) else self.either
        events = self.wait(poll, left(deadline_s), SENDING_LATE)
        if events & ~select.POLLOUT:
            try:
                n = self.receive()
                self.is_cut = n == 0 or self.reader.is_final
            except GONE:  # with TLS the end may be an error, and the socket still writable
                self.is_cut = True

    cdef read(self, double timeout_s):
        """Receive until the response is complete."""
        cdef double deadline_s = time.monotonic() + timeout_s
        if not self.reader.started and not self.channel.has_unread:
            self.wait(self.readable, timeout_s, ANSWER_LATE)
        while not self.reader.complete:
            try:
                n = self.receive()
            except GONE as error:
                raise self.lost(f"{type(error).__name__}: {presentable(error)}") from error
            if n is None:
                self.wait(self.readable, left(deadline_s), ANSWER_LATE)
            elif n == 0 and not self.reader.end():
                raise self.lost("closed by the peer")
            elif not self.reader.complete and left(deadline_s) == 0:
                raise self.error(ANSWER_LATE)

    cdef receive(self):
        """Feed the reader. Returns the number of bytes, None if none has come, 0 at the end.

        Raises:
            TransportError: what arrived cannot be a response.
        """
        try:
            data = self.channel.receive()
        except NOTHING_NOW:
            return None
        if data:
            try:
                self.reader.feed(data)
            except ValueError as error:
                raise self.error(presentable(error)) from error
        return len(data)

    cdef wait(self, poll, double wait_s, str late):
        """Wait for an event. No time left is too late, even if bytes keep coming."""
        if wait_s <= 0:
            raise self.error(late)
        events = poll.poll(None if wait_s == INFINITY else min(ceil(wait_s * 1000), MAX_POLL_MS))
        if not events:
            raise self.error(late)
        return events[0][1]

    cdef lost(self, str how):
        if self.reader.started:
            return self.error(f"connection lost in the middle of the response: {how}")
        return self.error(f"connection lost before a response: {how}", NoResponseError)

    cdef error(self, str text, kind=TransportError):
        return kind(f"{text} ({self.address}); {CHECK_NETWORK}")


cdef poll_of(channel, events):
    poll = select.poll()
    poll.register(channel, events)
    return poll


cdef double left(double deadline_s):
    return max(0.0, deadline_s - time.monotonic())
