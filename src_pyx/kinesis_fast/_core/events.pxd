from libc.stdint cimport int64_t, uint32_t

from kinesis_fast._core.cursor cimport Cursor
from kinesis_fast._core.status cimport Status


cdef struct Moment:
    int64_t second          # since 1970, UTC; 0 <= second < year 10000
    uint32_t nanosecond


cdef struct Event:
    Moment time             # valid only if has_time
    bint has_time           # False: negative, not finite, out of range or not a time
    bint is_group_marker


cdef Status read_event(Cursor* cursor, Event* event) noexcept nogil
