from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t

from kinesis_fast._core.events cimport Moment
from kinesis_fast._core.text cimport Text

cdef enum:
    MAX_SUBSECONDS = 128        # sub-second directives in a format


cdef struct TimeFormat:
    const char* strftime        # ends with NUL; a byte 1 stands where a sub-second digit goes
    const uint8_t* digits       # of each sub-second directive, in order: 1 to 9
    size_t n_digits
    size_t text_max             # bytes that a text may have


cdef struct TimeSlot:
    int64_t second              # the one that the text was formatted for, or NO_SECOND
    size_t n
    uint16_t subseconds[MAX_SUBSECONDS]     # where each sub-second directive stands in the text


cdef struct TimeCache:
    TimeSlot* slots             # NULL: closed
    char* texts                 # text_max bytes for each slot


cdef bint measure_time(TimeFormat* fmt) noexcept nogil
cdef bint open_times(TimeCache* cache, const TimeFormat* fmt) noexcept nogil
cdef void close_times(TimeCache* cache) noexcept nogil
cdef Text render_time(const TimeFormat* fmt, TimeCache* cache, Moment moment) noexcept nogil
