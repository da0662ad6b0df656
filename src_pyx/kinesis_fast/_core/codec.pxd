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


cdef enum:
    MAX_RATIO = 32      # a text this many times larger than its limit is cut before

cdef enum CodecKind:
    CODEC_NONE
    CODEC_GZIP
    CODEC_ZLIB
    CODEC_SNAPPY
    CODEC_ZSTD


cdef class Zstd:
    """A Python object that compresses with zstd, and what went wrong when it did last."""
    cdef object library         # its methods: compress and compress_all of compression.Zstd
    cdef object error


cdef struct Codec:
    CodecKind kind
    void* zstd                          # for CODEC_ZSTD: a Zstd, which the caller keeps alive
    kf_deflater deflater                # for CODEC_GZIP and CODEC_ZLIB
    uint16_t table[KF_SNAPPY_TABLE]     # for CODEC_SNAPPY


cdef tuple CODECS                       # the names, in the order of CodecKind

cdef Codec* codec_new(CodecKind kind, int level) noexcept nogil
cdef void codec_free(Codec* codec) noexcept nogil
cdef Status codec_compress(Codec* codec, Text data, Buffer* out) noexcept nogil
cdef object view_of(Text text)
cdef void copy_text(object source, Buffer* out) except *
cdef Status codec_fit(Codec* codec, Text data, bint newline, size_t limit, Buffer* out,
                      bint* is_cut) noexcept nogil
