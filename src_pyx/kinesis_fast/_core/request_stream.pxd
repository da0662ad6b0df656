"""Fills requests with the records of one chunk."""

from libc.stdint cimport uint64_t

from kinesis_fast._core.aggregator cimport Aggregator
from kinesis_fast._core.batch cimport Batch, NewEntry
from kinesis_fast._core.limits cimport MAX_LANES
from kinesis_fast._core.plan cimport Plan
from kinesis_fast._core.read_ahead cimport ReadAhead
from kinesis_fast._core.record_compressor cimport RecordCompressor
from kinesis_fast._core.record_reader cimport RecordReader
from kinesis_fast._core.request cimport Request
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef struct PackingCounts:
    uint64_t entries        # in requests
    uint64_t aggregates
    uint64_t record_bytes   # data and partition keys, when each record was encoded
    uint64_t entry_bytes    # the same of the entries


cdef class RequestStream:
    cdef Plan plan
    cdef RecordReader reader
    cdef Aggregator* aggregator     # NULL: each record is an entry
    cdef RecordCompressor compressor    # None: nothing is compressed
    cdef bint is_packed             # joined records are compressed, but this one is already, alone
    cdef bint is_alone              # each record is an entry, though it may be in a bucket
    cdef bint is_cbor               # bodies are CBOR, not JSON
    cdef NewEntry single            # an entry for the record of the reader alone
    cdef bint is_busy               # a call is running, perhaps with the GIL released
    cdef int lane                   # the lane of the record or aggregate to add next
    cdef unsigned int slot          # the aggregator's slot of the record
    cdef ReadAhead ahead            # records with configured keys, before they are aggregated
    cdef readonly unsigned int n_lanes
    cdef readonly unsigned int n_open   # lanes that are collecting entries
    cdef Batch* lanes[MAX_LANES]
    cdef uint64_t n_records         # in requests, not taken as a tally yet
    cdef PackingCounts packing      # not taken yet

    cdef void enter(self) except *
    cdef void leave(self) noexcept
    cdef void drop(self) noexcept
    cdef void drop_rest(self) noexcept
    cdef void choose_lanes(self, unsigned int max_lanes) noexcept nogil
    cdef Request take_request(self, unsigned int max_open)
    cdef Request close_lane(self, int lane)
    cdef Request close_any_lane(self)
    cdef int lane_of_record(self) noexcept nogil
    cdef Status fill(self) noexcept nogil
    cdef Status fill_singles(self) noexcept nogil
    cdef Status fill_compressed(self) noexcept nogil
    cdef Status next_record(self) noexcept nogil
    cdef Status next_in_slot(self) noexcept nogil
    cdef Status read_ahead(self) noexcept nogil
    cdef Status put_alone(self) noexcept nogil
    cdef Status fill_aggregates(self) noexcept nogil
    cdef Status put_aggregates(self) noexcept nogil
    cdef inline Text data_of_record(self) noexcept nogil
    cdef inline Text key_of_record(self) noexcept nogil
    cdef Status put_record(self, const Text* hash_key) noexcept nogil
    cdef inline Status put(self, const NewEntry* entry) noexcept nogil
