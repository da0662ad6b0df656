"""Distributes records over aggregates, and hands over those that are ready for a request."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from kinesis_fast._core.aggregate cimport Aggregate, Format
from kinesis_fast._core.batch cimport EventRef, NewEntry
from kinesis_fast._core.buckets cimport KnownKeys
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef enum:
    MAX_BUCKETS = 1024
    N_ENDED = 8                 # ended aggregates whose MD5s are computed together
    MAX_KEPT = 8                # aggregators kept for reuse


cdef struct Aggregation:
    Format format
    size_t max_bytes            # data and partition key of an aggregate
    const Text* hash_keys       # the explicit hash key of each bucket
    unsigned int n_buckets      # a power of two, or 0: keys are random


cdef struct Aggregator:
    Aggregation rules
    Aggregate* opened[MAX_BUCKETS + 1]  # by slot: one per bucket, the last one for random keys
    Aggregate* ended[N_ENDED]           # in the order in which they ended
    unsigned int n_ended
    unsigned int n_put                  # of them are in a request
    unsigned int n_compressed           # of them are compressed, once they are sealed
    bint is_sealed                      # they are ready to be put into requests
    Aggregate* spare
    size_t n_open_bytes
    uint32_t n_records                  # in aggregates that are in no request yet
    KnownKeys known


cdef class AggregatorPool:
    cdef Aggregation rules
    cdef Aggregator* kept[MAX_KEPT]
    cdef unsigned int n_kept

    cdef Aggregator* take(self) except NULL
    cdef void give_back(self, Aggregator* aggregator) noexcept


cdef void slots_of(Aggregator* aggregator, const Text* keys, unsigned int n,
                   unsigned int* slots) noexcept nogil
cdef const Text* hash_key_of(const Aggregator* aggregator, unsigned int slot) noexcept nogil
cdef Status aggregator_add(Aggregator* aggregator, unsigned int slot, Text data, Text key,
                           EventRef event) noexcept nogil
cdef Status aggregator_end_some(Aggregator* aggregator) noexcept nogil
cdef bint aggregator_entry(Aggregator* aggregator, NewEntry* entry,
                           unsigned int* slot) noexcept nogil
cdef void aggregator_entry_is_put(Aggregator* aggregator) noexcept nogil
