from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t

from kinesis_fast._core.events cimport Moment
from kinesis_fast._core.text cimport Text

cdef enum:
    TIME_TEXT_MAX = 16384       # bytes of a formatted time
    MAX_SUBSECONDS = 128        # sub-second directives in a format


cdef struct TimeFormat:
    const char* strftime        # ends with NUL; a byte 1 stands where a sub-second digit goes
    const uint8_t* digits       # of each sub-second directive, in order: 1 to 9
    size_t n_digits


cdef struct TimeText:
    int64_t second              # the one that `text` was formatted for, or NO_SECOND
    size_t n
    uint16_t subseconds[MAX_SUBSECONDS]     # where each sub-second directive stands in `text`
    char text[TIME_TEXT_MAX]


cdef void reset_time(TimeText* cache) noexcept nogil
cdef Text render_time(const TimeFormat* fmt, TimeText* cache, Moment moment) noexcept nogil
