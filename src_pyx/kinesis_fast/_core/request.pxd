from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text

cdef enum:
    POOL_SIZE = 4


cdef class BufferPool:
    cdef Buffer buffers[POOL_SIZE]
    cdef unsigned int n_buffers

    cdef void take(self, Buffer* buffer) noexcept
    cdef void give_back(self, Buffer* buffer) noexcept


cdef struct Entry:
    size_t start        # offset in the body, from the opening to behind the closing brace
    size_t end
    uint32_t n_bytes    # data + partition key, before base64
    uint32_t event      # ordinal of the event in its chunk


cdef class Request:
    cdef BufferPool pool
    cdef bytes tail
    cdef Buffer buffer
    cdef unsigned int n_entries
    cdef size_t total_bytes
    cdef Py_ssize_t n_views
    cdef Entry entries[MAX_RECORDS_PER_REQUEST]

    cdef Status open(self) noexcept nogil
    cdef Status append(self, Text data, Text key, uint32_t event) noexcept nogil
    cdef Status append_copy(self, Request other, unsigned int index) noexcept nogil
    cdef Status finish(self, Text tail) noexcept nogil
    cdef Entry* entry_at(self, Py_ssize_t index) except NULL
    cdef Request copy_entries(self, const unsigned int* chosen, unsigned int n)


cdef Request new_request(BufferPool pool, bytes tail)
