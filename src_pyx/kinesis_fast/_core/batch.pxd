"""Collects the entries of one PutRecords request in C memory, without Python objects."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef enum KeyKind:
    KEY_OF_RECORD       # a key from a record, which never changes
    KEY_RANDOM          # RANDOM_KEY_LENGTH random characters
    KEY_RANDOM_IN_KPL   # the same, which also stand in the aggregate that is the data


cdef struct EventRef:
    size_t at           # offset of the event in its chunk
    uint32_t index      # index of the event in its chunk, from 0


cdef struct NewEntry:
    Text data
    Text key
    Text hash_key       # the decimal digits of an ExplicitHashKey; n is 0 if there is none
    KeyKind key_kind
    const EventRef* events
    uint32_t n_events   # at least 1


cdef struct Entry:
    uint32_t start      # offset in the body of the map of the entry
    uint32_t end        # offset in the body just after it
    uint32_t n_bytes    # data + partition key, before base64
    uint32_t n_events
    EventRef first
    size_t further      # index in Batch.events of the second event
    KeyKind key_kind


cdef struct Batch


# Adds an entry in the protocol of the batch. The caller has checked the limits. KF_SLACK bytes
# after the data and after the key must be readable. On failure the batch does not change.
ctypedef Status (*BatchAppend)(Batch* batch, const NewEntry* new) noexcept nogil


cdef struct Batch:
    Buffer buffer       # the body: the opening, the entries, and the tail after batch_finish
    Buffer events       # an array of EventRef: all events of an entry but its first
    unsigned int n_entries
    uint32_t n_records  # sum of n_events over all entries
    size_t n_bytes      # sum over all entries
    uint64_t random_state   # of the keys that batch_renew_keys writes
    BatchAppend append
    bint is_cbor        # otherwise JSON
    Entry entries[MAX_RECORDS_PER_REQUEST]


cdef Batch* batch_new() noexcept nogil
cdef void batch_free(Batch* batch) noexcept nogil
cdef Status batch_open(Batch* batch, bint is_cbor) noexcept nogil
cdef Status batch_append_copy(Batch* batch, const Batch* other, unsigned int index) noexcept nogil
cdef Status batch_append_as_json(Batch* batch, const Batch* other,
                                 unsigned int index) noexcept nogil
cdef Status batch_retain(Batch* batch, const unsigned int* chosen, unsigned int n,
                         Text tail) noexcept nogil
cdef void batch_renew_keys(Batch* batch) noexcept nogil
cdef Status batch_finish(Batch* batch, Text tail) noexcept nogil


cdef inline EventRef event_of_entry(const Batch* batch, const Entry* entry,
                                    uint32_t i) noexcept nogil:
    """Return event `i` of an entry, from 0."""
    if i == 0:
        return entry.first
    return (<const EventRef*> batch.events.data)[entry.further + i - 1]
