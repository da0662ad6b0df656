"""A channel with TLS: OpenSSL works in memory, and this module moves its output to the socket.

That way data is sent in large pieces and without SIGPIPE: OpenSSL's own writes to a socket would
raise the signal in a process that does not ignore it.
"""

import contextlib
import socket
import ssl
import time
from typing import Final

from kinesis_fast.limits import KIB, MAX_ANSWER_BYTES
from kinesis_fast.transport.direct.channel import BUFFER_BYTES, Channel

RECORD_BYTES: Final = 16 * KIB  # the most in one TLS record
FIRST_BYTES: Final = RECORD_BYTES - 1 * KIB  # of a body that share one record with the head
STEP_BYTES: Final = 8 * RECORD_BYTES  # of a body that are encrypted and sent at once
# What may come from the socket for one request: the response, and all that TLS adds.
MAX_WIRE_BYTES: Final = 2 * MAX_ANSWER_BYTES
NOTHING: Final = memoryview(b"")


class TlsChannel(Channel):
    """A `Channel` with TLS.

    Args:
        sock: connected; belongs to this object from now on, unless this raises.
        context: the certificates to trust.
        host: name or address of the peer; its certificate has it without a dot at the end.
        session: of the same context, to shorten the handshake; None: there is none.
        deadline_s: of time.monotonic(), when the handshake has to be over; None: never.

    Raises:
        OSError: peer closed, handshake timed out, or certificate rejected.
    """

    _unsealed: memoryview  # to be encrypted next
    _body: memoryview  # to be encrypted after it
    _unsent: memoryview  # encrypted

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        host: str,
        session: ssl.SSLSession | None,
        deadline_s: float | None,
    ) -> None:
        self._sock = sock
        self._arrived, self._sealed = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._arrived, self._sealed, server_hostname=host.rstrip("."), session=session
        )
        self._n_taken = 0  # bytes off the socket since the last request was queued
        self._wire = memoryview(bytearray(BUFFER_BYTES))
        self._clear = memoryview(bytearray(RECORD_BYTES))
        try:
            self._shake_hands(deadline_s)
        except TimeoutError as error:
            raise TimeoutError("the TLS handshake timed out") from error
        sock.setblocking(False)
        self.drop()

    @property
    def has_unread(self) -> bool:
        return self._arrived.pending > 0 or self._arrived.eof

    def fileno(self) -> int:
        return self._sock.fileno()

    def queue(self, head: bytes, body: memoryview) -> None:
        self._unsealed = memoryview(head + bytes(body[:FIRST_BYTES]))
        self._body = body[FIRST_BYTES:]
        self._n_taken = 0

    def push(self) -> bool:
        if not self._unsent:
            self._seal()
        self._unsent = self._unsent[self._sock.send(self._unsent, socket.MSG_NOSIGNAL) :]
        return bool(self._unsent or self._unsealed or self._body or self._sealed.pending)

    def drop(self) -> None:
        """See `Channel`; in the middle of a request this makes the channel useless as well."""
        self._unsealed = self._body = self._unsent = NOTHING

    def receive(self) -> memoryview:
        """See `Channel`. Reads the socket once at most, so the caller can look at its deadline."""
        if self.has_unread:
            with contextlib.suppress(ssl.SSLWantReadError):
                return self._decrypted()
        self._feed_from_socket()
        return self._decrypted()

    def tls_session(self) -> tuple[ssl.SSLContext, ssl.SSLSession] | None:
        session = self._tls.session
        return (self._tls.context, session) if session is not None else None

    def close(self) -> None:
        self._sock.close()

    def _decrypted(self) -> memoryview:
        try:
            # The stubs do not know that this writes into a buffer and returns a number.
            n: int = self._tls.read(RECORD_BYTES, self._clear)  # type: ignore[assignment]
        finally:
            if self._sealed.pending and not self._unsent:
                self._respond()
        if n == 0:
            self._arrived.write_eof()  # the peer has announced the end; ignore what follows
        return self._clear[:n]

    def _respond(self) -> None:
        """Send what OpenSSL responds to a message of TLS, when the peer renegotiates for one."""
        self._unsent = memoryview(self._sealed.read())
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._unsent = self._unsent[self._sock.send(self._unsent, socket.MSG_NOSIGNAL) :]

    def _feed_from_socket(self) -> None:
        n = self._sock.recv_into(self._wire)
        self._n_taken += n
        if self._n_taken > MAX_WIRE_BYTES:
            raise OSError(f"the peer sends more than {MAX_WIRE_BYTES} bytes for one response")
        if n:
            self._arrived.write(self._wire[:n])
        else:
            self._arrived.write_eof()

    def _seal(self) -> None:
        """Encrypt the next step, unless OpenSSL has to hear from the peer first."""
        try:
            n_left = STEP_BYTES
            while n_left > 0 and (self._unsealed or self._body):
                if not self._unsealed:
                    self._unsealed, self._body = self._body[:n_left], self._body[n_left:]
                n = self._tls.write(self._unsealed)
                self._unsealed = self._unsealed[n:]
                n_left -= max(n, RECORD_BYTES)
        except ssl.SSLWantReadError:
            if not self._sealed.pending:
                raise
        self._unsent = memoryview(self._sealed.read())

    def _shake_hands(self, deadline_s: float | None) -> None:
        is_over = False
        while not is_over:
            try:
                self._tls.do_handshake()
                is_over = True
            except ssl.SSLWantReadError:
                pass
            except OSError:
                with contextlib.suppress(OSError):
                    self._send_sealed(deadline_s)  # tells the peer what is wrong
                raise
            self._send_sealed(deadline_s)
            if not is_over:
                self._feed_from_socket()

    def _send_sealed(self, deadline_s: float | None) -> None:
        """Send OpenSSL's output, and set the socket's time-out to the time that is left.

        Raises:
            TimeoutError: no time is left.
        """
        self._sock.settimeout(socket_timeout(deadline_s))
        if self._sealed.pending:
            self._sock.sendall(self._sealed.read(), socket.MSG_NOSIGNAL)


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
