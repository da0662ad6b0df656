"""Reads a few records ahead, so that the buckets of their keys are found together.

The bucket of a key comes from its MD5, and the MD5s of several keys take little longer than one.
The records are handed over in the order in which they were read.
"""

from libc.string cimport memcpy

from kinesis_fast._core.aggregator cimport slots_of
from kinesis_fast._core.buffer cimport buffer_free
from kinesis_fast._core.text cimport Text


cdef void ahead_free(ReadAhead* ahead) noexcept nogil:
    """Drop all records, and free their memory."""
    cdef unsigned int i
    for i in range(N_AHEAD):
        buffer_free(&ahead.records[i].data)
    ahead.n = ahead.n_taken = 0
    ahead.is_ready = False


cdef bint ahead_has_room(const ReadAhead* ahead) noexcept nogil:
    return ahead.n < N_AHEAD


cdef unsigned int ahead_n_waiting(const ReadAhead* ahead) noexcept nogil:
    return ahead.n - ahead.n_taken


cdef void swap(Buffer* one, Buffer* other) noexcept nogil:
    cdef Buffer kept = one[0]
    one[0] = other[0]
    other[0] = kept


cdef void ahead_keep(ReadAhead* ahead, RecordReader reader) noexcept nogil:
    """Take the record that the reader has. There must be room, and no slot may be chosen yet."""
    cdef WaitingRecord* record = &ahead.records[ahead.n]
    swap(&record.data, &reader.data)
    memcpy(record.key.data, reader.key.data, reader.key.n)
    record.key.n = reader.key.n
    record.key_is_random = reader.key_is_random
    record.event = reader.event
    reader.has_record = False
    ahead.n += 1


cdef void ahead_choose_slots(ReadAhead* ahead, Aggregator* aggregator) noexcept nogil:
    """Find the slot of each record."""
    cdef Text keys[N_AHEAD]
    cdef unsigned int slots[N_AHEAD]
    cdef unsigned int i
    for i in range(ahead.n):
        keys[i].data, keys[i].n = ahead.records[i].key.data, ahead.records[i].key.n
        if ahead.records[i].key_is_random:
            keys[i].n = 0
    slots_of(aggregator, keys, ahead.n, slots)
    for i in range(ahead.n):
        ahead.records[i].slot = slots[i]
    ahead.is_ready = True


cdef unsigned int ahead_take(ReadAhead* ahead, RecordReader reader) noexcept nogil:
    """Let the reader have the next record, of which there must be one; returns its slot."""
    cdef WaitingRecord* record = &ahead.records[ahead.n_taken]
    swap(&record.data, &reader.data)
    memcpy(reader.key.data, record.key.data, record.key.n)
    reader.key.n = record.key.n
    reader.key_is_random = record.key_is_random
    reader.event = record.event
    reader.has_record = True
    ahead.n_taken += 1
    if ahead.n_taken == ahead.n:
        ahead.n = ahead.n_taken = 0
        ahead.is_ready = False
    return record.slot
