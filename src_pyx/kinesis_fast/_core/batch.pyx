"""Writes entries into the body of a PutRecords request, once, into reused memory."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.kernels cimport (
    KF_ESCAPE_MAX, KF_SLACK, escape_text, kernels, kf_base64_length,
)
from kinesis_fast._core.kpl cimport kpl_renew_key
from kinesis_fast._core.limits cimport RANDOM_KEY_LENGTH
from kinesis_fast._core.partition_key cimport kf_write_random_key
from kinesis_fast._core.status cimport STATUS_NO_MEMORY, STATUS_OK


cdef enum:
    ENTRY_TEXT = 128    # more than the braces, names, quotes and ExplicitHashKey of an entry
    DATA_AT = 9         # {"Data":"
    OPENING_N = 12      # {"Records":[
    CLOSING_N = 2       # "}


cdef inline void put(Buffer* out, const char* text, size_t n) noexcept nogil:
    memcpy(out.data + out.n, text, n)
    out.n += n


cdef inline void clear_counts(Batch* batch) noexcept nogil:
    batch.n_entries = 0
    batch.n_records = 0
    batch.n_bytes = 0


cdef Batch* batch_new() noexcept nogil:
    """Return an empty batch without a buffer, or NULL if out of memory. Free with batch_free."""
    return <Batch*> calloc(1, sizeof(Batch))


cdef void batch_free(Batch* batch) noexcept nogil:
    if batch != NULL:
        buffer_free(&batch.buffer)
        buffer_free(&batch.events)
        free(batch)


cdef Status batch_open(Batch* batch) noexcept nogil:
    """Drop all entries and start a new body."""
    batch.buffer.n = batch.events.n = 0
    clear_counts(batch)
    if buffer_reserve(&batch.buffer, ENTRY_TEXT) != STATUS_OK:
        return STATUS_NO_MEMORY
    put(&batch.buffer, b'{"Records":[', OPENING_N)
    return STATUS_OK


cdef Status keep_further_events(Batch* batch, Entry* entry, const EventRef* events) noexcept nogil:
    """Keep the events after the first, of which `events` is an array."""
    cdef size_t n = (entry.n_events - 1) * sizeof(EventRef)
    if buffer_reserve(&batch.events, n) != STATUS_OK:
        return STATUS_NO_MEMORY
    entry.further = batch.events.n // sizeof(EventRef)
    put(&batch.events, <const char*> events, n)
    return STATUS_OK


cdef Status batch_append(Batch* batch, const NewEntry* new) noexcept nogil:
    """Add an entry.

    The caller has checked the limits. KF_SLACK bytes after the data and after the key must be
    readable. On failure the batch does not change.
    """
    cdef Buffer* out = &batch.buffer
    cdef Entry* entry = &batch.entries[batch.n_entries]
    cdef Text data = new.data
    cdef Text key = new.key
    cdef uint8_t* pos
    entry.n_events = new.n_events
    if buffer_reserve(out, kf_base64_length(data.n) + key.n * KF_ESCAPE_MAX
                      + KF_SLACK + ENTRY_TEXT) != STATUS_OK:
        return STATUS_NO_MEMORY
    if new.n_events > 1 and keep_further_events(batch, entry, new.events + 1) != STATUS_OK:
        return STATUS_NO_MEMORY
    pos = out.data + out.n
    pos[0] = c","
    pos += 1 if batch.n_entries else 0
    entry.start = <uint32_t> (pos - out.data)
    memcpy(pos, b'{"Data":"', DATA_AT)
    pos = kernels.base64(pos + DATA_AT, data.data, data.n, data.data + data.n + KF_SLACK)
    if new.hash_key.n:
        memcpy(pos, b'","ExplicitHashKey":"', 21)
        memcpy(pos + 21, new.hash_key.data, new.hash_key.n)
        pos += 21 + new.hash_key.n
    memcpy(pos, b'","PartitionKey":"', 18)
    pos += 18
    if new.key_kind == KEY_OF_RECORD:
        pos = escape_text(pos, key.data, key.n, key.data + key.n + KF_SLACK)
    else:
        memcpy(pos, key.data, RANDOM_KEY_LENGTH)
        pos += RANDOM_KEY_LENGTH
    memcpy(pos, b'"}', CLOSING_N)
    out.n = entry.end = <uint32_t> (pos - out.data) + CLOSING_N
    entry.n_bytes = <uint32_t> (data.n + key.n)
    entry.first = new.events[0]
    entry.key_kind = new.key_kind
    batch.n_entries += 1
    batch.n_records += new.n_events
    batch.n_bytes += entry.n_bytes
    return STATUS_OK


cdef void place(Batch* batch, const Entry* source, const uint8_t* text) noexcept nogil:
    """Add an entry that is already encoded as `text`; the caller has made room.

    `text` may lie in this batch's own buffer.
    """
    cdef Buffer* out = &batch.buffer
    cdef Entry* entry = &batch.entries[batch.n_entries]
    cdef uint32_t n = source.end - source.start
    if batch.n_entries:
        put(out, b",", 1)
    entry[0] = source[0]
    memmove(out.data + out.n, text, n)
    entry.start = <uint32_t> out.n
    entry.end = entry.start + n
    out.n = entry.end
    batch.n_entries += 1
    batch.n_records += entry.n_events
    batch.n_bytes += entry.n_bytes


cdef Status batch_append_copy(Batch* batch, const Batch* other, unsigned int index) noexcept nogil:
    """Add a copy of entry `index` of another batch."""
    cdef Entry source = other.entries[index]
    cdef const EventRef* further = <const EventRef*> other.events.data + source.further
    if buffer_reserve(&batch.buffer, source.end - source.start + ENTRY_TEXT) != STATUS_OK:
        return STATUS_NO_MEMORY
    if source.n_events > 1 and keep_further_events(batch, &source, further) != STATUS_OK:
        return STATUS_NO_MEMORY
    place(batch, &source, other.buffer.data + source.start)
    return STATUS_OK


cdef Status batch_retain(Batch* batch, const unsigned int* chosen, unsigned int n,
                         Text tail) noexcept nogil:
    """Keep only the `n` entries whose ascending indexes are in `chosen`, and finish the body again.

    Entries move towards the front, into memory that the batch already has. So this cannot run out
    of memory if the body was finished before.
    """
    cdef unsigned int i
    cdef Entry source
    batch.buffer.n = OPENING_N
    clear_counts(batch)
    for i in range(n):
        source = batch.entries[chosen[i]]
        place(batch, &source, batch.buffer.data + source.start)
    return batch_finish(batch, tail)


cdef void batch_renew_keys(Batch* batch) noexcept nogil:
    """Write new random keys over the random ones, in the body where they are."""
    cdef unsigned int i
    cdef Entry* entry
    cdef uint8_t* key
    for i in range(batch.n_entries):
        entry = &batch.entries[i]
        if entry.key_kind == KEY_OF_RECORD:
            continue
        key = batch.buffer.data + entry.end - CLOSING_N - RANDOM_KEY_LENGTH
        kf_write_random_key(key, &batch.random_state)
        if entry.key_kind == KEY_RANDOM_IN_KPL:
            kpl_renew_key(batch.buffer.data + entry.start + DATA_AT,
                          entry.n_bytes - RANDOM_KEY_LENGTH, key)


cdef Status batch_finish(Batch* batch, Text tail) noexcept nogil:
    """Close the body with `tail`; no entry may be added afterwards."""
    if buffer_reserve(&batch.buffer, tail.n) != STATUS_OK:
        return STATUS_NO_MEMORY
    put(&batch.buffer, <const char*> tail.data, tail.n)
    return STATUS_OK
