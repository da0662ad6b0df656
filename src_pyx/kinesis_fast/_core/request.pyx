"""The body of one PutRecords request, in JSON or CBOR, and the pool that its memory comes from."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytearray cimport PyByteArray_AsString
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from kinesis_fast._core.batch cimport (
    KEY_OF_RECORD, EventRef, batch_append_as_json, batch_append_copy, batch_finish, batch_free,
    batch_new, batch_open, batch_renew_keys, batch_retain, event_of_entry,
)
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.status cimport STATUS_OK, Status
from kinesis_fast._core.text cimport Text, text_of


cdef extern from "kernels/random_key.hpp" nogil:
    uint64_t kf_next_random(uint64_t* state)


@cython.final
@cython.no_gc
cdef class BatchPool:
    """Keeps up to `n_kept` batches for reuse, because fresh memory costs page faults.

    It also has the ends of the bodies, which name the stream.
    """

    def __cinit__(self, unsigned int n_kept, bytes json_tail not None, bytes cbor_tail not None):
        self.n_kept = min(n_kept, <unsigned int> MAX_ARENAS)
        self.json_tail = json_tail
        self.cbor_tail = cbor_tail

    def __dealloc__(self):
        while self.n_batches:
            self.n_batches -= 1
            batch_free(self.batches[self.n_batches])

    cdef Batch* take(self, bint is_cbor) except NULL:
        """Return an opened batch, reused or new; raises MemoryError."""
        cdef Batch* batch = NULL
        with cython.critical_section(self):
            if self.n_batches:
                self.n_batches -= 1
                batch = self.batches[self.n_batches]
        if batch == NULL:
            batch = batch_new()
        if batch == NULL or batch_open(batch, is_cbor) != STATUS_OK:
            batch_free(batch)
            raise MemoryError("out of memory for a request")
        return batch

    cdef Status finish(self, Batch* batch) noexcept:
        """Finish the body; no entry may be added afterwards."""
        return batch_finish(batch, self.tail_of(batch))

    cdef Text tail_of(self, const Batch* batch) noexcept:
        return text_of(self.cbor_tail if batch.is_cbor else self.json_tail)

    cdef void give_back(self, Batch* batch) noexcept:
        """Take ownership of a batch; NULL is allowed."""
        with cython.critical_section(self):
            if batch != NULL and self.n_batches < self.n_kept:
                self.batches[self.n_batches] = batch
                self.n_batches += 1
                batch = NULL
        batch_free(batch)


cdef uint8_t* octets_of(bytearray bits, size_t n) except NULL:
    """Let `bits` grow to `n` bytes, and return its memory, which is valid until Python code runs.

    The caller holds a critical section with `bits`. To grow leaves it for a moment, so what was
    read before has to be read again.
    """
    while <size_t> len(bits) < n:
        bits += bytes(n - len(bits))
    return <uint8_t*> PyByteArray_AsString(bits)


cdef size_t octets_needed(const Batch* batch) noexcept nogil:
    """Return how many bytes have room for the bit of every event."""
    cdef size_t n = 0
    cdef unsigned int i
    cdef uint32_t k
    for i in range(batch.n_entries):
        for k in range(batch.entries[i].n_events):
            n = max(n, (<size_t> event_of_entry(batch, &batch.entries[i], k).index >> 3) + 1)
    return n


cdef unsigned int mark(const Batch* batch, const Entry* entry, uint8_t* octets) noexcept nogil:
    """Set the bits of an entry's events; returns how many of them were 0."""
    cdef unsigned int n_new = 0
    cdef uint32_t k, index
    cdef uint8_t mask
    for k in range(entry.n_events):
        index = event_of_entry(batch, entry, k).index
        mask = <uint8_t> (1 << (index & 7))
        n_new += not octets[index >> 3] & mask
        octets[index >> 3] |= mask
    return n_new


cdef Request new_request(BatchPool pool, Batch* batch, int lane):
    """Make a request that owns a finished batch; the batch returns to `pool`, even on failure.

    It may be NULL: the caller puts one in that cannot be had twice, and sets `is_cbor`.
    """
    cdef Request request
    try:
        request = Request.__new__(Request)
    except BaseException:
        pool.give_back(batch)
        raise
    request.pool = pool
    request.batch = batch
    request.lane = lane
    request.is_cbor = batch != NULL and batch.is_cbor
    return request


@cython.final
@cython.no_gc
cdef class Request:
    """One PutRecords request, ready to be sent. Only the encoder and other requests make one.

    `is_cbor` says whether its body is CBOR; otherwise it is JSON. `lane` is 0 or more if requests
    of the same lane may share partition keys and must be sent one after the other; it is -1 if the
    order does not matter. Any thread may call any method.
    """

    def __init__(self):
        raise TypeError("use RecordEncoder.requests() or Request.subset() to make a Request")

    def __dealloc__(self):
        if self.pool is not None:
            self.pool.give_back(self.batch)

    cdef Batch* entries(self) except NULL:
        """Return the batch, which is this request's while the caller's critical section lasts."""
        if self.batch == NULL:
            raise ValueError("the request has been released")
        return self.batch

    cdef Entry entry_at(self, Py_ssize_t index) except *:
        cdef unsigned int n_entries
        with cython.critical_section(self):
            n_entries = self.entries().n_entries
            if 0 <= index < <Py_ssize_t> n_entries:
                return self.batch.entries[index]
        raise IndexError(f"no entry {index} in a request of {n_entries} entries")

    cdef unsigned int choose(self, indexes, unsigned int* chosen) except 0:
        """Check indexes and write them to `chosen`, which has room for a full request."""
        cdef unsigned int n = 0
        cdef Py_ssize_t index
        # Iterating runs the caller's code, which might release this request: do it first.
        cdef tuple wanted = tuple(indexes)
        cdef unsigned int n_entries
        with cython.critical_section(self):
            n_entries = self.entries().n_entries
        if not 0 < len(wanted) <= <Py_ssize_t> n_entries:
            raise ValueError(f"{len(wanted)} indexes for a request of {n_entries} entries")
        for index in wanted:
            self.entry_at(index)
            chosen[n] = <unsigned int> index
            n += 1
        return n

    cdef int check_views(self) except -1:
        if self.n_views:
            raise BufferError("a view of the request's body is still in use")
        return 0

    def __getbuffer__(self, Py_buffer* view, int flags):
        with cython.critical_section(self):
            if self.batch == NULL:
                raise BufferError("the request has been released")
            PyBuffer_FillInfo(view, self, self.batch.buffer.data,
                              <Py_ssize_t> self.batch.buffer.n, 1, flags)
            self.n_views += 1

    def __releasebuffer__(self, Py_buffer* view):
        with cython.critical_section(self):
            self.n_views -= 1

    def __len__(self):
        with cython.critical_section(self):
            return <Py_ssize_t> self.batch.buffer.n if self.batch != NULL else 0

    def __repr__(self):
        n_records = self.n_records
        if not n_records:
            return "<Request, released>"
        return f"<Request of {n_records} records, {self.n_bytes} bytes>"

    @property
    def n_entries(self):
        """Number of entries, 1 to 500, as the response counts them; 0 when released."""
        with cython.critical_section(self):
            return self.batch.n_entries if self.batch != NULL else 0

    @property
    def n_records(self):
        """Number of records, each made of one event; an aggregate is one entry with many."""
        with cython.critical_section(self):
            return self.batch.n_records if self.batch != NULL else 0

    @property
    def n_bytes(self):
        """Bytes of data (before base64) plus partition keys, as the service counts them."""
        with cython.critical_section(self):
            return self.batch.n_bytes if self.batch != NULL else 0

    @property
    def body(self):
        """The JSON or CBOR of the request: a read-only memoryview that keeps the Request alive."""
        return memoryview(self)

    def n_bytes_of(self, Py_ssize_t index):
        """Return the bytes of data plus partition key of entry `index`."""
        return self.entry_at(index).n_bytes

    def events_of(self, Py_ssize_t index):
        """Return the events that entry `index` was made of, in order.

        A list of (index in the chunk from 0, byte offset in the chunk).
        """
        cdef Entry entry
        cdef EventRef event
        cdef uint32_t i
        found = []
        with cython.critical_section(self):
            entry = self.entry_at(index)
            for i in range(entry.n_events):
                event = event_of_entry(self.entries(), &entry, i)
                found.append((event.index, event.at))
        return found

    def has_random_key(self, Py_ssize_t index):
        """Tell whether the partition key of entry `index` is random."""
        return self.entry_at(index).key_kind != KEY_OF_RECORD

    def entry(self, Py_ssize_t index):
        """Return the JSON or CBOR of entry `index`: `{"Data":"<base64>","PartitionKey":"..."}`.

        Before the partition key there may be an ExplicitHashKey.
        """
        cdef Entry entry
        with cython.critical_section(self):
            entry = self.entry_at(index)
            return (<const char*> self.entries().buffer.data)[entry.start:entry.end]

    def mark_events(self, bytearray bits not None, kept=()):
        """Set the bits of the events of each entry, but for the entries `kept`.

        Bit i % 8 of byte i // 8 is event i; `bits` grows where it is too short. Returns how many
        bits were 0 before, and the bytes of the entries that had one, data plus partition keys.
        Raises IndexError or ValueError for wrong indexes.
        """
        cdef unsigned int chosen[MAX_RECORDS_PER_REQUEST]
        cdef uint8_t is_kept[MAX_RECORDS_PER_REQUEST]
        cdef Batch* batch
        cdef uint8_t* octets
        cdef size_t n_bytes = 0
        cdef unsigned int i, n_marked, n_new = 0
        cdef unsigned int n_kept = self.choose(kept, chosen) if kept else 0
        memset(is_kept, 0, sizeof(is_kept))
        for i in range(n_kept):
            is_kept[chosen[i]] = True
        with cython.critical_section(self, bits):
            octets = octets_of(bits, octets_needed(self.entries()))
            batch = self.entries()
            for i in range(batch.n_entries):
                if not is_kept[i]:
                    n_marked = mark(batch, &batch.entries[i], octets)
                    n_new += n_marked
                    n_bytes += batch.entries[i].n_bytes if n_marked else 0
        return n_new, n_bytes

    def subset(self, indexes):
        """Return a new Request with only the entries `indexes`, in that order.

        The new Request has its own memory; entries are copied, not encoded again. Raises IndexError
        if an index is out of range, ValueError if there is no index or more than there are entries.
        """
        cdef unsigned int chosen[MAX_RECORDS_PER_REQUEST]
        cdef unsigned int n = self.choose(indexes, chosen)
        return self.copy(chosen, n, False)

    def as_json(self):
        """Return a new Request with the same entries, in memory of its own, whose body is JSON.

        The keys, random ones as well, and the lane stay. Raises ValueError if the body is JSON, or
        the request has been released.
        """
        cdef unsigned int chosen[MAX_RECORDS_PER_REQUEST]
        cdef unsigned int n
        if not self.is_cbor:
            raise ValueError("the body of this request is JSON already")
        n = self.choose(range(self.n_entries), chosen)
        return self.copy(chosen, n, True)

    cdef Request copy(self, const unsigned int* chosen, unsigned int n, bint as_json):
        """Return a new Request with some entries, in the same protocol or as JSON."""
        cdef Batch* part = self.pool.take(self.is_cbor and not as_json)
        cdef Status status = STATUS_OK
        cdef bint is_changed = False    # by another thread, since `choose` looked
        cdef unsigned int i
        with cython.critical_section(self):
            for i in range(n):
                is_changed |= self.batch == NULL or chosen[i] >= self.batch.n_entries
                if is_changed or status != STATUS_OK:
                    continue
                if as_json:
                    status = batch_append_as_json(part, self.batch, chosen[i])
                else:
                    status = batch_append_copy(part, self.batch, chosen[i])
            if not is_changed:
                part.random_state = kf_next_random(&self.batch.random_state)
        if not is_changed and status == STATUS_OK:
            status = self.pool.finish(part)
        if is_changed or status != STATUS_OK:
            self.pool.give_back(part)
            if is_changed:
                raise ValueError("the request was changed while its entries were copied")
            raise MemoryError(f"out of memory for a request of {n} records")
        return new_request(self.pool, part, self.lane)

    def retain(self, indexes):
        """Drop all entries except the ascending `indexes`, in place and without new memory.

        Raises BufferError while a view of the body is alive, ValueError if the indexes do not
        ascend, and otherwise what `subset` raises.
        """
        cdef unsigned int chosen[MAX_RECORDS_PER_REQUEST]
        cdef unsigned int n = self.choose(indexes, chosen)
        cdef unsigned int i
        for i in range(1, n):
            if chosen[i] <= chosen[i - 1]:
                raise ValueError(f"indexes must ascend: {chosen[i]} follows {chosen[i - 1]}")
        with cython.critical_section(self):
            self.check_views()
            if chosen[n - 1] >= self.entries().n_entries:
                raise ValueError("the request was changed while its entries were chosen")
            batch_retain(self.batch, chosen, n, self.pool.tail_of(self.batch))

    def renew_random_keys(self):
        """Give every entry with a random partition key a new one, in place.

        A key from the record stays. Raises BufferError while a view of the body is alive.
        """
        with cython.critical_section(self):
            self.check_views()
            batch_renew_keys(self.entries())

    def release(self):
        """Give the memory back to the encoder; the Request is empty afterwards.

        Raises BufferError while a view of the body is alive. A second call does nothing.
        """
        with cython.critical_section(self):
            self.check_views()
            self.pool.give_back(self.batch)
            self.batch = NULL
