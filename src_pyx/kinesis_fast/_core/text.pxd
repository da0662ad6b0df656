"""A reference to bytes that other code owns."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcmp


cdef struct Text:
    const uint8_t* data
    size_t n


cdef inline bint text_equals(Text left, Text right) noexcept nogil:
    if left.n != right.n:
        return False
    if left.n == 0:
        return True
    return left.data[0] == right.data[0] and memcmp(left.data, right.data, left.n) == 0


cdef inline Text text_at(const uint8_t* data, size_t n) noexcept nogil:
    cdef Text text
    text.data, text.n = data, n
    return text


cdef inline Text text_of(bytes value) noexcept:
    """Refer to the bytes of a Python object that the caller keeps alive; None gives NULL."""
    cdef Text text
    text.data = NULL
    text.n = 0
    if value is not None:
        text.data = <const uint8_t*> <const char*> value
        text.n = len(value)
    return text
