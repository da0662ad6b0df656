"""The bytes of an aggregate in the format of the Kinesis Producer Library (KPL).

    F3 89 9A C2                             magic
    0A n key                                a partition key, for each distinct one
    12 n digits                             the explicit hash key of all records, if there is one
    1A n { 08 key  [10 00]  1A n data }     a record: index of its key, index of its hash key, data
    MD5                                     of all between the magic and itself

A number is a varint: 7 bits a byte, the lowest first; the top bit says that another byte follows.
Source: aggregation-format.md of the Kinesis Producer Library.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from kinesis_fast._core.text cimport Text


cdef enum:
    KPL_MAGIC_N = 4
    KPL_DIGEST_N = 16
    KPL_FIELD_MAX = 6           # bytes of a tag and of a varint of 32 bits


cdef void kpl_renew_key(uint8_t* data, size_t n, const uint8_t* key) noexcept nogil
cdef void kpl_renew_base64_key(uint8_t* text, size_t n, const uint8_t* key) noexcept nogil


cdef inline size_t varint_n(size_t value) noexcept nogil:
    """Return the bytes of a varint."""
    cdef size_t n = 1
    while value >= 0x80:
        value >>= 7
        n += 1
    return n


cdef inline uint8_t* write_varint(uint8_t* out, size_t value) noexcept nogil:
    while value >= 0x80:
        out[0] = <uint8_t> (value | 0x80)
        value >>= 7
        out += 1
    out[0] = <uint8_t> value
    return out + 1


cdef inline size_t kpl_text_n(size_t n) noexcept nogil:
    """Return the bytes of a field that holds a text of `n` bytes."""
    return 1 + varint_n(n) + n


cdef inline size_t kpl_record_inner_n(uint32_t key_index, bint has_hash_key,
                                      size_t n) noexcept nogil:
    """Return the bytes inside the field of a record with `n` bytes of data."""
    return 1 + varint_n(key_index) + (2 if has_hash_key else 0) + kpl_text_n(n)


cdef inline uint8_t* kpl_open_text(uint8_t* out, uint8_t tag, size_t n) noexcept nogil:
    """Write what comes before a text of `n` bytes."""
    out[0] = tag
    return write_varint(out + 1, n)


cdef inline uint8_t* kpl_open_record(uint8_t* out, uint32_t key_index, bint has_hash_key,
                                     size_t n) noexcept nogil:
    """Write what comes before the `n` bytes of a record's data."""
    out = kpl_open_text(out, 0x1A, kpl_record_inner_n(key_index, has_hash_key, n))
    out[0] = 0x08
    out = write_varint(out + 1, key_index)
    if has_hash_key:
        out[0] = 0x10
        out[1] = 0
        out += 2
    return kpl_open_text(out, 0x1A, n)
