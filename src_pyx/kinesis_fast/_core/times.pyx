"""Formats times: strftime(3) runs once per second, and sub-second digits are patched in.

A chunk may mix events of several sources, so the texts of N_SLOTS seconds are cached.

Times are in UTC or in the local time zone, and always in the C locale: the text of a record must
not depend on the locale of the host.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memchr
from libc.time cimport time_t, tm

from kinesis_fast._core.kernels cimport KF_SLACK


cdef extern from *:
    """
    #include <locale.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    static locale_t kf_c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    static inline size_t kf_strftime(char *out, size_t n, const char *format, const struct tm *t)
    {
        return strftime_l(out, n, format, t, kf_c_locale);
    }
    static inline int kf_time_fields(const time_t *time, int is_utc, struct tm *fields)
    {
        if (!is_utc)
            return localtime_r(time, fields) != NULL;
        if (gmtime_r(time, fields) == NULL)
            return 0;
        fields->tm_zone = (char *)"UTC"; // glibc says GMT
        return 1;
    }
    // Copy a format and write the second in place of each %s, with its flags and its width.
    // strftime would take the fields of UTC for local time there. Returns 0 if there is no room.
    static int kf_fill_in_second(char *out, size_t room, const char *format, long long second)
    {
        char number[112]; // a width has two digits
        while (*format) {
            const char *end = format + 1, *text = format;
            if (*format == '%') {
                char pad = '_', *after;
                for (; *end && strchr("_-0^#", *end); end++)
                    pad = strchr("^#", *end) ? pad : *end;
                const int width = (int)strtol(end, &after, 10);
                end = after;
                if (*end == 's' && width < 100) {
                    const char *how = pad == '0' ? "%0*lld" : "%*lld"; // as in glibc
                    snprintf(number, sizeof number, how, width, second);
                    text = number;
                }
                end += *end != 0;
            }
            const size_t n = text == number ? strlen(number) : (size_t)(end - format);
            if (n >= room)
                return 0;
            memcpy(out, text, n);
            out += n;
            room -= n;
            format = end;
        }
        *out = 0;
        return 1;
    }
    """
    int kf_time_fields(const time_t* time, int is_utc, tm* fields) nogil
    int kf_fill_in_second(char* out, size_t room, const char* format, long long second) nogil
    size_t kf_strftime(char* out, size_t n, const char* format, const tm* t) nogil


cdef extern from "kernels/decimal_digits.hpp" nogil:
    void kf_write_padded(uint8_t* out, unsigned int value, int digits)


cdef enum:
    SUBSECOND_MARK = 1
    N_SLOTS = 64                # seconds, a power of two
    FORMAT_MAX = 8192           # limit in bytes for a format with the second filled in
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
    cdef tm fields
    cdef char filled_in[FORMAT_MAX]
    cdef const char* strftime = fmt.strftime
    if not kf_time_fields(&time, fmt.is_utc, &fields):
        return 0
    if fmt.is_utc:
        if not kf_fill_in_second(filled_in, FORMAT_MAX, strftime, second):
            return 0
        strftime = filled_in
    return kf_strftime(text, text_max, strftime, &fields)


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
