"""Writes entries into the body of a PutRecords request, once, into reused memory.

    JSON  {"Records":[{"Data":"<base64>","PartitionKey":"..."},...],"StreamName":"..."}
    CBOR  the same maps, arrays and names; the data is a byte string, and every length is definite

The array of a CBOR body comes before its entries, so its head has room for any number of them, and
is filled in at the end.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.cbor cimport (
    CBOR_BYTES, CBOR_TEXT, CborHead, cbor_read_head, cbor_write_head,
)
from kinesis_fast._core.kernels cimport (
    KF_ESCAPE_MAX, KF_SLACK, escape_text, kernels, kf_base64_length,
)
from kinesis_fast._core.kpl cimport kpl_renew_base64_key, kpl_renew_key
from kinesis_fast._core.limits cimport RANDOM_KEY_LENGTH
from kinesis_fast._core.partition_key cimport kf_write_random_key
from kinesis_fast._core.status cimport STATUS_NO_MEMORY, STATUS_OK


cdef enum:
    ENTRY_TEXT = 128    # more than the braces, names, quotes and ExplicitHashKey of an entry
    OPENING_N = 12      # {"Records":[ and its equivalent
    DATA_AT = 9         # {"Data":"
    CLOSING_N = 2       # "}
    COUNT_AT = 10       # in a CBOR body, the number of entries in two bytes
    CBOR_DATA_AT = 6    # the heads of map and name, and the name
    HASH_KEY_NAME_N = 16
    KEY_NAME_N = 13


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


cdef Status batch_open(Batch* batch, bint is_cbor) noexcept nogil:
    """Drop all entries and start a new body."""
    batch.buffer.n = batch.events.n = 0
    batch.is_cbor = is_cbor
    batch.append = append_cbor if is_cbor else append_json
    clear_counts(batch)
    if buffer_reserve(&batch.buffer, ENTRY_TEXT) != STATUS_OK:
        return STATUS_NO_MEMORY
    if is_cbor:
        put(&batch.buffer, b"\xA2gRecords\x99\0\0", OPENING_N)
    else:
        put(&batch.buffer, b'{"Records":[', OPENING_N)
    return STATUS_OK


cdef inline Status keep_further_events(Batch* batch, Entry* entry,
                                       const EventRef* events) noexcept nogil:
    """Keep the events after the first, of which `events` is an array."""
    cdef size_t n = (entry.n_events - 1) * sizeof(EventRef)
    if buffer_reserve(&batch.events, n) != STATUS_OK:
        return STATUS_NO_MEMORY
    entry.further = batch.events.n // sizeof(EventRef)
    put(&batch.events, <const char*> events, n)
    return STATUS_OK


cdef Status append_json(Batch* batch, const NewEntry* new) noexcept nogil:
    """A BatchAppend."""
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


cdef Status append_cbor(Batch* batch, const NewEntry* new) noexcept nogil:
    """A BatchAppend; this one reads nothing after data and key."""
    cdef Buffer* out = &batch.buffer
    cdef Entry* entry = &batch.entries[batch.n_entries]
    cdef Text data = new.data
    cdef Text key = new.key
    cdef Text hash_key = new.hash_key
    cdef uint8_t* pos
    entry.n_events = new.n_events
    if buffer_reserve(out, data.n + key.n + ENTRY_TEXT) != STATUS_OK:
        return STATUS_NO_MEMORY
    if new.n_events > 1 and keep_further_events(batch, entry, new.events + 1) != STATUS_OK:
        return STATUS_NO_MEMORY
    pos = out.data + out.n
    entry.start = <uint32_t> out.n
    memcpy(pos, b"\xA3dData" if hash_key.n else b"\xA2dData", CBOR_DATA_AT)
    pos = cbor_write_head(pos + CBOR_DATA_AT, CBOR_BYTES, data.n)
    memcpy(pos, data.data, data.n)
    pos += data.n
    if hash_key.n:
        memcpy(pos, b"oExplicitHashKey", HASH_KEY_NAME_N)
        pos = cbor_write_head(pos + HASH_KEY_NAME_N, CBOR_TEXT, hash_key.n)
        memcpy(pos, hash_key.data, hash_key.n)
        pos += hash_key.n
    memcpy(pos, b"lPartitionKey", KEY_NAME_N)
    pos = cbor_write_head(pos + KEY_NAME_N, CBOR_TEXT, key.n)
    memcpy(pos, key.data, key.n)
    out.n = entry.end = <uint32_t> (pos - out.data) + <uint32_t> key.n
    entry.n_bytes = <uint32_t> (data.n + key.n)
    entry.first = new.events[0]
    entry.key_kind = new.key_kind
    batch.n_entries += 1
    batch.n_records += new.n_events
    batch.n_bytes += entry.n_bytes
    return STATUS_OK


cdef inline Text text_at(const uint8_t* head, const uint8_t* end) noexcept nogil:
    """Return the bytes or the text whose head is at `head`, in an entry of our own."""
    cdef CborHead found
    cdef Text text
    text.data = cbor_read_head(head, end, &found)
    text.n = <size_t> found.number
    return text


cdef void place(Batch* batch, const Entry* source, const uint8_t* text) noexcept nogil:
    """Add an entry that is already encoded as `text`; the caller has made room.

    `text` may lie in this batch's own buffer.
    """
    cdef Buffer* out = &batch.buffer
    cdef Entry* entry = &batch.entries[batch.n_entries]
    cdef uint32_t n = source.end - source.start
    if batch.n_entries and not batch.is_cbor:
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
    """Add a copy of entry `index` of another batch in the same protocol."""
    cdef Entry source = other.entries[index]
    cdef const EventRef* further = <const EventRef*> other.events.data + source.further
    if buffer_reserve(&batch.buffer, source.end - source.start + ENTRY_TEXT) != STATUS_OK:
        return STATUS_NO_MEMORY
    if source.n_events > 1 and keep_further_events(batch, &source, further) != STATUS_OK:
        return STATUS_NO_MEMORY
    place(batch, &source, other.buffer.data + source.start)
    return STATUS_OK


cdef Status batch_append_as_json(Batch* batch, const Batch* other,
                                 unsigned int index) noexcept nogil:
    """Add entry `index` of a finished CBOR batch to a JSON batch; on failure drop that batch."""
    cdef const uint8_t* end = other.buffer.data + other.buffer.n
    cdef const Entry* source = &other.entries[index]
    cdef const EventRef* further = <const EventRef*> other.events.data + source.further
    cdef const uint8_t* pos = other.buffer.data + source.start + CBOR_DATA_AT
    cdef NewEntry new
    cdef Entry* entry
    new.data = text_at(pos, end)
    new.hash_key.n = 0
    pos = new.data.data + new.data.n
    if pos[0] == c"o":
        new.hash_key = text_at(pos + HASH_KEY_NAME_N, end)
        pos = new.hash_key.data + new.hash_key.n
    new.key = text_at(pos + KEY_NAME_N, end)
    new.key_kind = source.key_kind
    new.events = &source.first
    new.n_events = 1
    if append_json(batch, &new) != STATUS_OK:
        return STATUS_NO_MEMORY
    if source.n_events == 1:
        return STATUS_OK
    entry = &batch.entries[batch.n_entries - 1]
    entry.n_events = source.n_events
    batch.n_records += source.n_events - 1
    return keep_further_events(batch, entry, further)


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


cdef void renew_in_aggregate(Batch* batch, const Entry* entry, const uint8_t* key) noexcept nogil:
    """Write the new random key of an entry into the table of the aggregate that is its data."""
    cdef Text data
    if batch.is_cbor:
        data = text_at(batch.buffer.data + entry.start + CBOR_DATA_AT, key)
        kpl_renew_key(<uint8_t*> data.data, data.n, key)
    else:
        kpl_renew_base64_key(batch.buffer.data + entry.start + DATA_AT,
                             entry.n_bytes - RANDOM_KEY_LENGTH, key)


cdef void batch_renew_keys(Batch* batch) noexcept nogil:
    """Write new random keys over the random ones, in the body where they are."""
    cdef unsigned int i
    cdef Entry* entry
    cdef uint8_t* key
    for i in range(batch.n_entries):
        entry = &batch.entries[i]
        if entry.key_kind == KEY_OF_RECORD:
            continue
        key = batch.buffer.data + entry.end - RANDOM_KEY_LENGTH
        if not batch.is_cbor:
            key -= CLOSING_N
        kf_write_random_key(key, &batch.random_state)
        if entry.key_kind == KEY_RANDOM_IN_KPL:
            renew_in_aggregate(batch, entry, key)


cdef Status batch_finish(Batch* batch, Text tail) noexcept nogil:
    """Close the body with `tail`; no entry may be added afterwards."""
    # What batch_append_as_json reads of the last entry needs slack, too.
    if buffer_reserve(&batch.buffer, tail.n + KF_SLACK) != STATUS_OK:
        return STATUS_NO_MEMORY
    put(&batch.buffer, <const char*> tail.data, tail.n)
    if batch.is_cbor:
        batch.buffer.data[COUNT_AT] = <uint8_t> (batch.n_entries >> 8)
        batch.buffer.data[COUNT_AT + 1] = <uint8_t> batch.n_entries
    return STATUS_OK
