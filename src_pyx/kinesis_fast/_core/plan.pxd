"""What an encoder does with each event, as its arguments say; it never changes."""

from libc.stddef cimport size_t

from kinesis_fast._core.aggregator cimport AggregatorPool
from kinesis_fast._core.codec cimport CodecKind
from kinesis_fast._core.request cimport BatchPool
from kinesis_fast._core.shape cimport Shape
from kinesis_fast._core.text cimport Text
from kinesis_fast._core.times cimport TimeFormat


cdef class Plan:
    cdef Shape shape
    cdef TimeFormat time_format
    cdef bint append_newline
    cdef size_t max_record_bytes
    cdef size_t max_request_bytes
    cdef BatchPool pool
    cdef AggregatorPool aggregators
    cdef CodecKind codec
    cdef bint joins             # what is compressed is joined records, not single ones
    cdef tuple compression      # the arguments of a RecordCompressor; () for CODEC_NONE
    cdef list compressors       # that are not in use
    cdef tuple owned            # keeps alive the bytes objects that the structs point into
    cdef Text* names            # data_keys, path and hash_keys, one after the other

    cdef void set_names(self, tuple data_keys, tuple path, tuple hash_keys) except *
    cdef void set_codec(self, str codec, int level, new_zstd, bint joins) except *
    cdef void set_aggregation(self, str aggregation, size_t max_aggregate_bytes) except *
    cdef void check_time_format(self) except *
