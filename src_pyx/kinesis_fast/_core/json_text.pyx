"""Writes msgpack values as JSON text into a buffer, without Python objects."""

from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memcpy

from kinesis_fast._core.buffer cimport KF_IS_EXACT, buffer_grow, buffer_reserve
from kinesis_fast._core.cursor cimport (
    KIND_ARRAY, KIND_BIN, KIND_EXT, KIND_FALSE, KIND_FLOAT, KIND_INT, KIND_MAP,
    KIND_STR, KIND_TRUE, KIND_UINT, kf_load_u32, kf_load_u64, next_token, take_short_str,
    token_text,
)
from kinesis_fast._core.kernels cimport (
    KF_ESCAPE_MAX, KF_SLACK, escape_text, kernels, kf_base64_length, kf_copy_short,
)
from kinesis_fast._core.limits cimport MAX_NESTING
from kinesis_fast._core.status cimport (
    STATUS_BAD_KEY, STATUS_NO_MEMORY, STATUS_OK, STATUS_TOO_DEEP,
)


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


cdef enum:
    KEY_MARKS = 3       # quotes and colon
    STEP_ROOM = 256     # fits a number, a comma and the closing brackets of MAX_NESTING levels


cdef struct Level:
    uint64_t left       # values (array) or pairs (map) left, including the current one
    bint is_map


cdef inline void put(Buffer* out, uint8_t byte) noexcept nogil:
    """Append one byte; the caller has made room for it."""
    out.data[out.n] = byte
    out.n += 1


cdef inline void put_text(Buffer* out, const char* text, size_t n) noexcept nogil:
    memcpy(out.data + out.n, text, n)
    out.n += n


cdef size_t write_scalar(const Token* token, uint8_t* out) noexcept nogil:
    """Write nil, a boolean or a finite number; `out` has room for KF_NUMBER_MAX bytes."""
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


cdef inline uint8_t* make_room(Buffer* out, uint8_t* pos, size_t room) noexcept nogil:
    """Make room for `room` bytes at `pos`, the end of the written text.

    Returns the new address of that end, or NULL if out of memory.
    """
    if (room <= <size_t> (out.data + out.capacity - pos)
            and not KF_IS_EXACT(<size_t> (pos - out.data) + room)):
        return pos
    out.n = <size_t> (pos - out.data)
    if buffer_grow(out, room) != STATUS_OK:
        return NULL
    return out.data + out.n


cdef inline uint8_t* make_text_room(Buffer* out, uint8_t* pos, size_t n) noexcept nogil:
    """Make room for n bytes of text, even if each needs an escape, and for one more step."""
    if n > <size_t> -1 // (2 * KF_ESCAPE_MAX):
        return NULL
    return make_room(out, pos, n * KF_ESCAPE_MAX + KF_SLACK + STEP_ROOM)


cdef inline uint8_t* put_quoted(uint8_t* pos, Text text,
                                const uint8_t* readable_end) noexcept nogil:
    """Write a JSON string; the caller has made room for it."""
    pos[0] = c'"'
    pos = escape_text(pos + 1, text.data, text.n, readable_end)
    pos[0] = c'"'
    return pos + 1


cdef Status write_escaped(Text text, const Cursor* input, Buffer* out) noexcept nogil:
    """Append `text` as the inside of a JSON string."""
    cdef uint8_t* pos = make_text_room(out, out.data + out.n, text.n)
    if pos == NULL:
        return STATUS_NO_MEMORY
    pos = escape_text(pos, text.data, text.n, input.end)
    out.n = <size_t> (pos - out.data)
    return STATUS_OK


cdef Status write_string(Text text, const Cursor* input, Buffer* out) noexcept nogil:
    """Append `text` as a JSON string; memory is readable up to `input.end`."""
    cdef uint8_t* pos = make_text_room(out, out.data + out.n, text.n)
    if pos == NULL:
        return STATUS_NO_MEMORY
    pos = put_quoted(pos, text, input.end)
    out.n = <size_t> (pos - out.data)
    return STATUS_OK


cdef Status write_replacing_dots(Text text, const Cursor* input, const KeyRules* rules,
                                 Buffer* out) noexcept nogil:
    """Append the inside of a key, with each dot replaced."""
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
    """Decode Fluent Bit's EventTime (ext 0) or msgpack's timestamp (ext -1)."""
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
    """Write a time as RFC 3339; 0 bytes if the ext is not a time or its year not of four digits."""
    cdef int64_t seconds
    cdef uint32_t nanoseconds
    cdef uint8_t* end
    if not ext_is_time(token, &seconds, &nanoseconds):
        return 0
    end = kf_write_rfc3339(out, seconds, nanoseconds)
    return 0 if end == NULL else <size_t> (end - out)


cdef Status write_ext(const Token* token, const uint8_t* readable_end,
                      Buffer* out) noexcept nogil:
    """Append a value of an extension type; leaves room for one more step."""
    cdef uint8_t* end
    cdef size_t n
    if buffer_reserve(out, kf_base64_length(token.n) + KF_SLACK + STEP_ROOM) != STATUS_OK:
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
    end = kernels.base64(out.data + out.n, token.data, <size_t> token.n, readable_end)
    out.n = <size_t> (end - out.data)
    put_text(out, b'"}', 2)
    return STATUS_OK


cdef Status write_non_text_key(const Token* token, Buffer* out) noexcept nogil:
    """Append the inside of a key that is neither str nor bin."""
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


cdef inline bint copy_plain_key(uint8_t* pos, Text text, const uint8_t* readable_end,
                                const KeyRules* rules) noexcept nogil:
    """Write a key and its colon if it is short and needs no change.

    The caller has made room. If this returns False, ignore what it wrote.
    """
    if not kf_copy_short(pos + 1, text.data, text.n, readable_end, rules.special):
        return False
    pos[0] = c'"'
    memcpy(pos + 1 + text.n, b'":', 2)
    return True


cdef Status write_key(const Token* token, const Cursor* input, const KeyRules* rules,
                      Buffer* out) noexcept nogil:
    """Append a map key and its colon."""
    cdef Status status
    cdef bint is_text = token.kind == KIND_STR or token.kind == KIND_BIN
    cdef uint8_t* pos
    if is_text:
        pos = make_text_room(out, out.data + out.n, <size_t> token.n)
        if pos == NULL:
            return STATUS_NO_MEMORY
        if copy_plain_key(pos, token_text(token), input.end, rules):
            out.n += <size_t> token.n + KEY_MARKS
            return STATUS_OK
    if is_text and not rules.replace_dots:
        status = write_string(token_text(token), input, out)
    else:
        if buffer_reserve(out, 8) != STATUS_OK:
            return STATUS_NO_MEMORY
        put(out, c'"')
        if is_text:
            status = write_replacing_dots(token_text(token), input, rules, out)
        else:
            status = write_non_text_key(token, out)
        if status == STATUS_OK:
            status = buffer_reserve(out, 8)
        if status == STATUS_OK:
            put(out, c'"')
    if status != STATUS_OK:
        return status
    if buffer_reserve(out, 8) != STATUS_OK:
        return STATUS_NO_MEMORY
    put(out, c":")
    return STATUS_OK


cdef inline uint8_t* put_key(Cursor* cursor, const KeyRules* rules, Buffer* out,
                             uint8_t* pos, Status* status) noexcept nogil:
    """Read a key, write it and its colon; returns NULL and sets the status on failure.

    Leaves room for one step.
    """
    cdef Cursor after = cursor[0]       # a copy for calls, so that `cursor` stays in registers
    cdef Text text
    cdef Token token
    if take_short_str(&after, &text):
        pos = make_text_room(out, pos, text.n)
        if pos == NULL:
            status[0] = STATUS_NO_MEMORY
            return NULL
        if copy_plain_key(pos, text, after.end, rules):
            cursor[0] = after
            return pos + text.n + KEY_MARKS
    after = cursor[0]
    status[0] = next_token(&after, &token)
    if status[0] != STATUS_OK:
        return NULL
    out.n = <size_t> (pos - out.data)
    status[0] = write_key(&token, &after, rules, out)
    if status[0] != STATUS_OK:
        return NULL
    cursor[0] = after
    pos = make_room(out, out.data + out.n, STEP_ROOM)
    if pos == NULL:
        status[0] = STATUS_NO_MEMORY
    return pos


cdef inline uint8_t* put_text_value(uint8_t* pos, Text text, const uint8_t* readable_end,
                                    Buffer* out, Status* status) noexcept nogil:
    """Write a string; returns NULL and sets the status on failure. Leaves room for one step."""
    pos = make_text_room(out, pos, text.n)
    if pos == NULL:
        status[0] = STATUS_NO_MEMORY
        return NULL
    return put_quoted(pos, text, readable_end)


cdef inline uint8_t* put_leaf(uint8_t* pos, const Token* token, const uint8_t* readable_end,
                              Buffer* out, uint64_t* nan_values, Status* status) noexcept nogil:
    """Write a value that is not a container; returns NULL and sets the status on failure.

    The caller has made room for one step.
    """
    if token.kind == KIND_STR or token.kind == KIND_BIN:
        return put_text_value(pos, token_text(token), readable_end, out, status)
    if token.kind == KIND_EXT:
        out.n = <size_t> (pos - out.data)
        status[0] = write_ext(token, readable_end, out)
        return out.data + out.n if status[0] == STATUS_OK else NULL
    if token.kind == KIND_FLOAT and not isfinite(token.number):
        nan_values[0] += 1
        memcpy(pos, b"null", 4)
        return pos + 4
    return pos + write_scalar(token, pos)


cdef inline uint8_t* put_start(uint8_t* pos, const Token* token, Level* level) noexcept nogil:
    """Open a map or an array; an empty one is also closed."""
    level.left = token.n
    level.is_map = token.kind == KIND_MAP
    pos[0] = c"{" if level.is_map else c"["
    if token.n:
        return pos + 1
    pos[1] = c"}" if level.is_map else c"]"
    return pos + 2


cdef Status write_value(Cursor* cursor, const KeyRules* rules, unsigned int depth, Buffer* out,
                        uint64_t* nan_values) noexcept nogil:
    """Append the next value as JSON and step over it.

    `depth` is the number of levels that enclose the value. NaN and the infinities become null and
    are counted. After a failure the cursor stands, and the buffer ends, inside the value.
    """
    cdef Level outer[MAX_NESTING]       # the open levels without the innermost
    cdef Level level, inner
    cdef unsigned int n_levels = 0
    cdef Cursor input = cursor[0]       # `input` and `pos` stay in registers
    cdef Cursor after
    cdef uint8_t* pos = out.data + out.n
    cdef Text text
    cdef Token token
    cdef Status status
    level.left = 0
    level.is_map = False
    while True:
        if level.is_map:
            pos = put_key(&input, rules, out, pos, &status)
        else:
            pos = make_room(out, pos, STEP_ROOM)
            status = STATUS_NO_MEMORY if pos == NULL else STATUS_OK
        if pos == NULL:
            return status
        if take_short_str(&input, &text):
            pos = put_text_value(pos, text, input.end, out, &status)
        else:
            after = input
            status = next_token(&after, &token)
            if status != STATUS_OK:
                return status
            input = after
            if token.kind == KIND_MAP or token.kind == KIND_ARRAY:
                if depth + n_levels >= MAX_NESTING:
                    return STATUS_TOO_DEEP
                pos = put_start(pos, &token, &inner)
                if inner.left:
                    outer[n_levels] = level
                    level = inner
                    n_levels += 1
                    continue
            else:
                pos = put_leaf(pos, &token, after.end, out, nan_values, &status)
        if pos == NULL:
            return status
        while n_levels:
            level.left -= 1
            if level.left:
                break
            pos[0] = c"}" if level.is_map else c"]"
            pos += 1
            n_levels -= 1
            level = outer[n_levels]
        if n_levels == 0:
            out.n = <size_t> (pos - out.data)
            cursor[0] = input
            return STATUS_OK
        pos[0] = c","
        pos += 1
