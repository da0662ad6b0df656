"""A channel with TLS: OpenSSL works in memory, and this module moves its output to the socket.

That way data is sent in large pieces and without SIGPIPE: OpenSSL's own writes to a socket send
one record of TLS each, and would raise the signal in a process that does not ignore it.
"""

import contextlib
import ssl
from socket import MSG_NOSIGNAL
from ssl import SSLEOFError, SSLWantReadError

from kinesis_fast.limits import KIB
from kinesis_fast.transport.direct.channel import BUFFER_BYTES, MAX_WIRE_BYTES, socket_timeout

cdef Py_ssize_t MOST_IN_RECORD = 16 * 1024
cdef Py_ssize_t MOST_IN_STEP = 8 * MOST_IN_RECORD
cdef Py_ssize_t BUFFER = BUFFER_BYTES

RECORD_BYTES = MOST_IN_RECORD           # the most in one record of TLS
FIRST_BYTES = RECORD_BYTES - 1 * KIB    # of a body that share one record with the head
STEP_BYTES = MOST_IN_STEP               # of a body that are encrypted and sent at once

cdef object NOTHING = memoryview(b"")


cdef class TlsChannel:
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

    cdef object sock
    cdef object arrived         # BIO: what came from the socket
    cdef object sealed          # BIO: what OpenSSL wants to be sent
    cdef object tls
    cdef object unsealed        # to be encrypted next
    cdef object body            # to be encrypted after it
    cdef object unsent          # encrypted
    cdef object wire            # buffer for what comes from the socket
    cdef object clear           # buffer for what is decrypted
    cdef object failure         # an error that came after data, to be raised next
    cdef Py_ssize_t n_taken     # bytes off the socket since the last request was queued

    def __init__(self, sock, context, str host not None, session, deadline_s):
        self.sock = sock
        self.arrived = ssl.MemoryBIO()
        self.sealed = ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.arrived, self.sealed, server_hostname=host.rstrip("."), session=session
        )
        self.n_taken = 0
        self.wire = memoryview(bytearray(BUFFER_BYTES))
        self.clear = memoryview(bytearray(BUFFER_BYTES))
        self.drop()
        try:
            self.shake_hands(deadline_s)
        except TimeoutError as error:
            raise TimeoutError("the TLS handshake timed out") from error
        sock.setblocking(False)

    @property
    def has_unread(self):
        """See `Channel`."""
        return self.is_unread()

    def fileno(self):
        """See `Channel`."""
        return self.sock.fileno()

    def queue(self, bytes head not None, body):
        """See `Channel`."""
        self.unsealed = memoryview(head + bytes(body[:FIRST_BYTES]))
        self.body = body[FIRST_BYTES:]
        self.n_taken = 0

    def push(self):
        """See `Channel`."""
        if not self.unsent:
            self.seal()
        self.send_some()
        return bool(self.unsent or self.unsealed or self.body or self.sealed.pending)

    def drop(self):
        """See `Channel`; in the middle of a request this makes the channel useless as well."""
        self.unsealed = self.body = self.unsent = NOTHING

    def receive(self):
        """See `Channel`. Reads the socket once at most, so the caller can look at its deadline."""
        if self.is_unread():
            with contextlib.suppress(SSLWantReadError):
                return self.decrypted()
        if not self.feed_from_socket():
            # Without write_eof(): it would make OpenSSL mark the session as not resumable.
            raise SSLEOFError("the peer closed the connection without the closing message of TLS")
        return self.decrypted()

    def tls_session(self):
        """See `Channel`."""
        session = self.tls.session
        return (self.tls.context, session) if session is not None else None

    def close(self):
        """See `Channel`."""
        self.sock.close()

    cdef bint is_unread(self) except -1:
        return self.failure is not None or self.arrived.pending > 0 or self.arrived.eof

    cdef decrypted(self):
        """Return what the records hold that have arrived as a whole, up to a buffer full."""
        cdef Py_ssize_t n_read = 0
        cdef Py_ssize_t n
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        try:
            while True:
                n = self.tls.read(MOST_IN_RECORD, self.clear[n_read:])
                n_read += n
                if n == 0:
                    self.arrived.write_eof()  # the peer has announced the end; ignore what follows
                    break
                if n_read > BUFFER - MOST_IN_RECORD or not self.arrived.pending:
                    break
        except SSLWantReadError:
            if not n_read:
                raise
        except OSError as error:
            if not n_read:
                raise
            self.failure = error
        finally:
            if self.sealed.pending and not self.unsent:
                self.respond()
        return self.clear[:n_read]

    cdef respond(self):
        """Send what OpenSSL responds to a message of TLS, when the peer renegotiates for one."""
        self.unsent = memoryview(self.sealed.read())
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.send_some()

    cdef send_some(self):
        cdef Py_ssize_t n = self.sock.send(self.unsent, MSG_NOSIGNAL)
        self.unsent = self.unsent[n:]

    cdef bint feed_from_socket(self) except -1:
        """Take what has arrived. Returns False at the end of the connection."""
        cdef Py_ssize_t n = self.sock.recv_into(self.wire)
        self.n_taken += n
        if self.n_taken > MAX_WIRE_BYTES:
            raise OSError(f"the peer sends more than {MAX_WIRE_BYTES} bytes for one response")
        if n:
            self.arrived.write(self.wire[:n])
        return n > 0

    cdef seal(self):
        """Encrypt the next step, unless OpenSSL has to hear from the peer first."""
        cdef Py_ssize_t n_left = MOST_IN_STEP
        cdef Py_ssize_t n
        try:
            while n_left > 0 and (self.unsealed or self.body):
                if not self.unsealed:
                    self.unsealed, self.body = self.body[:n_left], self.body[n_left:]
                n = self.tls.write(self.unsealed)
                self.unsealed = self.unsealed[n:]
                n_left -= max(n, MOST_IN_RECORD)
        except SSLWantReadError:
            if not self.sealed.pending:
                raise
        self.unsent = memoryview(self.sealed.read())

    cdef shake_hands(self, deadline_s):
        cdef bint is_over = False
        while not is_over:
            try:
                self.tls.do_handshake()
                is_over = True
            except SSLWantReadError:
                pass
            except OSError:
                with contextlib.suppress(OSError):
                    self.send_sealed(deadline_s)  # tells the peer what is wrong
                raise
            self.send_sealed(deadline_s)
            if not is_over and not self.feed_from_socket():
                self.arrived.write_eof()

    cdef send_sealed(self, deadline_s):
        """Send OpenSSL's output, and set the socket's time-out to the time that is left.

        Raises:
            TimeoutError: no time is left.
        """
        self.sock.settimeout(socket_timeout(deadline_s))
        if self.sealed.pending:
            self.sock.sendall(self.sealed.read(), MSG_NOSIGNAL)
