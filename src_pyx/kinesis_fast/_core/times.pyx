"""A time as text: strftime(3) once per distinct second, sub-second digits patched in.

Local time zone, and always the C locale: what a log says must not depend on the host's locale.
"""

from libc.string cimport memchr
from libc.time cimport time_t, tm


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


cdef extern from "kernels/numbers.hpp" nogil:
    void kf_write_padded(uint8_t* out, unsigned int value, int digits)


cdef enum:
    SUBSECOND_MARK = 1

cdef int64_t NO_SECOND = -1
cdef unsigned int[10] POWERS = [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
                                1000000000]


cdef void reset_time(TimeText* cache) noexcept nogil:
    cache.second = NO_SECOND
    cache.n = 0


cdef void find_subseconds(const TimeFormat* fmt, TimeText* cache) noexcept nogil:
    cdef const char* pos = cache.text
    cdef size_t i
    for i in range(fmt.n_digits):
        pos = <const char*> memchr(pos, SUBSECOND_MARK, <size_t> (cache.text + cache.n - pos))
        cache.subseconds[i] = <uint16_t> (pos - cache.text)
        pos += fmt.digits[i]


cdef void format_second(const TimeFormat* fmt, TimeText* cache, int64_t second) noexcept nogil:
    cdef time_t time = <time_t> second
    cdef tm local
    cache.n = 0
    if localtime_r(&time, &local) != NULL:
        cache.n = kf_strftime(cache.text, TIME_TEXT_MAX, fmt.strftime, &local)
    if cache.n:
        find_subseconds(fmt, cache)
    cache.second = second


cdef Text render_time(const TimeFormat* fmt, TimeText* cache, Moment moment) noexcept nogil:
    """The text of `moment`; it lives in `cache` until the next call. Empty if it is too long."""
    cdef Text text
    cdef size_t i
    cdef uint8_t digits
    if moment.second != cache.second:
        format_second(fmt, cache, moment.second)
    if cache.n:
        for i in range(fmt.n_digits):
            digits = fmt.digits[i]
            kf_write_padded(<uint8_t*> cache.text + cache.subseconds[i],
                            moment.nanosecond // POWERS[9 - digits], digits)
    text.data = <const uint8_t*> cache.text
    text.n = cache.n
    return text
