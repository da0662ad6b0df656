"""Compresses records: gzip and zlib with zlib, the raw block format of Snappy, zstd in Python.

A Codec is kept for many records, because a new state of zlib costs more than a short record. No
record depends on an earlier one, and the same text always gives the same bytes.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.kernels cimport KF_SLACK
from kinesis_fast._core.status cimport STATUS_FULL, STATUS_NO_MEMORY, STATUS_OK


cdef extern from "kernels/snappy.hpp" nogil:
    size_t kf_snappy_bound(size_t n)
    size_t kf_snappy(uint8_t* out, const uint8_t* src, size_t n, uint16_t* table)


cdef extern from "kernels/deflate.hpp" nogil:
    bint kf_deflate_open(kf_deflater* deflater, int level, bint is_gzip)
    void kf_deflate_close(kf_deflater* deflater)
    size_t kf_deflate_bound(kf_deflater* deflater, size_t n)
    size_t kf_deflate(kf_deflater* deflater, uint8_t* out, size_t room, const uint8_t* src,
                      size_t n)


cdef extern from "kernels/truncated.hpp" nogil:
    size_t KF_TRUNCATED_N
    size_t kf_truncate(uint8_t* out, const uint8_t* text, size_t n, size_t text_n)


cdef enum:
    MAX_TEXT = 0x7fffffff       # bytes; zlib counts in unsigned int
    MAX_TRIES = 20              # to find a cut that fits; two or three are usual
    CLOSE_ENOUGH = 98           # % of the limit

CODECS = ("none", "gzip", "zlib", "snappy", "zstd")


@cython.final
cdef class Zstd:
    def __cinit__(self, library):
        self.library = library


cdef inline bint uses_zlib(CodecKind kind) noexcept nogil:
    return kind == CODEC_GZIP or kind == CODEC_ZLIB


cdef Codec* codec_new(CodecKind kind, int level) noexcept nogil:
    """Return a codec, or NULL if there is no memory. Only gzip and zlib use the level."""
    cdef Codec* codec = <Codec*> malloc(sizeof(Codec))
    if codec == NULL:
        return NULL
    codec.kind = kind
    codec.zstd = NULL
    if uses_zlib(kind) and not kf_deflate_open(&codec.deflater, level, kind == CODEC_GZIP):
        free(codec)
        return NULL
    return codec


cdef void codec_free(Codec* codec) noexcept nogil:
    if codec != NULL and uses_zlib(codec.kind):
        kf_deflate_close(&codec.deflater)
    free(codec)


cdef Status codec_compress(Codec* codec, Text data, Buffer* out) noexcept nogil:
    """Replace what is in `out` by the compressed data, with KF_SLACK bytes of room behind it.

    zstd takes the GIL. STATUS_NO_MEMORY also stands for the error that its Zstd then has.
    """
    cdef size_t room
    out.n = 0
    if codec.kind == CODEC_ZSTD:
        return compress_with_gil(codec, data, out)
    if data.n > MAX_TEXT:
        return STATUS_NO_MEMORY
    if codec.kind == CODEC_SNAPPY:
        room = kf_snappy_bound(data.n)
    else:
        room = kf_deflate_bound(&codec.deflater, data.n)
    if buffer_reserve(out, room + KF_SLACK) != STATUS_OK:
        return STATUS_NO_MEMORY
    if codec.kind == CODEC_SNAPPY:
        out.n = kf_snappy(out.data, data.data, data.n, codec.table)
    else:
        out.n = kf_deflate(&codec.deflater, out.data, room, data.data, data.n)
    return STATUS_OK if out.n > 0 else STATUS_NO_MEMORY


cdef Status compress_with_gil(Codec* codec, Text data, Buffer* out) noexcept with gil:
    cdef Zstd zstd = <Zstd> codec.zstd
    try:
        copy_text(zstd.library.compress(view_of(data)), out)
    except BaseException as error:
        zstd.error = error
        return STATUS_NO_MEMORY
    return STATUS_OK


cdef object view_of(Text text):
    """Return a view of a text; the caller keeps the text until the view is gone."""
    return PyMemoryView_FromMemory(<char*> text.data, <Py_ssize_t> text.n, PyBUF_READ)


cdef void copy_text(object source, Buffer* out) except *:
    """Replace what is in `out` by the bytes of an object, with KF_SLACK bytes of room."""
    cdef Py_buffer view
    PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    try:
        out.n = 0
        if buffer_reserve(out, <size_t> view.len + KF_SLACK) != STATUS_OK:
            raise MemoryError("out of memory for compressed data")
        memcpy(out.data, view.buf, <size_t> view.len)
        out.n = <size_t> view.len
    finally:
        PyBuffer_Release(&view)


cdef Status codec_fit(Codec* codec, Text data, bint newline, size_t limit, Buffer* out,
                      bint* is_cut) noexcept nogil:
    """Compress the data into `out`, cut so far that at most `limit` bytes come out.

    data: with its newline at the end, if `newline`; a cut text has that newline too.
    limit: bytes, at least 64.
    is_cut: becomes whether the data was cut.

    Returns STATUS_FULL if not even the mark of a cut text fits.
    """
    cdef Buffer text
    cdef Status status = STATUS_OK
    is_cut[0] = False
    out.n = 0
    if data.n - newline <= limit * MAX_RATIO:
        status = codec_compress(codec, data, out)
        if status != STATUS_OK or out.n <= limit:
            return status
    is_cut[0] = True
    text.data = NULL
    text.n = text.capacity = 0
    data.n -= newline
    status = find_cut(codec, data, newline, limit, &text, out)
    buffer_free(&text)
    return status


cdef Status find_cut(Codec* codec, Text data, bint newline, size_t limit, Buffer* text,
                     Buffer* out) noexcept nogil:
    """Look for the longest cut that fits; out.n is the size of the whole data, 0 if not tried.

    `low` and `high` are cuts that fit and do not fit; n is a number of bytes of the data, and size
    that of the compressed text.
    """
    cdef size_t low_n = 0, low_size = 0, high_n = data.n, high_size = out.n, n
    cdef int tries = 0
    cdef Status status
    if out.n == 0:
        high_n = n = limit * MAX_RATIO
    else:
        n = next_cut(low_n, low_size, high_n, high_size, limit, tries)
    while True:
        status = compress_cut(codec, data, n, newline, text, out)
        tries += 1
        if status != STATUS_OK:
            return status
        if out.n > limit:
            high_n = n
            high_size = out.n
        elif n >= limit * MAX_RATIO or out.n * 100 >= limit * CLOSE_ENOUGH:
            return STATUS_OK
        else:
            low_n = n
            low_size = out.n
        if tries >= MAX_TRIES or high_n - low_n <= 1:
            break
        n = next_cut(low_n, low_size, high_n, high_size, limit, tries)
    if out.n <= limit:
        return STATUS_OK
    status = compress_cut(codec, data, low_n, newline, text, out)
    return status if status != STATUS_OK or out.n <= limit else STATUS_FULL


cdef size_t next_cut(size_t low_n, size_t low_size, size_t high_n, size_t high_size, size_t limit,
                     int tries) noexcept nogil:
    """Return where 99 % of the limit are to be expected, in each third try the middle.

    The middle helps where the parts of the data compress differently well.
    """
    cdef double wanted = limit * 0.99 - low_size
    cdef double share = 0.5
    if tries % 3 < 2:
        share = wanted / <double> (high_size - low_size) if wanted > 0 else 0.0
    cdef size_t n = low_n + <size_t> ((high_n - low_n) * share)
    if n <= low_n:
        return low_n + 1
    return n if n < high_n else high_n - 1


cdef Status compress_cut(Codec* codec, Text data, size_t n, bint newline, Buffer* text,
                         Buffer* out) noexcept nogil:
    """Compress the first n bytes of the data, or a few less, with the mark of a cut text."""
    cdef Text cut
    text.n = 0
    if buffer_reserve(text, n + KF_TRUNCATED_N + 1) != STATUS_OK:
        return STATUS_NO_MEMORY
    text.n = kf_truncate(text.data, data.data, n, data.n)
    if newline:
        text.data[text.n] = c"\n"
        text.n += 1
    cut.data = text.data
    cut.n = text.n
    return codec_compress(codec, cut, out)


@cython.final
@cython.no_gc
cdef class Compressor:
    """One codec and its state, for tests and benchmarks. Only one thread at a time may use it.

    Args:
        name: "gzip", "zlib", "snappy" or "zstd".
        level: 0 to 9 for gzip and zlib; the others ignore it.
        zstd: for zstd an object that compresses.

    Raises:
        ValueError: the name is unknown, or the level out of range.
    """
    cdef Codec* codec
    cdef Zstd zstd

    def __cinit__(self, str name not None, int level, zstd=None):
        if name not in CODECS[1:]:
            raise ValueError(f"no codec {name!r}; allowed: {', '.join(CODECS[1:])}")
        if not 0 <= level <= 9:
            raise ValueError(f"level {level} is out of range; allowed: 0 to 9")
        self.codec = codec_new(<CodecKind> <int> CODECS.index(name), level)
        if self.codec == NULL:
            raise MemoryError("out of memory for a codec")
        self.zstd = Zstd.__new__(Zstd, zstd)
        self.codec.zstd = <void*> self.zstd

    def __dealloc__(self):
        codec_free(self.codec)

    def compress(self, data):
        """Return the compressed bytes of a bytes-like object."""
        cdef bint is_cut
        return self.run(data, False, 0, &is_cut)

    def fit(self, data, *, bint newline, size_t limit):
        """Return the compressed bytes, and whether the data had to be cut so that they fit.

        Args:
            data: a bytes-like object that ends with a newline if `newline`.
            newline: whether a cut text has to end with a newline.
            limit: the largest number of compressed bytes, at least 64.
        """
        cdef bint is_cut = False
        if limit < 64:
            raise ValueError(f"limit is {limit}; allowed: at least 64")
        compressed = self.run(data, newline, limit, &is_cut)
        return compressed, is_cut

    cdef bytes run(self, data, bint newline, size_t limit, bint* is_cut):
        cdef Py_buffer view
        cdef Text text
        cdef Buffer out
        cdef Status status
        out.data = NULL
        out.n = out.capacity = 0
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            text.data = <const uint8_t*> view.buf
            text.n = <size_t> view.len
            if limit == 0:
                status = codec_compress(self.codec, text, &out)
            else:
                status = codec_fit(self.codec, text, newline, limit, &out, is_cut)
            if status == STATUS_FULL:
                raise ValueError(f"no cut text fits into {limit} bytes")
            if status != STATUS_OK:
                raise self.zstd.error or MemoryError("out of memory for compressed data")
            return PyBytes_FromStringAndSize(<const char*> out.data, out.n)
        finally:
            buffer_free(&out)
            PyBuffer_Release(&view)
