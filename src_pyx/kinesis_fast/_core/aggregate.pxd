"""One aggregate: records that share an entry, in the format of KPL or joined as lines."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from kinesis_fast._core.batch cimport EventRef, NewEntry
from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.kernels cimport kf_md5_message
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef extern from "kernels/tags.hpp" nogil:
    enum:
        KF_N_TAGS


cdef enum Format:
    FORMAT_NONE         # each record is an entry
    FORMAT_KPL
    FORMAT_LINES        # the records one after the other; each ends with a newline

cdef enum:
    N_RECENT_KEYS = KF_N_TAGS   # of which an aggregate remembers where they stand in its table


cdef struct Aggregate:
    Aggregate* next         # in a list of spare ones
    Format format
    unsigned int slot       # of the aggregator
    Text hash_key           # n is 0: the keys are random, and the first is the key of all records
    Buffer body             # room for the head, then the records
    Buffer keys             # the fields of the keys, as they will stand in the head
    Buffer events           # an array of EventRef, one for each record
    size_t n_bytes          # of data and partition key of the entry, as of now
    uint32_t n_records
    uint32_t n_keys
    uint32_t recent[N_RECENT_KEYS]  # offset in `keys` of the field of key i, at i % N_RECENT_KEYS
    uint16_t recent_tags[N_RECENT_KEYS]  # a part of a hash of each of these keys
    size_t first_n          # bytes of the first record's data, and where they end in the body
    size_t first_end
    size_t start            # where the data of the entry begins in the body, once it is sealed


cdef struct Addition:
    uint32_t key_index
    uint16_t key_tag
    bint is_new_key
    size_t n_bytes          # by which the entry grows


cdef Aggregate* aggregate_new() noexcept nogil
cdef void aggregate_free(Aggregate* aggregate) noexcept nogil
cdef void aggregate_open(Aggregate* aggregate, Format format, unsigned int slot,
                         const Text* hash_key) noexcept nogil
cdef void aggregate_measure(const Aggregate* aggregate, Text data, Text key,
                            Addition* addition) noexcept nogil
cdef Status aggregate_add(Aggregate* aggregate, Text data, Text key, EventRef event,
                          const Addition* addition) noexcept nogil
cdef bint aggregate_seal(Aggregate* aggregate, kf_md5_message* digest) noexcept nogil
cdef void aggregate_entry(Aggregate* aggregate, NewEntry* entry) noexcept nogil
