"""Reads Fluent Bit's log events: [time, body] (v1) and [[time, metadata], body] (v2).

Source: fluent-bit include/fluent-bit/flb_log_event.h and the forward protocol's EventTime.
"""

from libc.math cimport floor, isfinite
from libc.stdint cimport int32_t, uint8_t, uint64_t

from kinesis_fast._core.cursor cimport (
    KIND_ARRAY, KIND_EXT, KIND_FLOAT, KIND_INT, KIND_UINT, Token, bytes_left, kf_load_u32,
    next_token, skip_value,
)
from kinesis_fast._core.status cimport STATUS_END, STATUS_OK, STATUS_TRUNCATED

cdef enum:
    GROUP_START = -1
    GROUP_END = -2
    NANOSECONDS = 1000000000
    USUAL_START = 0x9292d700    # [[EventTime
    USUAL_TIME_BYTES = 12
    EMPTY_MAP = 0x80
    EMPTY_MAP32 = 0xdf

cdef int64_t YEAR_10000 = 253402300800


cdef inline void set_time(Event* event, int64_t second, uint32_t nanosecond) noexcept nogil:
    event.time.second = second
    event.time.nanosecond = nanosecond
    event.has_time = 0 <= second < YEAR_10000 and nanosecond < NANOSECONDS


cdef void set_float_time(Event* event, double seconds) noexcept nogil:
    """Set the time rounded to microseconds: a double holds no more digits for today's dates."""
    cdef double whole
    cdef int64_t microseconds
    if not isfinite(seconds) or seconds < 0 or seconds >= YEAR_10000:
        return
    whole = floor(seconds)
    microseconds = <int64_t> floor((seconds - whole) * 1e6 + 0.5)
    if microseconds == 1000000:
        set_time(event, <int64_t> whole + 1, 0)
    else:
        set_time(event, <int64_t> whole, <uint32_t> (microseconds * 1000))


cdef void set_event_time(Event* event, const uint8_t* data) noexcept nogil:
    """Read an EventTime. Fluent Bit's seconds are signed, and -1 and -2 mark groups."""
    cdef int32_t second = <int32_t> kf_load_u32(data)
    event.is_group_marker = second == GROUP_START or second == GROUP_END
    set_time(event, second, kf_load_u32(data + 4))


cdef Status read_time(Cursor* cursor, Event* event) noexcept nogil:
    cdef Cursor start = cursor[0]
    cdef Token token
    if next_token(cursor, &token) != STATUS_OK:
        return STATUS_TRUNCATED
    if token.kind == KIND_EXT and token.ext_type == 0 and token.n == 8:
        set_event_time(event, token.data)
    elif token.kind == KIND_UINT:
        if token.n < <uint64_t> YEAR_10000:
            set_time(event, <int64_t> token.n, 0)
    elif token.kind == KIND_FLOAT:
        set_float_time(event, token.number)
    elif token.kind != KIND_INT:
        cursor[0] = start
        return skip_value(cursor)
    return STATUS_OK


cdef Status read_pair(Cursor* cursor) noexcept nogil:
    """Read the header of an array of two values."""
    cdef Token token
    if next_token(cursor, &token) != STATUS_OK:
        return STATUS_TRUNCATED
    if token.kind != KIND_ARRAY or token.n != 2:
        return STATUS_TRUNCATED
    return STATUS_OK


cdef inline bint at_array(const Cursor* cursor) noexcept nogil:
    cdef uint8_t first
    if cursor.pos == cursor.end:
        return False
    first = cursor.pos[0]
    return (first & 0xf0) == 0x90 or first == 0xdc or first == 0xdd


cdef inline size_t usual_start(const Cursor* cursor) noexcept nogil:
    """Return the length of the usual header, [[EventTime, {}]; 0 if the event begins differently.

    Fluent Bit writes the empty metadata as a map 32.
    """
    cdef const uint8_t* metadata
    if bytes_left(cursor) < USUAL_TIME_BYTES + 5 or kf_load_u32(cursor.pos) != USUAL_START:
        return 0
    metadata = cursor.pos + USUAL_TIME_BYTES
    if metadata[0] == EMPTY_MAP32 and kf_load_u32(metadata + 1) == 0:
        return USUAL_TIME_BYTES + 5
    return USUAL_TIME_BYTES + 1 if metadata[0] == EMPTY_MAP else 0


cdef Status read_event(Cursor* cursor, Event* event) noexcept nogil:
    """Read the next event up to its body and leave the cursor there.

    Returns STATUS_END at the end of the chunk and STATUS_TRUNCATED if the bytes are not an event.
    """
    cdef size_t n_usual
    cdef bint has_metadata
    if cursor.pos == cursor.end:
        return STATUS_END
    event.has_time = False
    event.is_group_marker = False
    n_usual = usual_start(cursor)
    if n_usual:
        set_event_time(event, cursor.pos + 4)
        cursor.pos += n_usual
        return STATUS_OK
    if read_pair(cursor) != STATUS_OK:
        return STATUS_TRUNCATED
    has_metadata = at_array(cursor)
    if has_metadata and read_pair(cursor) != STATUS_OK:
        return STATUS_TRUNCATED
    if read_time(cursor, event) != STATUS_OK:
        return STATUS_TRUNCATED
    return skip_value(cursor) if has_metadata else STATUS_OK
