"""Compresses the records of one stream, or its joined records."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from kinesis_fast._core.aggregator cimport Aggregator
from kinesis_fast._core.batch cimport EventRef
from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.codec cimport Codec, Zstd
from kinesis_fast._core.plan cimport Plan
from kinesis_fast._core.record_reader cimport RecordReader
from kinesis_fast._core.status cimport Status


cdef struct Staged:
    size_t raw_n            # bytes of data
    size_t start            # of the compressed data in RecordCompressor.packed
    size_t end
    size_t key_start        # of the partition key in RecordCompressor.keys
    size_t key_n
    bint key_is_random
    EventRef event


cdef class RecordCompressor:
    cdef Codec* codec
    cdef Zstd zstd              # None for other codecs
    cdef bint joins             # whether joined records are compressed, not single ones
    cdef bint newline           # whether records end with one
    cdef size_t max_record_bytes
    cdef Buffer out
    cdef size_t raw_n           # bytes of the record in the reader before it was compressed
    cdef bint holds_raw         # the reader has a record that is not compressed, and is not ready
    # zstd collects records until one call into Python compresses them all.
    cdef Buffer raw             # the data of the collected records
    cdef Buffer spans           # an array of uint64_t: start and length of each in `raw`
    cdef Buffer keys
    cdef Buffer staged          # an array of Staged
    cdef uint32_t n_staged
    cdef uint32_t n_taken
    cdef Buffer packed          # their compressed data
    cdef bint is_packed         # all of it is there

    cdef void clear(self) noexcept
    cdef uint64_t n_waiting(self) noexcept nogil
    cdef void clear_stage(self) noexcept nogil
    cdef Status next_record(self, RecordReader reader) noexcept nogil
    cdef Status next_staged(self, RecordReader reader) noexcept nogil
    cdef Status add_to_stage(self, RecordReader reader) noexcept nogil
    cdef Status take_from_stage(self, RecordReader reader) noexcept nogil
    cdef Status compress_record(self, RecordReader reader) noexcept nogil
    cdef Status compress_joined(self, Aggregator* aggregator) noexcept nogil
    cdef void call_zstd(self, RecordReader reader, Aggregator* aggregator) except *
    cdef void compress_stage(self, RecordReader reader) except *
    cdef void compress_aggregates(self, Aggregator* aggregator) except *
    cdef int pack(self, object compressed, Staged* staged) except -1
    cdef object error(self)


cdef RecordCompressor take_compressor(Plan plan)
cdef void give_back_compressor(Plan plan, RecordCompressor compressor) noexcept
