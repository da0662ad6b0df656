"""The body of one PutRecords request, and the memory it lives in."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.status cimport STATUS_NO_MEMORY, STATUS_OK
from kinesis_fast._core.text cimport text_of


cdef extern from "kernels/base64.hpp" nogil:
    size_t kf_base64_length(size_t n)
    uint8_t* kf_base64(uint8_t* out, const uint8_t* src, size_t n)


cdef extern from "kernels/json_escape.hpp" nogil:
    enum:
        KF_ESCAPE_MAX
        KF_ESCAPE_SLACK
    uint8_t* kf_escape(uint8_t* out, const uint8_t* src, size_t n, const uint8_t* readable_end)


cdef enum:
    ENTRY_TEXT = 64     # more than the braces, names and quotes of an entry


@cython.final
@cython.no_gc
cdef class BufferPool:
    """At most POOL_SIZE buffers that wait to be used again; fresh memory costs page faults."""

    def __dealloc__(self):
        while self.n_buffers:
            self.n_buffers -= 1
            buffer_free(&self.buffers[self.n_buffers])

    cdef void take(self, Buffer* buffer) noexcept:
        """Move a buffer out of the pool, an empty one if there is none."""
        buffer.data = NULL
        buffer.capacity = 0
        with cython.critical_section(self):
            if self.n_buffers:
                self.n_buffers -= 1
                buffer[0] = self.buffers[self.n_buffers]
        buffer.n = 0

    cdef void give_back(self, Buffer* buffer) noexcept:
        """Take over a buffer, which is empty afterwards."""
        with cython.critical_section(self):
            if buffer.data != NULL and self.n_buffers < POOL_SIZE:
                self.buffers[self.n_buffers] = buffer[0]
                self.n_buffers += 1
                buffer.data = NULL
        buffer_free(buffer)


cdef inline void put(Buffer* out, const char* text, size_t n) noexcept nogil:
    memcpy(out.data + out.n, text, n)
    out.n += n


cdef Request new_request(BufferPool pool, bytes tail):
    cdef Request request = Request.__new__(Request)
    request.pool = pool
    request.tail = tail
    pool.take(&request.buffer)
    return request


@cython.final
@cython.no_gc
cdef class Request:
    """One PutRecords request, ready to be sent. Made by the encoder and by `subset` only."""

    def __init__(self):
        raise TypeError("a Request is made by RecordEncoder.requests() or Request.subset()")

    def __dealloc__(self):
        if self.pool is not None:
            self.pool.give_back(&self.buffer)

    cdef Status open(self) noexcept nogil:
        if buffer_reserve(&self.buffer, ENTRY_TEXT) != STATUS_OK:
            return STATUS_NO_MEMORY
        put(&self.buffer, b'{"Records":[', 12)
        return STATUS_OK

    cdef Status append(self, Text data, Text key, uint32_t event) noexcept nogil:
        """Add a record; the caller has checked the limits. Nothing is added on failure."""
        cdef Buffer* out = &self.buffer
        cdef Entry* entry = &self.entries[self.n_entries]
        cdef uint8_t* end
        if buffer_reserve(out, kf_base64_length(data.n) + key.n * KF_ESCAPE_MAX
                          + KF_ESCAPE_SLACK + ENTRY_TEXT) != STATUS_OK:
            return STATUS_NO_MEMORY
        if self.n_entries:
            put(out, b",", 1)
        entry.start = out.n
        put(out, b'{"Data":"', 9)
        end = kf_base64(out.data + out.n, data.data, data.n)
        out.n = <size_t> (end - out.data)
        put(out, b'","PartitionKey":"', 18)
        end = kf_escape(out.data + out.n, key.data, key.n, key.data + key.n)
        out.n = <size_t> (end - out.data)
        put(out, b'"}', 2)
        entry.end = out.n
        entry.n_bytes = <uint32_t> (data.n + key.n)
        entry.event = event
        self.n_entries += 1
        self.total_bytes += entry.n_bytes
        return STATUS_OK

    cdef Status append_copy(self, Request other, unsigned int index) noexcept nogil:
        """Add entry `index` of another request as it is."""
        cdef Buffer* out = &self.buffer
        cdef const Entry* source = &other.entries[index]
        cdef Entry* entry = &self.entries[self.n_entries]
        cdef size_t n = source.end - source.start
        if buffer_reserve(out, n + ENTRY_TEXT) != STATUS_OK:
            return STATUS_NO_MEMORY
        if self.n_entries:
            put(out, b",", 1)
        entry[0] = source[0]
        entry.start = out.n
        put(out, <const char*> other.buffer.data + source.start, n)
        entry.end = out.n
        self.n_entries += 1
        self.total_bytes += entry.n_bytes
        return STATUS_OK

    cdef Status finish(self, Text tail) noexcept nogil:
        if buffer_reserve(&self.buffer, tail.n) != STATUS_OK:
            return STATUS_NO_MEMORY
        put(&self.buffer, <const char*> tail.data, tail.n)
        return STATUS_OK

    cdef Entry* entry_at(self, Py_ssize_t index) except NULL:
        if self.buffer.data == NULL:
            raise ValueError("the request has been released")
        if not 0 <= index < <Py_ssize_t> self.n_entries:
            raise IndexError(f"entry {index} of a request of {self.n_entries} records")
        return &self.entries[index]

    def __getbuffer__(self, Py_buffer* view, int flags):
        with cython.critical_section(self):
            if self.buffer.data == NULL:
                raise BufferError("the request has been released")
            PyBuffer_FillInfo(view, self, self.buffer.data, <Py_ssize_t> self.buffer.n, 1, flags)
            self.n_views += 1

    def __releasebuffer__(self, Py_buffer* view):
        with cython.critical_section(self):
            self.n_views -= 1

    def __len__(self):
        return <Py_ssize_t> self.buffer.n

    def __repr__(self):
        return f"<Request of {self.n_entries} records, {self.total_bytes} bytes>"

    @property
    def n_records(self):
        """Number of entries, 1 to 500."""
        return self.n_entries

    @property
    def n_bytes(self):
        """Data before base64 plus partition keys, in bytes, as the service counts them."""
        return self.total_bytes

    @property
    def body(self):
        """The JSON of the request as a read-only memoryview; it keeps the Request alive."""
        return memoryview(self)

    def n_bytes_of(self, Py_ssize_t index):
        """Data plus partition key of entry `index`, in bytes."""
        return self.entry_at(index).n_bytes

    def event_of(self, Py_ssize_t index):
        """Ordinal of the event in its chunk that entry `index` was made of, from 0."""
        return self.entry_at(index).event

    def entry(self, Py_ssize_t index):
        """Entry `index` as it stands in the body: `{"Data":"<base64>","PartitionKey":"..."}`."""
        cdef const Entry* entry = self.entry_at(index)
        return (<const char*> self.buffer.data)[entry.start:entry.end]

    def subset(self, indexes):
        """A new Request that holds only the entries `indexes`, in that order.

        It has memory of its own; nothing is encoded again. IndexError for an index that is not
        there, ValueError for no index at all or for more than there are entries.
        """
        cdef unsigned int chosen[MAX_RECORDS_PER_REQUEST]
        cdef unsigned int n = 0
        cdef Py_ssize_t index
        # All code of the caller runs before anything is read: it might change what it gave us.
        cdef tuple wanted = tuple(indexes)
        if not 0 < len(wanted) <= <Py_ssize_t> self.n_entries:
            raise ValueError(f"{len(wanted)} entries of a request of {self.n_entries} records")
        for index in wanted:
            self.entry_at(index)
            chosen[n] = <unsigned int> index
            n += 1
        return self.copy_entries(chosen, n)

    cdef Request copy_entries(self, const unsigned int* chosen, unsigned int n):
        cdef Request part = new_request(self.pool, self.tail)
        cdef Status status
        cdef unsigned int i
        with cython.critical_section(self):
            self.entry_at(chosen[0])
            status = part.open()
            for i in range(n):
                if status == STATUS_OK:
                    status = part.append_copy(self, chosen[i])
        if status != STATUS_OK or part.finish(text_of(self.tail)) != STATUS_OK:
            raise MemoryError(f"no memory for a request of {n} records")
        return part

    def release(self):
        """Give the memory back to the encoder; the Request is of no use afterwards.

        BufferError while a view of the body is alive. A second call does nothing.
        """
        with cython.critical_section(self):
            if self.n_views:
                raise BufferError("a view of the request's body is still in use")
            self.pool.give_back(&self.buffer)
            self.buffer.n = 0
