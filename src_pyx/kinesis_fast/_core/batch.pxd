"""Entries of one PutRecords request as they are collected; C memory, no Python object."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef struct Entry:
    size_t start        # offset in the body, from the opening to behind the closing brace
    size_t end
    size_t event_at     # offset of the event in its chunk
    uint32_t n_bytes    # data + partition key, before base64
    uint32_t event      # ordinal of the event in its chunk


cdef struct Batch:
    Buffer buffer       # the body: the opening, the entries, and the tail once it is finished
    unsigned int n_entries
    size_t n_bytes      # of all entries
    Entry entries[MAX_RECORDS_PER_REQUEST]


cdef Batch* batch_new() noexcept nogil
cdef void batch_free(Batch* batch) noexcept nogil
cdef Status batch_open(Batch* batch) noexcept nogil
cdef Status batch_append(Batch* batch, Text data, Text key, const Entry* event) noexcept nogil
cdef Status batch_append_copy(Batch* batch, const Batch* other, unsigned int index) noexcept nogil
cdef Status batch_retain(Batch* batch, const unsigned int* chosen, unsigned int n,
                         Text tail) noexcept nogil
cdef Status batch_finish(Batch* batch, Text tail) noexcept nogil
