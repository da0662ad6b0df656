from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from kinesis_fast._core.batch cimport Batch, Entry
from kinesis_fast._core.limits cimport MAX_ARENAS


cdef class BatchPool:
    cdef Batch* batches[MAX_ARENAS]
    cdef unsigned int n_batches
    cdef unsigned int n_kept        # limit for n_batches

    cdef Batch* take(self) except NULL
    cdef void give_back(self, Batch* batch) noexcept


cdef class Request:
    cdef BatchPool pool
    cdef bytes tail
    cdef Batch* batch               # NULL: released
    cdef Py_ssize_t n_views
    cdef readonly int lane

    cdef Batch* entries(self) except NULL
    cdef Entry entry_at(self, Py_ssize_t index) except *
    cdef int check_views(self) except -1
    cdef unsigned int choose(self, indexes, unsigned int* chosen) except 0


cdef uint8_t* octets_of(bytearray bits, size_t n) except NULL
cdef Request new_request(BatchPool pool, bytes tail, Batch* batch, int lane)
