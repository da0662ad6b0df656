"""A read cursor over msgpack bytes that it does not own; it checks every read against the end.

The format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint64_t

from kinesis_fast._core.status cimport STATUS_OK, STATUS_TRUNCATED, Status
from kinesis_fast._core.text cimport Text


cdef extern from "kernels/bytes.hpp" nogil:
    const uint8_t* kf_header_width
    unsigned int kf_load_u16(const uint8_t*)
    unsigned int kf_load_u32(const uint8_t*)
    uint64_t kf_load_u64(const uint8_t*)
    double kf_float32(unsigned int)
    double kf_float64(uint64_t)


cdef struct Cursor:
    const uint8_t* pos
    const uint8_t* end


cdef enum Kind:
    KIND_NIL
    KIND_FALSE
    KIND_TRUE
    KIND_UINT
    KIND_INT        # negative
    KIND_FLOAT
    KIND_STR
    KIND_BIN
    KIND_ARRAY
    KIND_MAP
    KIND_EXT


cdef struct Token:
    Kind kind
    int8_t ext_type
    uint64_t n          # str, bin, ext: bytes; array: values; map: pairs; uint: the value
    int64_t signed      # int: the value
    double number       # float: the value, float32 widened
    const uint8_t* data  # str, bin, ext: the payload


cdef inline size_t bytes_left(const Cursor* cursor) noexcept nogil:
    return <size_t> (cursor.end - cursor.pos)


cdef inline Text token_text(const Token* token) noexcept nogil:
    cdef Text text
    text.data = token.data
    text.n = <size_t> token.n
    return text


cdef inline Status take_payload(Cursor* cursor, Token* token, Kind kind,
                                uint64_t n) noexcept nogil:
    if n > bytes_left(cursor):
        return STATUS_TRUNCATED
    token.kind = kind
    token.n = n
    token.data = cursor.pos
    cursor.pos += n
    return STATUS_OK


cdef inline Status take_ext(Cursor* cursor, Token* token, uint64_t n) noexcept nogil:
    if bytes_left(cursor) < 1:
        return STATUS_TRUNCATED
    token.ext_type = <int8_t> cursor.pos[0]
    cursor.pos += 1
    return take_payload(cursor, token, KIND_EXT, n)


cdef inline Status take_container(Cursor* cursor, Token* token, Kind kind,
                                  uint64_t n) noexcept nogil:
    """Read a container's header. Each value takes at least one byte, which bounds the count."""
    cdef uint64_t n_values = n * 2 if kind == KIND_MAP else n
    if n_values > bytes_left(cursor):
        return STATUS_TRUNCATED
    token.kind = kind
    token.n = n
    return STATUS_OK


cdef inline Status take_uint(Token* token, uint64_t value) noexcept nogil:
    token.kind = KIND_UINT
    token.n = value
    return STATUS_OK


cdef inline Status take_int(Token* token, int64_t value) noexcept nogil:
    if value >= 0:
        return take_uint(token, <uint64_t> value)
    token.kind = KIND_INT
    token.signed = value
    return STATUS_OK


cdef inline Status take_float(Token* token, double value) noexcept nogil:
    token.kind = KIND_FLOAT
    token.number = value
    return STATUS_OK


cdef inline uint64_t load_length(const uint8_t* pos, size_t width) noexcept nogil:
    if width == 1:
        return pos[0]
    if width == 2:
        return kf_load_u16(pos)
    return kf_load_u32(pos)


cdef inline Status next_long_token(Cursor* cursor, Token* token, uint8_t first) noexcept nogil:
    """Read the rest of a token whose first byte, already read, is 0xc0 to 0xdf."""
    cdef const uint8_t* pos = cursor.pos
    cdef size_t width = kf_header_width[first - 0xc0]
    if bytes_left(cursor) < width:
        return STATUS_TRUNCATED
    cursor.pos += width
    if 0xd4 <= first <= 0xd8:
        return take_ext(cursor, token, <uint64_t> 1 << (first - 0xd4))
    if first == 0xd9 or first == 0xda or first == 0xdb:
        return take_payload(cursor, token, KIND_STR, load_length(pos, width))
    elif first == 0xde or first == 0xdf:
        return take_container(cursor, token, KIND_MAP, load_length(pos, width))
    elif first == 0xdc or first == 0xdd:
        return take_container(cursor, token, KIND_ARRAY, load_length(pos, width))
    elif first == 0xc4 or first == 0xc5 or first == 0xc6:
        return take_payload(cursor, token, KIND_BIN, load_length(pos, width))
    elif first == 0xcc or first == 0xcd or first == 0xce:
        return take_uint(token, load_length(pos, width))
    elif first == 0xcf:
        return take_uint(token, kf_load_u64(pos))
    elif first == 0xd0:
        return take_int(token, <int8_t> pos[0])
    elif first == 0xd1:
        return take_int(token, <int16_t> kf_load_u16(pos))
    elif first == 0xd2:
        return take_int(token, <int32_t> kf_load_u32(pos))
    elif first == 0xd3:
        return take_int(token, <int64_t> kf_load_u64(pos))
    elif first == 0xca:
        return take_float(token, kf_float32(kf_load_u32(pos)))
    elif first == 0xcb:
        return take_float(token, kf_float64(kf_load_u64(pos)))
    elif first == 0xc0:
        token.kind = KIND_NIL
        return STATUS_OK
    elif first == 0xc2:
        token.kind = KIND_FALSE
        return STATUS_OK
    elif first == 0xc3:
        token.kind = KIND_TRUE
        return STATUS_OK
    elif first == 0xc7 or first == 0xc8 or first == 0xc9:
        return take_ext(cursor, token, load_length(pos, width))
    return STATUS_TRUNCATED  # 0xc1 is never used


cdef inline Status next_token(Cursor* cursor, Token* token) noexcept nogil:
    """Read one token and step over it, including the payload of str, bin and ext.

    For an array or a map only the header is read. After STATUS_TRUNCATED the position of the
    cursor is undefined.
    """
    cdef uint8_t first
    if cursor.pos == cursor.end:
        return STATUS_TRUNCATED
    first = cursor.pos[0]
    cursor.pos += 1
    if (first & 0xe0) == 0xa0:
        return take_payload(cursor, token, KIND_STR, first & 0x1f)
    if first < 0x80:
        return take_uint(token, first)
    if first >= 0xe0:
        return take_int(token, <int8_t> first)
    if first < 0x90:
        return take_container(cursor, token, KIND_MAP, first & 0x0f)
    if first < 0xa0:
        return take_container(cursor, token, KIND_ARRAY, first & 0x0f)
    return next_long_token(cursor, token, first)


cdef inline bint take_short_str(Cursor* cursor, Text* text) noexcept nogil:
    """Step over the next value if it is a str of less than 256 bytes; otherwise do nothing.

    Most values in logs are such strings. For a truncated str this does nothing either;
    next_token then reports it.
    """
    cdef const uint8_t* data = cursor.pos
    cdef size_t left = bytes_left(cursor)
    cdef size_t n
    if left < 2:
        return False
    if (data[0] & 0xe0) == 0xa0:
        n = data[0] & 0x1f
        data += 1
        left -= 1
    elif data[0] == 0xd9:
        n = data[1]
        data += 2
        left -= 2
    else:
        return False
    if n > left:
        return False
    text.data = data
    text.n = n
    cursor.pos = data + n
    return True


cdef inline Status skip_value(Cursor* cursor) noexcept nogil:
    """Step over one value of any depth, without recursion."""
    cdef Token token
    cdef uint64_t n_values = 1
    while n_values:
        n_values -= 1
        if next_token(cursor, &token) != STATUS_OK:
            return STATUS_TRUNCATED
        if token.kind == KIND_ARRAY:
            n_values += token.n
        elif token.kind == KIND_MAP:
            n_values += token.n * 2
        if n_values > bytes_left(cursor):
            return STATUS_TRUNCATED
    return STATUS_OK
