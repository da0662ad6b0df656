"""Formats times: strftime(3) runs once per second, and sub-second digits are patched in.

A chunk may mix events of several sources, so the texts of N_SLOTS seconds are cached.

Times are in the local time zone and always in the C locale: the text of a record must not depend
on the locale of the host.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memchr
from libc.time cimport time_t, tm

from kinesis_fast._core.kernels cimport KF_SLACK


cdef extern from "<time.h>" nogil:
    tm* localtime_r(const time_t*, tm*)


cdef extern from *:
    """
    #include <locale.h>
    #include <time.h>
    static locale_t kf_c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    static inline size_t kf_strftime(char *out, size_t n, const char *format, const struct tm *t)
    {
        return strftime_l(out, n, format, t, kf_c_locale);
    }
    """
    size_t kf_strftime(char* out, size_t n, const char* format, const tm* t) nogil


cdef extern from "kernels/decimal_digits.hpp" nogil:
    void kf_write_padded(uint8_t* out, unsigned int value, int digits)


cdef enum:
    SUBSECOND_MARK = 1
    N_SLOTS = 64                # seconds, a power of two
    SAMPLE_MAX = 8192           # limit for the sample text in bytes; other texts may be twice that
    SAMPLE_SECOND = 2000000000  # as many digits as the seconds of today
    SAMPLE_MARGIN = 64          # bytes; lets short texts grow by more than twice

cdef int64_t NO_SECOND = -1
cdef unsigned int[10] POWERS = [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
                                1000000000]


cdef size_t format_second(const TimeFormat* fmt, int64_t second, char* text,
                          size_t text_max) noexcept nogil:
    """Format a second and return the number of bytes; 0 if the text is empty or too long."""
    cdef time_t time = <time_t> second
    cdef tm local
    if localtime_r(&time, &local) == NULL:
        return 0
    return kf_strftime(text, text_max, fmt.strftime, &local)


cdef bint measure_time(TimeFormat* fmt) noexcept nogil:
    """Set text_max from a sample text; names of days and months differ in length.

    Returns False if the text is empty or too long.
    """
    cdef char text[SAMPLE_MAX]
    cdef size_t n = format_second(fmt, SAMPLE_SECOND, text, SAMPLE_MAX)
    fmt.text_max = 2 * n + SAMPLE_MARGIN
    return n > 0


cdef bint open_times(TimeCache* cache, const TimeFormat* fmt) noexcept nogil:
    """Allocate the memory for the texts; returns False if out of memory."""
    cdef int i
    cache.slots = <TimeSlot*> malloc(N_SLOTS * (sizeof(TimeSlot) + fmt.text_max) + KF_SLACK)
    if cache.slots == NULL:
        return False
    cache.texts = <char*> (cache.slots + N_SLOTS)
    for i in range(N_SLOTS):
        cache.slots[i].second = NO_SECOND
    return True


cdef void close_times(TimeCache* cache) noexcept nogil:
    free(cache.slots)
    cache.slots = NULL


cdef void find_subseconds(const TimeFormat* fmt, TimeSlot* slot, const char* text) noexcept nogil:
    cdef const char* pos = text
    cdef size_t i
    for i in range(fmt.n_digits):
        pos = <const char*> memchr(pos, SUBSECOND_MARK, <size_t> (text + slot.n - pos))
        slot.subseconds[i] = <uint16_t> (pos - text)
        pos += fmt.digits[i]


cdef Text render_time(const TimeFormat* fmt, TimeCache* cache, Moment moment) noexcept nogil:
    """Return the text of `moment`, which is valid in `cache` until the next call.

    KF_SLACK bytes after the text are readable.
    """
    cdef size_t index = <size_t> moment.second & (N_SLOTS - 1)
    cdef TimeSlot* slot = cache.slots + index
    cdef char* text = cache.texts + index * fmt.text_max
    cdef Text rendered
    cdef size_t i
    cdef uint8_t digits
    if moment.second != slot.second:
        slot.n = format_second(fmt, moment.second, text, fmt.text_max)
        slot.second = moment.second
        if slot.n:
            find_subseconds(fmt, slot, text)
    if slot.n:
        for i in range(fmt.n_digits):
            digits = fmt.digits[i]
            kf_write_padded(<uint8_t*> text + slot.subseconds[i],
                            moment.nanosecond // POWERS[9 - digits], digits)
    rendered.data = <const uint8_t*> text
    rendered.n = slot.n
    return rendered
