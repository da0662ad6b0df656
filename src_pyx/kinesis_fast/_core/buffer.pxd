"""A growing byte buffer on the C heap; the code that declares one has to free it."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc

from kinesis_fast._core.status cimport STATUS_NO_MEMORY, STATUS_OK, Status


cdef extern from *:
    """
    // Sanitizer builds allocate exactly what the last call asked for, so that they see overruns.
    #ifdef KF_EXACT_BUFFERS
    #define KF_IS_EXACT(n) ((n) <= 65536)
    #else
    #define KF_IS_EXACT(n) 0
    #endif
    """
    bint KF_IS_EXACT(size_t n) nogil


cdef struct Buffer:
    uint8_t* data
    size_t n
    size_t capacity


cdef inline Status buffer_grow(Buffer* buffer, size_t room) noexcept nogil:
    cdef size_t capacity = buffer.capacity + buffer.capacity // 2
    cdef void* data
    if room > <size_t>-1 // 2 - buffer.n:
        return STATUS_NO_MEMORY
    if capacity < buffer.n + room:
        capacity = buffer.n + room
    if capacity < 4096:
        capacity = 4096
    if KF_IS_EXACT(buffer.n + room):
        capacity = buffer.n + room + (buffer.n + room == 0)
    data = realloc(buffer.data, capacity)
    if data == NULL:
        return STATUS_NO_MEMORY
    buffer.data = <uint8_t*> data
    buffer.capacity = capacity
    return STATUS_OK


cdef inline Status buffer_reserve(Buffer* buffer, size_t room) noexcept nogil:
    """Make room for `room` bytes after the n bytes in use; the data may move.

    Do not rely on room that an earlier call made.
    """
    if room <= buffer.capacity - buffer.n and not KF_IS_EXACT(buffer.n + room):
        return STATUS_OK
    return buffer_grow(buffer, room)


cdef inline void buffer_free(Buffer* buffer) noexcept nogil:
    free(buffer.data)
    buffer.data = NULL
    buffer.n = buffer.capacity = 0
