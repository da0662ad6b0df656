"""Collects the entries of one PutRecords request in C memory, without Python objects."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef struct Entry:
    uint32_t start      # offset in the body of the opening brace
    uint32_t end        # offset in the body just after the closing brace
    size_t event_at     # offset of the event in its chunk
    uint32_t n_bytes    # data + partition key, before base64
    uint32_t event      # index of the event in its chunk, from 0
    bint has_random_key


cdef struct Batch:
    Buffer buffer       # the body: the opening, the entries, and the tail after batch_finish
    unsigned int n_entries
    size_t n_bytes      # sum over all entries
    uint64_t random_state   # of the keys that batch_renew_keys writes
    Entry entries[MAX_RECORDS_PER_REQUEST]


cdef Batch* batch_new() noexcept nogil
cdef void batch_free(Batch* batch) noexcept nogil
cdef Status batch_open(Batch* batch) noexcept nogil
cdef Status batch_append(Batch* batch, Text data, Text key, const Entry* event) noexcept nogil
cdef Status batch_append_copy(Batch* batch, const Batch* other, unsigned int index) noexcept nogil
cdef Status batch_retain(Batch* batch, const unsigned int* chosen, unsigned int n,
                         Text tail) noexcept nogil
cdef void batch_renew_keys(Batch* batch) noexcept nogil
cdef Status batch_finish(Batch* batch, Text tail) noexcept nogil
