"""Reads a few records ahead, so that the buckets of their keys are found together."""

from kinesis_fast._core.aggregator cimport Aggregator
from kinesis_fast._core.batch cimport EventRef
from kinesis_fast._core.buckets cimport MAX_KEYS
from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.partition_key cimport PartitionKey
from kinesis_fast._core.record_reader cimport RecordReader


cdef enum:
    N_AHEAD = MAX_KEYS          # records


cdef struct WaitingRecord:
    Buffer data
    PartitionKey key
    bint key_is_random
    EventRef event
    unsigned int slot           # the aggregator's, once all slots are chosen


cdef struct ReadAhead:
    WaitingRecord records[N_AHEAD]
    unsigned int n
    unsigned int n_taken        # of them are in the reader again, or further
    bint is_ready               # all slots are chosen: they can be taken


cdef void ahead_free(ReadAhead* ahead) noexcept nogil
cdef bint ahead_has_room(const ReadAhead* ahead) noexcept nogil
cdef unsigned int ahead_n_waiting(const ReadAhead* ahead) noexcept nogil
cdef void ahead_keep(ReadAhead* ahead, RecordReader reader) noexcept nogil
cdef void ahead_choose_slots(ReadAhead* ahead, Aggregator* aggregator) noexcept nogil
cdef unsigned int ahead_take(ReadAhead* ahead, RecordReader reader) noexcept nogil
