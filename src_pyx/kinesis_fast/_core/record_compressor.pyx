"""Compresses the records of one stream, or its joined records.

gzip, zlib and snappy compress one record after the other, without the GIL. zstd is a Python
package: records are collected, and one call compresses them all.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from kinesis_fast._core.aggregate cimport Aggregate
from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.codec cimport (
    CODEC_ZSTD, CODECS, MAX_RATIO, CodecKind, codec_compress, codec_fit, codec_free, codec_new,
    copy_text, view_of,
)
from kinesis_fast._core.kernels cimport KF_SLACK
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.plan cimport Plan
from kinesis_fast._core.status cimport STATUS_END, STATUS_NO_MEMORY, STATUS_OK, STATUS_PACK
from kinesis_fast._core.text cimport Text


cdef enum:
    MAX_STAGED_BYTES = 1048576      # of data that one call into Python compresses, and one record
    MAX_KEPT_BYTES = 4194304        # of each buffer, while the compressor is not in use
    MAX_KEPT = 8                    # compressors of a plan that are not in use


cdef inline Text text_in(const Buffer* buffer, size_t start, size_t end) noexcept nogil:
    cdef Text text
    text.data = buffer.data + start
    text.n = end - start
    return text


cdef void limit_memory(Buffer* buffer) noexcept nogil:
    buffer.n = 0
    if buffer.capacity > MAX_KEPT_BYTES:
        buffer_free(buffer)


cdef RecordCompressor take_compressor(Plan plan):
    """Return a compressor that is not in use, or a new one: its state costs much to make."""
    try:
        return plan.compressors.pop()
    except IndexError:
        codec, level, new_zstd = plan.compression
    return RecordCompressor(codec, level, new_zstd() if codec == "zstd" else None, plan.joins,
                            plan.append_newline, plan.max_record_bytes)


cdef void give_back_compressor(Plan plan, RecordCompressor compressor) noexcept:
    """Drop the records of a compressor, and keep it for other streams."""
    compressor.clear()
    if len(plan.compressors) < MAX_KEPT:
        plan.compressors.append(compressor)


@cython.final
@cython.no_gc
cdef class RecordCompressor:
    """A codec, and what it needs for the records of one stream at a time.

    Args:
        codec: the name of the codec.
        level: for gzip and zlib.
        zstd: for zstd, an object like kinesis_fast.compression.Zstd.
        joins: whether joined records are compressed; otherwise each record alone.
        newline: whether records end with a newline.
        max_record_bytes: limit for compressed data plus partition key.
    """

    def __cinit__(self, str codec not None, int level, zstd, bint joins, bint newline,
                  size_t max_record_bytes):
        self.codec = codec_new(<CodecKind> <int> CODECS.index(codec), level)
        if self.codec == NULL:
            raise MemoryError("out of memory for a codec")
        self.zstd = Zstd.__new__(Zstd, zstd)
        self.codec.zstd = <void*> self.zstd
        self.joins = joins
        self.newline = newline
        self.max_record_bytes = max_record_bytes

    def __dealloc__(self):
        codec_free(self.codec)
        buffer_free(&self.out)
        buffer_free(&self.raw)
        buffer_free(&self.spans)
        buffer_free(&self.keys)
        buffer_free(&self.staged)
        buffer_free(&self.packed)

    cdef void clear(self) noexcept:
        """Drop all records, so that another stream can use this compressor."""
        self.clear_stage()
        self.holds_raw = False
        self.zstd.error = None
        limit_memory(&self.out)
        limit_memory(&self.raw)
        limit_memory(&self.packed)

    cdef void clear_stage(self) noexcept nogil:
        self.raw.n = self.spans.n = self.keys.n = self.staged.n = self.packed.n = 0
        self.n_staged = self.n_taken = 0
        self.is_packed = False

    cdef uint64_t n_waiting(self) noexcept nogil:
        """Return the number of records that were read and are not handed over yet."""
        return self.n_staged - self.n_taken + self.holds_raw

    cdef Status next_record(self, RecordReader reader) noexcept nogil:
        """Let the reader have the next record, compressed.

        STATUS_PACK: the records that wait have to be compressed by `call_zstd` first.
        """
        cdef Status status
        if self.codec.kind == CODEC_ZSTD:
            return self.next_staged(reader)
        if not self.holds_raw:
            status = reader.next_record()
            if status != STATUS_OK:
                return status
            reader.has_record = False
            self.holds_raw = True
        status = self.compress_record(reader)
        if status == STATUS_OK:
            self.holds_raw = False
            reader.has_record = True
        return status

    cdef Status compress_record(self, RecordReader reader) noexcept nogil:
        """Compress the record that the reader has, cut so far that it keeps the limit."""
        cdef bint is_cut = False
        cdef Buffer raw = reader.data
        cdef Status status = codec_fit(
            self.codec, text_in(&raw, 0, raw.n), self.newline,
            self.max_record_bytes - reader.key.n, &self.out, &is_cut)
        if status != STATUS_OK:
            return STATUS_NO_MEMORY
        self.raw_n = raw.n
        reader.counts.truncated += is_cut
        reader.data = self.out
        self.out = raw
        return STATUS_OK

    cdef Status next_staged(self, RecordReader reader) noexcept nogil:
        cdef Status status
        if self.is_packed and self.n_taken < self.n_staged:
            return self.take_from_stage(reader)
        if self.is_packed:
            self.clear_stage()
        while self.n_staged < MAX_RECORDS_PER_REQUEST and self.raw.n < MAX_STAGED_BYTES:
            if not self.holds_raw:
                status = reader.next_record()
                if status == STATUS_END:
                    break
                if status != STATUS_OK:
                    return status
                reader.has_record = False
                self.holds_raw = True
            if self.add_to_stage(reader) != STATUS_OK:
                return STATUS_NO_MEMORY
            self.holds_raw = False
        return STATUS_PACK if self.n_staged else STATUS_END

    cdef Status add_to_stage(self, RecordReader reader) noexcept nogil:
        cdef Staged* staged
        cdef uint64_t* span
        if (buffer_reserve(&self.raw, reader.data.n + 1) != STATUS_OK   # 1: never NULL
                or buffer_reserve(&self.keys, reader.key.n) != STATUS_OK
                or buffer_reserve(&self.spans, 2 * sizeof(uint64_t)) != STATUS_OK
                or buffer_reserve(&self.staged, sizeof(Staged)) != STATUS_OK):
            return STATUS_NO_MEMORY
        staged = <Staged*> self.staged.data + self.n_staged
        staged.raw_n = reader.data.n
        staged.key_start = self.keys.n
        staged.key_n = reader.key.n
        staged.key_is_random = reader.key_is_random
        staged.event = reader.event
        span = <uint64_t*> self.spans.data + 2 * self.n_staged
        span[0] = self.raw.n
        span[1] = reader.data.n
        memcpy(self.raw.data + self.raw.n, reader.data.data, reader.data.n)
        memcpy(self.keys.data + self.keys.n, reader.key.data, reader.key.n)
        self.raw.n += reader.data.n
        self.keys.n += reader.key.n
        self.spans.n += 2 * sizeof(uint64_t)
        self.staged.n += sizeof(Staged)
        self.n_staged += 1
        return STATUS_OK

    cdef Status take_from_stage(self, RecordReader reader) noexcept nogil:
        cdef const Staged* staged = <const Staged*> self.staged.data + self.n_taken
        cdef size_t n = staged.end - staged.start
        reader.data.n = 0
        if buffer_reserve(&reader.data, n + KF_SLACK) != STATUS_OK:
            return STATUS_NO_MEMORY
        memcpy(reader.data.data, self.packed.data + staged.start, n)
        memcpy(reader.key.data, self.keys.data + staged.key_start, staged.key_n)
        reader.data.n = n
        reader.key.n = staged.key_n
        reader.key_is_random = staged.key_is_random
        reader.event = staged.event
        reader.has_record = True
        self.raw_n = staged.raw_n
        self.n_taken += 1
        return STATUS_OK

    cdef Status compress_joined(self, Aggregator* aggregator) noexcept nogil:
        """Compress the aggregates that are sealed; STATUS_PACK: `call_zstd` does it."""
        cdef Aggregate* aggregate
        cdef Buffer raw
        if not aggregator.is_sealed or aggregator.n_compressed == aggregator.n_ended:
            return STATUS_OK
        if self.codec.kind == CODEC_ZSTD:
            return STATUS_PACK
        while aggregator.n_compressed < aggregator.n_ended:
            aggregate = aggregator.ended[aggregator.n_compressed]
            raw = aggregate.body
            if codec_compress(self.codec, text_in(&raw, aggregate.start, raw.n),
                              &self.out) != STATUS_OK:
                return STATUS_NO_MEMORY
            aggregate.body = self.out
            aggregate.start = 0
            self.out = raw
            aggregator.n_compressed += 1
        return STATUS_OK

    cdef void call_zstd(self, RecordReader reader, Aggregator* aggregator) except *:
        """Compress what waits for it, in one call; after an error it can be called again."""
        if self.joins:
            self.compress_aggregates(aggregator)
        else:
            self.compress_stage(reader)

    cdef void compress_stage(self, RecordReader reader) except *:
        cdef Staged* staged = <Staged*> self.staged.data
        cdef uint64_t n_cut = 0
        cdef uint32_t i
        compressed = self.zstd.library.compress_all(
            view_of(text_in(&self.raw, 0, self.raw.n)),
            view_of(text_in(&self.spans, 0, self.spans.n)))
        self.packed.n = 0
        for i in range(self.n_staged):
            n_cut += self.pack(compressed[i], &staged[i])
        reader.counts.truncated += n_cut    # at the end: after an error all are packed again
        self.is_packed = True

    cdef int pack(self, object compressed, Staged* staged) except -1:
        """Keep the compressed data of a record; returns whether it had to be cut to fit."""
        cdef size_t limit = self.max_record_bytes - staged.key_n
        cdef const uint64_t* span
        cdef bint is_cut = False
        cdef Py_buffer view
        cdef Text text
        PyObject_GetBuffer(compressed, &view, PyBUF_SIMPLE)
        try:
            text.data = <const uint8_t*> view.buf
            text.n = <size_t> view.len
            if text.n > limit or staged.raw_n - self.newline > limit * MAX_RATIO:
                span = <const uint64_t*> self.spans.data + 2 * (staged - <Staged*> self.staged.data)
                if codec_fit(self.codec, text_in(&self.raw, span[0], span[0] + span[1]),
                             self.newline, limit, &self.out, &is_cut) != STATUS_OK:
                    raise self.error()
                text = text_in(&self.out, 0, self.out.n)
            if buffer_reserve(&self.packed, text.n) != STATUS_OK:
                raise self.error()
            memcpy(self.packed.data + self.packed.n, text.data, text.n)
        finally:
            PyBuffer_Release(&view)
        staged.start = self.packed.n
        self.packed.n += text.n
        staged.end = self.packed.n
        return is_cut

    cdef void compress_aggregates(self, Aggregator* aggregator) except *:
        cdef Aggregate* aggregate
        cdef Buffer raw
        cdef unsigned int i
        cdef list texts = []
        for i in range(aggregator.n_compressed, aggregator.n_ended):
            aggregate = aggregator.ended[i]
            texts.append(view_of(text_in(&aggregate.body, aggregate.start, aggregate.body.n)))
        compressed = self.zstd.library.compress_all(texts)
        texts.clear()
        for i in range(<unsigned int> len(compressed)):
            aggregate = aggregator.ended[aggregator.n_compressed]
            copy_text(compressed[i], &self.out)
            raw = aggregate.body
            aggregate.body = self.out
            aggregate.start = 0
            self.out = raw
            aggregator.n_compressed += 1

    cdef object error(self):
        """Return the error of the last call into Python, or that there is no memory."""
        error, self.zstd.error = self.zstd.error, None
        return error or MemoryError("out of memory for compressed data")
