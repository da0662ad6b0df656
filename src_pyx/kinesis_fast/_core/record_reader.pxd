"""Reads the events of a chunk and makes a record of each."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from kinesis_fast._core.batch cimport EventRef
from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.cursor cimport Cursor
from kinesis_fast._core.events cimport Event, Moment
from kinesis_fast._core.partition_key cimport PartitionKey
from kinesis_fast._core.plan cimport Plan
from kinesis_fast._core.shape cimport Found
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text
from kinesis_fast._core.times cimport TimeCache


cdef struct Counts:
    uint64_t skipped_not_map
    uint64_t skipped_too_deep
    uint64_t skipped_no_log_key
    uint64_t skipped_bad_key
    uint64_t skipped_malformed
    uint64_t group_markers
    uint64_t truncated
    uint64_t bad_times
    uint64_t nan_values
    uint64_t random_keys
    uint64_t no_data_keys
    uint64_t resumed


cdef struct SkippedEvent:
    size_t start            # offsets in the chunk
    size_t end
    Moment time             # valid only if has_time
    bint has_time
    Status reason


cdef class RecordReader:
    cdef Plan plan
    cdef Py_buffer chunk
    cdef bint is_open           # this reader holds the chunk
    cdef Cursor cursor
    cdef const uint8_t* start
    cdef uint32_t n_events      # events read
    cdef bytes settled          # one bit per event; 1: settled earlier, not sent again
    cdef Text settled_bits
    cdef Moment now
    cdef uint64_t random_state
    cdef TimeCache times
    cdef Buffer data            # the data of the record read last
    cdef PartitionKey key       # its partition key
    cdef bint key_is_random
    cdef EventRef event         # its event
    cdef bint has_record        # that record is in use: the next one has not been asked for
    cdef Counts counts
    cdef size_t malformed_at
    cdef bint keeps_skipped
    cdef Buffer skipped         # an array of SkippedEvent
    cdef Buffer no_record       # one bit per event read; 1: it makes no record

    cdef void release_chunk(self) noexcept
    cdef Status next_record(self) noexcept nogil
    cdef uint64_t count_events(self, uint64_t most) noexcept nogil
    cdef uint64_t count_ahead(self, uint64_t most) noexcept nogil
    cdef list take_skipped(self)
    cdef void mark_skipped(self, bytearray bits) except *
    cdef tuple span(self, Py_ssize_t start)

    cdef Status add_bits(self) noexcept nogil
    cdef Status read_next_event(self) noexcept nogil
    cdef Status encode_body(self, const Event* event) noexcept nogil
    cdef Status finish_record(self, const Found* found) noexcept nogil
    cdef void choose_key(self, const Found* found, Text time) noexcept nogil
    cdef void truncate_record(self) noexcept nogil
    cdef Status skip_body(self, Cursor body, const Event* event, Status reason) noexcept nogil
    cdef Status end_malformed(self) noexcept nogil
    cdef Status keep_skipped(self, const Event* event, Status reason) noexcept nogil
    cdef bint is_settled(self, uint32_t event) noexcept nogil
