from libc.stddef cimport size_t
from libc.stdint cimport uint16_t

from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef extern from "kernels/snappy.hpp":
    enum:
        KF_SNAPPY_TABLE


cdef extern from "kernels/deflate.hpp":
    struct kf_deflater:
        pass


cdef enum CodecKind:
    CODEC_GZIP
    CODEC_ZLIB
    CODEC_SNAPPY


cdef struct Codec:
    CodecKind kind
    kf_deflater deflater                # for CODEC_GZIP and CODEC_ZLIB
    uint16_t table[KF_SNAPPY_TABLE]     # for CODEC_SNAPPY


cdef Codec* codec_new(CodecKind kind, int level) noexcept nogil
cdef void codec_free(Codec* codec) noexcept nogil
cdef Status codec_compress(Codec* codec, Text data, Buffer* out) noexcept nogil
cdef Status codec_fit(Codec* codec, Text data, bint newline, size_t limit, Buffer* out,
                      bint* is_cut) noexcept nogil
