"""The channel without TLS."""

from socket import MSG_NOSIGNAL

from kinesis_fast.transport.direct.channel import BUFFER_BYTES


cdef class PlainChannel:
    """A `Channel` without TLS.

    Args:
        sock: connected; belongs to this object from now on.
    """

    cdef object sock
    cdef list parts        # of the request, that are to be sent
    cdef object buffer     # for what arrives

    has_unread = False

    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock
        self.parts = []
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def fileno(self):
        """See `Channel`."""
        return self.sock.fileno()

    def queue(self, bytes head not None, body):
        """See `Channel`."""
        self.parts = [memoryview(head), body]

    def push(self):
        """See `Channel`."""
        cdef Py_ssize_t n = self.sock.sendmsg(self.parts, (), MSG_NOSIGNAL)
        cdef list parts = self.parts
        while parts and n >= len(parts[0]):
            n -= len(parts.pop(0))
        if n:
            parts[0] = parts[0][n:]
        return bool(parts)

    def drop(self):
        """See `Channel`."""
        self.parts = []

    def receive(self):
        """See `Channel`."""
        cdef Py_ssize_t n = self.sock.recv_into(self.buffer)
        return self.buffer[:n]

    def tls_session(self):
        """See `Channel`."""
        return None

    def close(self):
        """See `Channel`."""
        self.sock.close()
