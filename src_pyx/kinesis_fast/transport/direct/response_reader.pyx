"""Reads the responses on one connection. Nothing here touches a socket.

A response of the usual form is read here. Its head arrives in one piece, with a status line of
HTTP/1.1, plain header lines and one Content-Length, and nothing that changes where the body ends or
what becomes of the connection. Everything else goes to httptools, from the first byte on; see
response.py.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from kinesis_fast.limits import MAX_ANSWER_BYTES
from kinesis_fast.transport import Response
from kinesis_fast.transport.direct.response import GeneralReader, Headers


cdef extern from *:
    bytes PyBytes_FromStringAndSize(const char* text, Py_ssize_t n)
    char* PyBytes_AsString(object text) except NULL


cdef enum:
    MAX_LENGTH_DIGITS = 9
    FIRST_STATUS = 200          # those below are interim
    NO_CONTENT = 204
    NOT_MODIFIED = 304

cdef Py_ssize_t LONGEST_BODY = MAX_ANSWER_BYTES


cdef enum State:
    IN_HEAD
    IN_BODY
    IS_COMPLETE
    IS_GENERAL      # httptools reads it


cdef struct Head:
    Py_ssize_t n_bytes      # with the empty line
    Py_ssize_t n_body
    int status


cdef class ResponseReader:
    """Reads one response after another from the bytes of a connection.

    Attributes:
        started: whether a byte of the response has arrived.
        is_final: whether its headers have arrived, after any interim responses (1xx).
        complete: whether all of it has arrived.
        reusable: whether another request may follow on the connection, once it is complete.
    """

    cdef State state
    cdef bytes head
    cdef bytes body             # being filled
    cdef Py_ssize_t n_filled
    cdef int status
    cdef readonly bint started
    cdef bint is_spent          # no response can follow: the connection ended, or went on
    cdef object general         # reads responses that are not usual; None until there was one

    def __init__(self):
        self.reset()

    @property
    def is_final(self):
        if self.state == IS_GENERAL:
            return self.general.is_final
        return self.state != IN_HEAD

    @property
    def complete(self):
        if self.state == IS_GENERAL:
            return self.general.complete
        return self.state == IS_COMPLETE

    @property
    def reusable(self):
        if self.state == IS_GENERAL:
            return self.general.reusable
        return self.state == IS_COMPLETE and not self.is_spent

    def reset(self):
        """Expect the next response."""
        self.state = IN_HEAD
        self.started = self.is_spent = False
        self.forget()
        if self.general is not None:
            self.general.reset()

    def feed(self, data not None):
        """Parse bytes, at least one; they are copied.

        Args:
            data: bytes-like.

        Raises:
            ValueError: this is not HTTP, or the response is too large.
        """
        cdef Py_buffer view
        cdef bint is_usual
        self.started = True
        if self.state != IS_GENERAL:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                is_usual = self.take(<const uint8_t*> view.buf, view.len)
            finally:
                PyBuffer_Release(&view)
            if is_usual:
                return
            if self.general is None:
                self.general = GeneralReader()
            self.state = IS_GENERAL
        self.general.feed(data)

    def end(self):
        """Note that no more bytes come. Returns whether that completes the response."""
        if self.state == IS_GENERAL:
            return self.general.end()
        self.is_spent = True
        return self.state == IS_COMPLETE

    def close(self):
        """Break the reference cycle with the parser. The reader cannot be used afterwards."""
        if self.general is not None:
            self.general.close()

    def response(self):
        """Return the response, which must be complete, and forget it: the connection may idle."""
        if self.state == IS_GENERAL:
            return self.general.response()
        response = tuple.__new__(Response, (self.status, Headers(self.head), self.body))
        self.forget()
        return response

    cdef forget(self):
        self.head = self.body = b""
        self.n_filled = 0

    cdef bint take(self, const uint8_t* data, Py_ssize_t n) except -1:
        """Read bytes. Returns False, and takes none of them, if the response is not usual."""
        cdef Head head
        cdef Py_ssize_t n_used = 0
        if self.state == IN_HEAD:
            if not read_head(data, n, &head):
                return False
            self.body = PyBytes_FromStringAndSize(NULL, head.n_body)
            self.head = data[:head.n_bytes]
            self.status = head.status
            self.state = IN_BODY
            n_used = head.n_bytes
        self.fill(data + n_used, n - n_used)
        return True

    cdef fill(self, const uint8_t* data, Py_ssize_t n):
        """Take bytes of the body."""
        cdef Py_ssize_t n_left = len(self.body) - self.n_filled
        if n > n_left:
            self.is_spent = True
            n = n_left
        if n:
            memcpy(PyBytes_AsString(self.body) + self.n_filled, data, n)
            self.n_filled += n
        if n == n_left:
            self.state = IS_COMPLETE


cdef bint read_head(const uint8_t* data, Py_ssize_t n, Head* head) noexcept nogil:
    """Read a head of the usual form. Returns False for any other, or if a part is missing."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef bint has_length = False
    while True:
        end = line_end(data, n, at)
        if end < 0:
            return False
        if end == at:
            if not has_length:
                return False
            head.n_bytes = end + 2
            return True
        if at == 0:
            if not read_status(data, end, head):
                return False
        elif not read_header(data + at, end - at, head, &has_length):
            return False
        at = end + 2


cdef Py_ssize_t line_end(const uint8_t* data, Py_ssize_t n, Py_ssize_t at) noexcept nogil:
    """Return where a line's CR LF begins, -1 if that has not arrived."""
    while at + 1 < n:
        if data[at] == b"\r" and data[at + 1] == b"\n":
            return at
        at += 1
    return -1


cdef bint read_status(const uint8_t* line, Py_ssize_t n, Head* head) noexcept nogil:
    """Read a status line with a body after its head."""
    cdef Py_ssize_t i
    if n < 13 or memcmp(line, b"HTTP/1.1 ", 9) or line[12] != b" ":
        return False
    head.status = 0
    for i in range(9, 12):
        if not is_digit(line[i]):
            return False
        head.status = head.status * 10 + digit(line[i])
    return (head.status >= FIRST_STATUS and head.status not in (NO_CONTENT, NOT_MODIFIED)
            and is_plain(line + 13, n - 13))


cdef bint read_header(const uint8_t* line, Py_ssize_t n, Head* head,
                      bint* has_length) noexcept nogil:
    """Read a header line: a name, a colon and a plain value."""
    cdef Py_ssize_t n_name = 0
    cdef const uint8_t* value
    cdef Py_ssize_t n_value
    while n_name < n and is_of_name(line[n_name]):
        n_name += 1
    if n_name == 0 or n_name == n or line[n_name] != b":":
        return False
    value = line + n_name + 1
    n_value = n - n_name - 1
    while n_value and value[0] == b" ":
        value += 1
        n_value -= 1
    if not is_plain(value, n_value):
        return False
    if is_name(line, n_name, b"content-length", 14):
        if has_length[0]:
            return False
        has_length[0] = True
        return read_length(value, n_value, &head.n_body)
    if is_name(line, n_name, b"connection", 10):
        return is_name(value, n_value, b"keep-alive", 10)
    return not (is_name(line, n_name, b"transfer-encoding", 17)
                or is_name(line, n_name, b"upgrade", 7)
                or is_name(line, n_name, b"proxy-connection", 16))


cdef bint read_length(const uint8_t* value, Py_ssize_t n, Py_ssize_t* length) noexcept nogil:
    cdef Py_ssize_t i
    if not 0 < n <= MAX_LENGTH_DIGITS:
        return False
    length[0] = 0
    for i in range(n):
        if not is_digit(value[i]):
            return False
        length[0] = length[0] * 10 + digit(value[i])
    return length[0] <= LONGEST_BODY


cdef bint is_name(const uint8_t* text, Py_ssize_t n, const char* name,
                  Py_ssize_t n_name) noexcept nogil:
    """Compare with a name in lower case; the text may be in any."""
    cdef Py_ssize_t i
    cdef uint8_t byte
    if n != n_name:
        return False
    for i in range(n):
        byte = text[i]
        if is_between(byte, b"A", b"Z"):
            byte |= 0x20
        if byte != <uint8_t> name[i]:
            return False
    return True


cdef bint is_plain(const uint8_t* text, Py_ssize_t n) noexcept nogil:
    """Tell whether a text is printable ASCII."""
    cdef Py_ssize_t i
    for i in range(n):
        if not is_between(text[i], b" ", b"~"):
            return False
    return True


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return is_between(byte, b"0", b"9")


cdef inline bint is_of_name(uint8_t byte) noexcept nogil:
    return is_digit(byte) or is_between(byte | 0x20, b"a", b"z") or byte == b"-" or byte == b"_"


cdef inline bint is_between(uint8_t byte, uint8_t first, uint8_t last) noexcept nogil:
    return first <= byte and byte <= last


cdef inline int digit(uint8_t byte) noexcept nogil:
    cdef uint8_t zero = b"0"
    return byte - zero
