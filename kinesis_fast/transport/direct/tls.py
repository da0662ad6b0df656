"""A channel through TLS: OpenSSL works on memory, what it makes goes to the socket from here.

So it is sent in large pieces, and without a SIGPIPE: OpenSSL's own writing to a socket would raise
one in a host that does not ignore it.
"""

import contextlib
import socket
import ssl
import time
from typing import Final

from kinesis_fast.limits import KIB
from kinesis_fast.transport.direct.channel import BUFFER_BYTES

RECORD_BYTES: Final = 16 * KIB  # the most in one TLS record
FIRST_BYTES: Final = RECORD_BYTES - 1 * KIB  # of a body, that go with the head in one record
STEP_BYTES: Final = 8 * RECORD_BYTES  # of a body, that are encrypted and sent at once
LEAST_WAIT_S: Final = 0.001  # 0 would not wait at all
NOTHING: Final = memoryview(b"")


class TlsChannel:
    """A `kinesis_fast.transport.direct.channel.Channel` through TLS.

    Args:
        sock: connected; belongs to this object from now on, unless this raises.
        context: whom to trust.
        host: name or address of the other side, as its certificate has it.
        session: of the same context, which makes the handshake short; None: there is none.
        deadline_s: of time.monotonic(), when the handshake has to be over; None: never.

    Raises:
        OSError: there is nobody, nobody in time, or somebody who is not to be trusted.
    """

    _unsealed: memoryview  # to be encrypted next
    _body: memoryview  # what comes after it
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
            self._arrived, self._sealed, server_hostname=host, session=session
        )
        self._wire = memoryview(bytearray(BUFFER_BYTES))
        self._clear = memoryview(bytearray(RECORD_BYTES))
        self._shake_hands(deadline_s)
        sock.setblocking(False)
        self.drop()

    @property
    def has_unread(self) -> bool:
        """See `Channel`."""
        return self._arrived.pending > 0 or self._arrived.eof

    def fileno(self) -> int:
        """See `Channel`."""
        return self._sock.fileno()

    def begin(self, head: bytes, body: memoryview) -> None:
        """See `Channel`."""
        self._unsealed = memoryview(head + bytes(body[:FIRST_BYTES]))
        self._body = body[FIRST_BYTES:]

    def push(self) -> bool:
        """See `Channel`."""
        if not self._unsent:
            self._seal()
        self._unsent = self._unsent[self._sock.send(self._unsent, socket.MSG_NOSIGNAL) :]
        return bool(self._unsent or self._unsealed or self._body)

    def drop(self) -> None:
        """See `Channel`; in the middle of a request this is the end of the channel as well."""
        self._unsealed = self._body = self._unsent = NOTHING

    def receive(self) -> memoryview:
        """See `Channel`."""
        while True:
            if self.has_unread:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return self._decrypted()
            self._take(self._sock.recv_into(self._wire))

    def tls_session(self) -> tuple[ssl.SSLContext, ssl.SSLSession] | None:
        """See `Channel`."""
        session = self._tls.session
        return (self._tls.context, session) if session is not None else None

    def close(self) -> None:
        """See `Channel`."""
        self._sock.close()

    def _decrypted(self) -> memoryview:
        # The stubs know no buffer here.
        n: int = self._tls.read(RECORD_BYTES, self._clear)  # type: ignore[assignment]
        if n == 0:
            self._take(0)  # the other side has said that this is the end; nothing is to follow
        return self._clear[:n]

    def _seal(self) -> None:
        """Encrypt the next step, if OpenSSL has not to hear from the other side first."""
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

    def _take(self, n: int) -> None:
        if n:
            self._arrived.write(self._wire[:n])
        else:
            self._arrived.write_eof()

    def _shake_hands(self, deadline_s: float | None) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._hear_more(deadline_s)
            except OSError:
                with contextlib.suppress(OSError):
                    self._reply(deadline_s)  # tells the other side what is wrong
                raise
            else:
                self._reply(deadline_s)
                return

    def _hear_more(self, deadline_s: float | None) -> None:
        try:
            self._reply(deadline_s)
            self._take(self._sock.recv_into(self._wire))
        except TimeoutError as error:
            raise TimeoutError("no end of the TLS handshake") from error

    def _reply(self, deadline_s: float | None) -> None:
        """Send what OpenSSL has to say, and have the socket wait no longer than there is time."""
        left_s = None if deadline_s is None else deadline_s - time.monotonic()
        self._sock.settimeout(None if left_s is None else max(LEAST_WAIT_S, left_s))
        if self._sealed.pending:
            self._sock.sendall(self._sealed.read(), socket.MSG_NOSIGNAL)
