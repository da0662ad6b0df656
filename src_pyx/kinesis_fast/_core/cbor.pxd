"""The heads of CBOR items (RFC 8949, section 3): the major type and a number, often a length."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t


cdef enum:
    CBOR_UNSIGNED = 0x00
    CBOR_NEGATIVE = 0x20
    CBOR_BYTES = 0x40
    CBOR_TEXT = 0x60
    CBOR_ARRAY = 0x80
    CBOR_MAP = 0xA0
    CBOR_TAG = 0xC0
    CBOR_SIMPLE = 0xE0      # and floats
    CBOR_NULL = 0xF6
    CBOR_BREAK = 0xFF       # the end of an item of indefinite length
    CBOR_IN_1 = 24          # the number is in so many bytes after the first one
    CBOR_IN_2 = 25
    CBOR_IN_4 = 26
    CBOR_IN_8 = 27
    CBOR_INDEFINITE = 31


cdef struct CborHead:
    uint8_t major           # one of the above up to CBOR_SIMPLE
    uint8_t info            # the lower five bits of the first byte
    uint64_t number         # 0 if the length is indefinite


cdef inline uint8_t* cbor_write_head(uint8_t* out, uint8_t major, size_t n) noexcept nogil:
    """Write the shortest head for a number below 2**32."""
    if n < CBOR_IN_1:
        out[0] = <uint8_t> (major | n)
        return out + 1
    if n < 0x100:
        out[0] = major | CBOR_IN_1
        out[1] = <uint8_t> n
        return out + 2
    if n < 0x10000:
        out[0] = major | CBOR_IN_2
        out[1] = <uint8_t> (n >> 8)
        out[2] = <uint8_t> n
        return out + 3
    out[0] = major | CBOR_IN_4
    out[1] = <uint8_t> (n >> 24)
    out[2] = <uint8_t> (n >> 16)
    out[3] = <uint8_t> (n >> 8)
    out[4] = <uint8_t> n
    return out + 5


cdef inline const uint8_t* cbor_read_head(const uint8_t* pos, const uint8_t* end,
                                          CborHead* head) noexcept nogil:
    """Read a head. Returns its end, or NULL if it is incomplete or not CBOR."""
    cdef unsigned int n = 0
    cdef unsigned int i
    if pos == end:
        return NULL
    head.major = pos[0] & 0xE0
    head.info = pos[0] & 0x1F
    head.number = head.info
    pos += 1
    if head.info < CBOR_IN_1:
        return pos
    if head.info == CBOR_INDEFINITE:
        head.number = 0
        # Numbers and tags are never indefinite; of a simple value it is the break.
        if head.major in (CBOR_UNSIGNED, CBOR_NEGATIVE, CBOR_TAG):
            return NULL
        return pos
    if head.info > CBOR_IN_8:
        return NULL
    n = 1 << (head.info - CBOR_IN_1)
    if <size_t> (end - pos) < n:
        return NULL
    head.number = 0
    for i in range(n):
        head.number = head.number << 8 | pos[i]
    return pos + n
