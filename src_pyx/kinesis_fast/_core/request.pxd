from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from kinesis_fast._core.batch cimport Batch, Entry
from kinesis_fast._core.limits cimport MAX_ARENAS
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef class BatchPool:
    cdef Batch* batches[MAX_ARENAS]
    cdef unsigned int n_batches
    cdef unsigned int n_kept        # limit for n_batches
    cdef bytes json_tail
    cdef bytes cbor_tail

    cdef Batch* take(self, bint is_cbor) except NULL
    cdef Status finish(self, Batch* batch) noexcept
    cdef Text tail_of(self, const Batch* batch) noexcept
    cdef void give_back(self, Batch* batch) noexcept


cdef class Request:
    cdef BatchPool pool
    cdef Batch* batch               # NULL: released
    cdef Py_ssize_t n_views
    cdef readonly int lane
    cdef readonly bint is_cbor

    cdef Batch* entries(self) except NULL
    cdef Entry entry_at(self, Py_ssize_t index) except *
    cdef int check_views(self) except -1
    cdef unsigned int choose(self, indexes, unsigned int* chosen) except 0
    cdef Request copy(self, const unsigned int* chosen, unsigned int n, bint as_json)


cdef uint8_t* octets_of(bytearray bits, size_t n) except NULL
cdef Request new_request(BatchPool pool, Batch* batch, int lane)
