from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t

from kinesis_fast._core.events cimport Moment
from kinesis_fast._core.text cimport Text

cdef enum:
    MAX_SUBSECONDS = 128        # sub-second directives in a format


cdef struct TimeFormat:
    const char* strftime        # ends with NUL; each byte 1 is a placeholder for a sub-second digit
    const uint8_t* digits       # number of digits (1 to 9) of each sub-second directive, in order
    size_t n_digits             # number of sub-second directives
    bint is_utc                 # False: the local time zone
    size_t text_max             # limit for the length of a text in bytes


cdef struct TimeSlot:
    int64_t second              # the second that the text is of, or NO_SECOND
    size_t n                    # length of the text in bytes
    uint16_t subseconds[MAX_SUBSECONDS]     # offset of each sub-second directive in the text


cdef struct TimeCache:
    TimeSlot* slots             # NULL: closed
    char* texts                 # text_max bytes for each slot


cdef bint measure_time(TimeFormat* fmt) noexcept nogil
cdef bint open_times(TimeCache* cache, const TimeFormat* fmt) noexcept nogil
cdef void close_times(TimeCache* cache) noexcept nogil
cdef Text render_time(const TimeFormat* fmt, TimeCache* cache, Moment moment) noexcept nogil
