// Writes a point in time as RFC 3339 text in UTC, with nanoseconds but without trailing zeros.
#ifndef KF_RFC3339_HPP
#define KF_RFC3339_HPP

#include <cstddef>
#include <cstdint>
#include <ctime>

#include "decimal_digits.hpp"

#define KF_RFC3339_MAX 32
// 0000-01-01T00:00:00Z and 10000-01-01T00:00:00Z
#define KF_RFC3339_FIRST (-62167219200LL)
#define KF_RFC3339_END 253402300800LL

static inline uint8_t *kf_write_field(uint8_t *out, char before, int value)
{
    *out++ = (uint8_t)before;
    kf_write_padded(out, (uint32_t)value, 2);
    return out + 2;
}

// Carries `nanoseconds` of a second or more into the seconds. Returns NULL if the year does not have
// four digits.
static inline uint8_t *kf_write_rfc3339(uint8_t *out, int64_t seconds, uint32_t nanoseconds)
{
    if (seconds < KF_RFC3339_FIRST || seconds >= KF_RFC3339_END)
        return NULL;
    seconds += nanoseconds / 1000000000;
    nanoseconds %= 1000000000;
    if (seconds >= KF_RFC3339_END)
        return NULL;
    const time_t time = (time_t)seconds;
    struct tm utc;
    if (gmtime_r(&time, &utc) == NULL)
        return NULL;
    kf_write_padded(out, (uint32_t)(utc.tm_year + 1900), 4);
    out = kf_write_field(out + 4, '-', utc.tm_mon + 1);
    out = kf_write_field(out, '-', utc.tm_mday);
    out = kf_write_field(out, 'T', utc.tm_hour);
    out = kf_write_field(out, ':', utc.tm_min);
    out = kf_write_field(out, ':', utc.tm_sec);
    if (nanoseconds) {
        *out++ = '.';
        kf_write_padded(out, nanoseconds, 9);
        out += 9;
        while (out[-1] == '0')
            out--;
    }
    *out++ = 'Z';
    return out;
}

#endif
