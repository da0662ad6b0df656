"""Collects records into one aggregate and makes it an entry."""

from libc.stdint cimport uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from kinesis_fast._core.batch cimport KEY_OF_RECORD, KEY_RANDOM, KEY_RANDOM_IN_KPL
from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.kernels cimport KF_SLACK
from kinesis_fast._core.kpl cimport (
    KPL_DIGEST_N, KPL_FIELD_MAX, KPL_MAGIC_N, kpl_open_record, kpl_open_text, kpl_record_inner_n,
    kpl_text_n,
)
from kinesis_fast._core.status cimport STATUS_NO_MEMORY, STATUS_OK
from kinesis_fast._core.text cimport text_equals


cdef extern from "kernels/hash.hpp" nogil:
    uint64_t kf_hash(const uint8_t* text, size_t n)

cdef extern from "kernels/tags.hpp" nogil:
    uint32_t kf_equal_tags(const uint16_t* tags, uint16_t wanted)


cdef enum:
    HEAD_ROOM = 1024    # for the magic, the keys and the hash key; a larger head moves the records
    RECORD_FIELDS_MAX = 3 * KPL_FIELD_MAX + 2


cdef Aggregate* aggregate_new() noexcept nogil:
    """Return an aggregate without memory of its own, or NULL. Free it with aggregate_free."""
    return <Aggregate*> calloc(1, sizeof(Aggregate))


cdef void aggregate_free(Aggregate* aggregate) noexcept nogil:
    if aggregate != NULL:
        buffer_free(&aggregate.body)
        buffer_free(&aggregate.keys)
        buffer_free(&aggregate.events)
        free(aggregate)


cdef void aggregate_open(Aggregate* aggregate, Format format, unsigned int slot,
                         const Text* hash_key) noexcept nogil:
    """Drop all records; `hash_key` may be NULL, and its text must outlive the aggregate."""
    aggregate.format = format
    aggregate.slot = slot
    aggregate.hash_key.n = 0
    if hash_key != NULL:
        aggregate.hash_key = hash_key[0]
    aggregate.body.n = 0
    aggregate.keys.n = 0
    aggregate.events.n = 0
    aggregate.n_records = 0
    aggregate.n_keys = 0
    aggregate.n_bytes = 0
    if format == FORMAT_KPL:
        aggregate.n_bytes = KPL_MAGIC_N + KPL_DIGEST_N
        aggregate.n_bytes += kpl_text_n(aggregate.hash_key.n) if aggregate.hash_key.n else 0


cdef Text key_of_field(const uint8_t* field) noexcept nogil:
    """Return the text of a key's field; its length is a varint of one or two bytes."""
    cdef Text key
    key.n = field[1] & 0x7F
    key.data = field + 2
    if field[1] & 0x80:
        key.n |= <size_t> field[2] << 7
        key.data = field + 3
    return key


cdef inline Text key_at(const Aggregate* aggregate, uint32_t index) noexcept nogil:
    """Return key `index`, one of the last N_RECENT_KEYS."""
    return key_of_field(aggregate.keys.data + aggregate.recent[index % N_RECENT_KEYS])


cdef uint32_t find_key(const Aggregate* aggregate, Text key, uint16_t tag) noexcept nogil:
    """Return the index of a key among the last ones; n_keys if it is not there.

    Only keys with the same tag are looked at: their text is seldom in a cache.
    """
    cdef uint32_t newest = aggregate.n_keys - 1
    cdef uint32_t found = kf_equal_tags(aggregate.recent_tags, tag)
    cdef uint32_t i, index
    if found == 0 or aggregate.n_keys == 0:
        return aggregate.n_keys
    for i in range(N_RECENT_KEYS):
        index = newest - (newest - i) % N_RECENT_KEYS
        # Above n_keys: the tag of an earlier aggregate.
        if found >> i & 1 and index < aggregate.n_keys:
            if text_equals(key_at(aggregate, index), key):
                return index
    return aggregate.n_keys


cdef void aggregate_measure(const Aggregate* aggregate, Text data, Text key,
                            Addition* addition) noexcept nogil:
    """Tell how the aggregate grows when a record is added."""
    cdef bint has_hash_key = aggregate.hash_key.n > 0
    cdef bint is_first = aggregate.n_records == 0
    addition.key_index = addition.key_tag = 0
    if aggregate.format == FORMAT_LINES:
        addition.is_new_key = is_first
        addition.n_bytes = data.n + (key.n if is_first else 0)
        return
    if has_hash_key:
        addition.key_tag = <uint16_t> kf_hash(key.data, key.n)
        addition.key_index = find_key(aggregate, key, addition.key_tag)
    addition.is_new_key = addition.key_index == aggregate.n_keys
    addition.n_bytes = kpl_text_n(kpl_record_inner_n(addition.key_index, has_hash_key, data.n))
    addition.n_bytes += kpl_text_n(key.n) if addition.is_new_key else 0
    addition.n_bytes += key.n if is_first else 0


cdef Status reserve(Aggregate* aggregate, Text data, Text key) noexcept nogil:
    """Make room for another record, and for what sealing the aggregate adds."""
    cdef size_t head = (HEAD_ROOM + KPL_MAGIC_N + aggregate.keys.n + key.n + aggregate.hash_key.n
                        + 2 * KPL_FIELD_MAX)
    if (buffer_reserve(&aggregate.body, head + RECORD_FIELDS_MAX + data.n + KPL_DIGEST_N
                       + KF_SLACK) != STATUS_OK
            or buffer_reserve(&aggregate.keys, KPL_FIELD_MAX + key.n + KF_SLACK) != STATUS_OK
            or buffer_reserve(&aggregate.events, sizeof(EventRef)) != STATUS_OK):
        return STATUS_NO_MEMORY
    return STATUS_OK


cdef void add_key(Aggregate* aggregate, Text key, uint16_t tag) noexcept nogil:
    cdef uint8_t* pos = kpl_open_text(aggregate.keys.data + aggregate.keys.n, 0x0A, key.n)
    aggregate.recent[aggregate.n_keys % N_RECENT_KEYS] = <uint32_t> aggregate.keys.n
    aggregate.recent_tags[aggregate.n_keys % N_RECENT_KEYS] = tag
    memcpy(pos, key.data, key.n)
    aggregate.keys.n = <size_t> (pos - aggregate.keys.data) + key.n
    aggregate.n_keys += 1


cdef Status aggregate_add(Aggregate* aggregate, Text data, Text key, EventRef event,
                          const Addition* addition) noexcept nogil:
    """Add a record that has been measured. On failure the aggregate does not change."""
    cdef uint8_t* pos
    if reserve(aggregate, data, key) != STATUS_OK:
        return STATUS_NO_MEMORY
    if aggregate.n_records == 0:
        aggregate.body.n = HEAD_ROOM
    if addition.is_new_key:
        add_key(aggregate, key, addition.key_tag)
    pos = aggregate.body.data + aggregate.body.n
    if aggregate.format == FORMAT_KPL:
        pos = kpl_open_record(pos, addition.key_index, aggregate.hash_key.n > 0, data.n)
    memcpy(pos, data.data, data.n)
    aggregate.body.n = <size_t> (pos - aggregate.body.data) + data.n
    if aggregate.n_records == 0:
        aggregate.first_n = data.n
        aggregate.first_end = aggregate.body.n
    (<EventRef*> aggregate.events.data)[aggregate.n_records] = event
    aggregate.events.n += sizeof(EventRef)
    aggregate.n_records += 1
    aggregate.n_bytes += addition.n_bytes
    return STATUS_OK


cdef bint aggregate_seal(Aggregate* aggregate, kf_md5_message* digest) noexcept nogil:
    """Finish the data; returns whether its MD5 is wanted, which `digest` then describes.

    A single record is sent as it is, as KPL does. This needs no new memory.
    """
    cdef Buffer* body = &aggregate.body
    cdef size_t n_head
    cdef uint8_t* pos
    if aggregate.n_records == 1:
        aggregate.start = aggregate.first_end - aggregate.first_n
        return False
    aggregate.start = HEAD_ROOM
    if aggregate.format == FORMAT_LINES:
        return False
    n_head = KPL_MAGIC_N + aggregate.keys.n
    n_head += kpl_text_n(aggregate.hash_key.n) if aggregate.hash_key.n else 0
    if n_head > HEAD_ROOM:
        memmove(body.data + n_head, body.data + HEAD_ROOM, body.n - HEAD_ROOM)
        body.n += n_head - HEAD_ROOM
        aggregate.start = n_head
    aggregate.start -= n_head
    pos = body.data + aggregate.start
    memcpy(pos, b"\xF3\x89\x9A\xC2", KPL_MAGIC_N)
    memcpy(pos + KPL_MAGIC_N, aggregate.keys.data, aggregate.keys.n)
    if aggregate.hash_key.n:
        pos = kpl_open_text(pos + KPL_MAGIC_N + aggregate.keys.n, 0x12, aggregate.hash_key.n)
        memcpy(pos, aggregate.hash_key.data, aggregate.hash_key.n)
    digest.data = body.data + aggregate.start + KPL_MAGIC_N
    digest.n = body.n - aggregate.start - KPL_MAGIC_N
    digest.digest = body.data + body.n
    body.n += KPL_DIGEST_N
    return True


cdef void aggregate_entry(Aggregate* aggregate, NewEntry* entry) noexcept nogil:
    """Describe the entry that a sealed aggregate becomes.

    Its partition key is that of its first record.
    """
    cdef bint has_random_key = aggregate.hash_key.n == 0
    entry.data.data = aggregate.body.data + aggregate.start
    entry.data.n = aggregate.body.n - aggregate.start
    entry.key = key_of_field(aggregate.keys.data)
    entry.hash_key = aggregate.hash_key
    entry.key_kind = KEY_RANDOM if has_random_key else KEY_OF_RECORD
    if has_random_key and aggregate.format == FORMAT_KPL and aggregate.n_records > 1:
        entry.key_kind = KEY_RANDOM_IN_KPL
    entry.events = <const EventRef*> aggregate.events.data
    entry.n_events = aggregate.n_records
