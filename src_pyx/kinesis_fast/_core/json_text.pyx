"""Msgpack values as JSON text, written straight into a buffer; no Python object on the way."""

from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memcpy

from kinesis_fast._core.buffer cimport buffer_reserve
from kinesis_fast._core.cursor cimport (
    KIND_ARRAY, KIND_BIN, KIND_EXT, KIND_FALSE, KIND_FLOAT, KIND_INT, KIND_MAP,
    KIND_STR, KIND_TRUE, KIND_UINT, kf_load_u32, kf_load_u64, next_token, token_text,
)
from kinesis_fast._core.limits cimport MAX_NESTING
from kinesis_fast._core.status cimport (
    STATUS_BAD_KEY, STATUS_NO_MEMORY, STATUS_OK, STATUS_TOO_DEEP,
)


cdef extern from "kernels/json_escape.hpp" nogil:
    enum:
        KF_ESCAPE_MAX
        KF_ESCAPE_SLACK
    uint8_t* kf_escape(uint8_t* out, const uint8_t* src, size_t n, const uint8_t* readable_end)


cdef extern from "kernels/base64.hpp" nogil:
    size_t kf_base64_length(size_t n)
    uint8_t* kf_base64(uint8_t* out, const uint8_t* src, size_t n)


cdef extern from "kernels/numbers.hpp" nogil:
    enum:
        KF_NUMBER_MAX
    uint8_t* kf_write_u64(uint8_t* out, uint64_t value)
    uint8_t* kf_write_i64(uint8_t* out, int64_t value)
    uint8_t* kf_write_double(uint8_t* out, double value)


cdef extern from "kernels/rfc3339.hpp" nogil:
    enum:
        KF_RFC3339_MAX
    uint8_t* kf_write_rfc3339(uint8_t* out, int64_t seconds, uint32_t nanoseconds)


cdef struct Level:
    uint64_t left       # values (array) or pairs (map) still to come
    bint is_map
    bint started        # something was written, so a comma is due


cdef inline void put(Buffer* out, uint8_t byte) noexcept nogil:
    """Append one byte; the caller has made room."""
    out.data[out.n] = byte
    out.n += 1


cdef inline void put_text(Buffer* out, const char* text, size_t n) noexcept nogil:
    memcpy(out.data + out.n, text, n)
    out.n += n


cdef size_t write_scalar(const Token* token, uint8_t* out) noexcept nogil:
    """Nil, a boolean or a finite number as JSON; `out` has room for KF_NUMBER_MAX bytes."""
    if token.kind == KIND_UINT:
        return <size_t> (kf_write_u64(out, token.n) - out)
    elif token.kind == KIND_INT:
        return <size_t> (kf_write_i64(out, token.signed) - out)
    elif token.kind == KIND_FLOAT:
        return <size_t> (kf_write_double(out, token.number) - out)
    elif token.kind == KIND_TRUE:
        memcpy(out, b"true", 4)
        return 4
    elif token.kind == KIND_FALSE:
        memcpy(out, b"false", 5)
        return 5
    memcpy(out, b"null", 4)
    return 4


cdef inline Status write_escaped(Text text, const Cursor* input, Buffer* out) noexcept nogil:
    """The inside of a string; leaves room for 8 bytes more."""
    cdef uint8_t* end
    if text.n > <size_t> -1 // (2 * KF_ESCAPE_MAX):
        return STATUS_NO_MEMORY
    if buffer_reserve(out, text.n * KF_ESCAPE_MAX + KF_ESCAPE_SLACK + 8) != STATUS_OK:
        return STATUS_NO_MEMORY
    end = kf_escape(out.data + out.n, text.data, text.n, input.end)
    out.n = <size_t> (end - out.data)
    return STATUS_OK


cdef inline Status write_quoted(Text text, const Cursor* input, bint is_key,
                                Buffer* out) noexcept nogil:
    """Append `text` as a JSON string, with a colon behind it if it is a key."""
    cdef uint8_t* end
    if text.n > <size_t> -1 // (2 * KF_ESCAPE_MAX):
        return STATUS_NO_MEMORY
    if buffer_reserve(out, text.n * KF_ESCAPE_MAX + KF_ESCAPE_SLACK + 16) != STATUS_OK:
        return STATUS_NO_MEMORY
    end = out.data + out.n
    end[0] = c'"'
    end = kf_escape(end + 1, text.data, text.n, input.end)
    end[0] = c'"'
    end[1] = c":"
    out.n = <size_t> (end - out.data) + (2 if is_key else 1)
    return STATUS_OK


cdef Status write_string(Text text, const Cursor* input, Buffer* out) noexcept nogil:
    """Append `text` as a JSON string; `input.end` is how far the bytes behind it may be read."""
    return write_quoted(text, input, False, out)


cdef Status write_dotless(Text text, const Cursor* input, const KeyRules* rules,
                          Buffer* out) noexcept nogil:
    """The inside of a key, each dot replaced."""
    cdef Cursor dot_input
    cdef Text part
    cdef const uint8_t* end = text.data + text.n
    dot_input.end = rules.dot.data + rules.dot.n
    while True:
        part.data = text.data
        text.data = <const uint8_t*> memchr(part.data, c".", <size_t> (end - part.data))
        part.n = <size_t> ((text.data if text.data != NULL else end) - part.data)
        if write_escaped(part, input, out) != STATUS_OK:
            return STATUS_NO_MEMORY
        if text.data == NULL:
            return STATUS_OK
        text.data += 1
        if write_escaped(rules.dot, &dot_input, out) != STATUS_OK:
            return STATUS_NO_MEMORY


cdef void put_infinite_key(double number, Buffer* out) noexcept nogil:
    if number == INFINITY:
        put_text(out, b"+Inf", 4)
    elif number == -INFINITY:
        put_text(out, b"-Inf", 4)
    else:
        put_text(out, b"NaN", 3)


cdef bint ext_is_time(const Token* token, int64_t* seconds,
                      uint32_t* nanoseconds) noexcept nogil:
    """Fluent Bit's EventTime (ext 0) or msgpack's timestamp (ext -1)."""
    cdef uint64_t packed
    if token.ext_type == 0 and token.n == 8:
        seconds[0] = kf_load_u32(token.data)
        nanoseconds[0] = kf_load_u32(token.data + 4)
    elif token.ext_type == -1 and token.n == 4:
        seconds[0] = kf_load_u32(token.data)
        nanoseconds[0] = 0
    elif token.ext_type == -1 and token.n == 8:
        packed = kf_load_u64(token.data)
        seconds[0] = <int64_t> (packed & 0x3ffffffffULL)
        nanoseconds[0] = <uint32_t> (packed >> 34)
    elif token.ext_type == -1 and token.n == 12:
        nanoseconds[0] = kf_load_u32(token.data)
        seconds[0] = <int64_t> kf_load_u64(token.data + 4)
    else:
        return False
    return True


cdef size_t write_ext_time(const Token* token, uint8_t* out) noexcept nogil:
    """RFC 3339 text of a time; 0 bytes if the ext is none or its year has no four digits."""
    cdef int64_t seconds
    cdef uint32_t nanoseconds
    cdef uint8_t* end
    if not ext_is_time(token, &seconds, &nanoseconds):
        return 0
    end = kf_write_rfc3339(out, seconds, nanoseconds)
    return 0 if end == NULL else <size_t> (end - out)


cdef Status write_ext(const Token* token, Buffer* out) noexcept nogil:
    cdef size_t n
    if buffer_reserve(out, kf_base64_length(token.n) + KF_RFC3339_MAX + 32) != STATUS_OK:
        return STATUS_NO_MEMORY
    n = write_ext_time(token, out.data + out.n + 1)
    if n:
        out.data[out.n] = c'"'
        out.n += n + 1
        put(out, c'"')
        return STATUS_OK
    put_text(out, b'{"type":', 8)
    out.n = <size_t> (kf_write_i64(out.data + out.n, token.ext_type) - out.data)
    put_text(out, b',"data":"', 9)
    out.n = <size_t> (kf_base64(out.data + out.n, token.data, token.n) - out.data)
    put_text(out, b'"}', 2)
    return STATUS_OK


cdef Status write_odd_key(const Token* token, Buffer* out) noexcept nogil:
    """The inside of a key that is neither str nor bin."""
    cdef size_t n
    if buffer_reserve(out, KF_NUMBER_MAX + KF_RFC3339_MAX) != STATUS_OK:
        return STATUS_NO_MEMORY
    if token.kind == KIND_FLOAT and not isfinite(token.number):
        put_infinite_key(token.number, out)
    elif token.kind == KIND_EXT:
        n = write_ext_time(token, out.data + out.n)
        if n == 0:
            return STATUS_BAD_KEY
        out.n += n
    elif token.kind == KIND_MAP or token.kind == KIND_ARRAY:
        return STATUS_BAD_KEY
    else:
        out.n += write_scalar(token, out.data + out.n)
    return STATUS_OK


cdef Status write_key(const Token* token, const Cursor* input, const KeyRules* rules,
                      Buffer* out) noexcept nogil:
    """Append a map key and its colon."""
    cdef Status status
    cdef bint is_text = token.kind == KIND_STR or token.kind == KIND_BIN
    if is_text and not rules.replace_dots:
        return write_quoted(token_text(token), input, True, out)
    if buffer_reserve(out, 8) != STATUS_OK:
        return STATUS_NO_MEMORY
    put(out, c'"')
    if is_text:
        status = write_dotless(token_text(token), input, rules, out)
    else:
        status = write_odd_key(token, out)
    if status != STATUS_OK:
        return status
    if buffer_reserve(out, 8) != STATUS_OK:
        return STATUS_NO_MEMORY
    put_text(out, b'":', 2)
    return STATUS_OK


cdef inline Status write_leaf(const Token* token, const Cursor* input, Buffer* out,
                              uint64_t* nan_values) noexcept nogil:
    """Append a value that holds no others."""
    if token.kind == KIND_STR or token.kind == KIND_BIN:
        return write_quoted(token_text(token), input, False, out)
    if token.kind == KIND_EXT:
        return write_ext(token, out)
    if buffer_reserve(out, KF_NUMBER_MAX) != STATUS_OK:
        return STATUS_NO_MEMORY
    if token.kind == KIND_FLOAT and not isfinite(token.number):
        nan_values[0] += 1
        put_text(out, b"null", 4)
        return STATUS_OK
    out.n += write_scalar(token, out.data + out.n)
    return STATUS_OK


cdef Status write_value(Cursor* cursor, const KeyRules* rules, unsigned int depth, Buffer* out,
                        uint64_t* nan_values) noexcept nogil:
    """Append the next value as JSON and step over it.

    `depth` is the number of levels that are open around it; NaN and the infinities become null
    and are counted. After a failure the cursor and the buffer hold a part of the value.
    """
    cdef Level levels[MAX_NESTING]
    cdef Level* level
    cdef unsigned int n_levels = 0
    cdef Token token
    cdef Status status
    while True:
        status = next_token(cursor, &token)
        if status != STATUS_OK:
            return status
        if token.kind == KIND_MAP or token.kind == KIND_ARRAY:
            if depth + n_levels >= MAX_NESTING:
                return STATUS_TOO_DEEP
            if buffer_reserve(out, 8) != STATUS_OK:
                return STATUS_NO_MEMORY
            level = &levels[n_levels]
            level.left = token.n
            level.is_map = token.kind == KIND_MAP
            level.started = False
            put(out, c"{" if level.is_map else c"[")
            n_levels += 1
        else:
            status = write_leaf(&token, cursor, out, nan_values)
            if status != STATUS_OK:
                return status
        while n_levels and levels[n_levels - 1].left == 0:
            if buffer_reserve(out, 8) != STATUS_OK:
                return STATUS_NO_MEMORY
            n_levels -= 1
            put(out, c"}" if levels[n_levels].is_map else c"]")
        if n_levels == 0:
            return STATUS_OK
        level = &levels[n_levels - 1]
        level.left -= 1
        if level.started:
            if buffer_reserve(out, 8) != STATUS_OK:
                return STATUS_NO_MEMORY
            put(out, c",")
        level.started = True
        if level.is_map:
            status = next_token(cursor, &token)
            if status == STATUS_OK:
                status = write_key(&token, cursor, rules, out)
            if status != STATUS_OK:
                return status
