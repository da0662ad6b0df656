// Writes numbers as JSON text.
#ifndef KF_NUMBERS_HPP
#define KF_NUMBERS_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "decimal_digits.hpp"
#include "shortest.hpp"

// Room for any number. The longest text has 25 bytes ("-0.00000" and 17 digits); copies of a fixed
// length write more.
#define KF_NUMBER_MAX 64

// A positive number as 0.d[0]d[1]d[2]... * 10 ** point; d[0] and the last digit are not 0.
// 24 bytes are readable from each digit on.
struct kf_digits {
    uint8_t all[48];
    const uint8_t *d;
    int n;
    int point;
};

static inline void kf_split_digits(kf_decimal decimal, kf_digits *digits)
{
    const uint64_t first = decimal.digits / 10000000000000000u;
    const uint64_t rest = decimal.digits % 10000000000000000u;
    const uint64_t high = kf_eight_digits((uint32_t)(rest / 100000000));
    const uint64_t low = kf_eight_digits((uint32_t)(rest % 100000000));
    digits->all[0] = (uint8_t)('0' + first);
    kf_store_word(digits->all + 1, kf_to_ascii(high));
    kf_store_word(digits->all + 9, kf_to_ascii(low));
    const int start = first  ? 0
                      : high ? 1 + (int)kf_zeros_in_front(high)
                             : 9 + (int)kf_zeros_in_front(low);
    const int end = low    ? 17 - (int)kf_zeros_behind(low)
                    : high ? 9 - (int)kf_zeros_behind(high)
                           : 1;
    digits->d = digits->all + start;
    digits->n = end - start;
    digits->point = decimal.exponent + 17 - start;
}

// Writes without an exponent; -6 < point <= 21.
static inline uint8_t *kf_write_positional(uint8_t *out, const kf_digits *digits)
{
    const int point = digits->point;
    if (point <= 0) {
        std::memcpy(out, "0.000000", 8);
        std::memcpy(out + 2 - point, digits->d, 24);
        return out + 2 - point + digits->n;
    }
    std::memcpy(out, digits->d, 24);
    if (digits->n <= point) {
        std::memset(out + digits->n, '0', (size_t)(point - digits->n));
        return out + point;
    }
    out[point] = '.';
    std::memcpy(out + point + 1, digits->d + point, 24);
    return out + digits->n + 1;
}

static inline uint8_t *kf_write_exponential(uint8_t *out, const kf_digits *digits)
{
    *out++ = digits->d[0];
    if (digits->n > 1) {
        *out++ = '.';
        std::memcpy(out, digits->d + 1, 24);
        out += digits->n - 1;
    }
    const int exponent = digits->point - 1;
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    const unsigned size = (unsigned)(exponent < 0 ? -exponent : exponent);
    if (size < 10)
        *out++ = '0';
    return kf_write_u64(out, size);
}

// Writes a number with at most eight decimals, like most numbers in logs. If `scaled` / 10 ** 8
// reads back as the value, its digits are the shortest: with at most 15 digits, no two decimals are
// the same double. Returns NULL for all other numbers. 1e-6 <= value < 1e7, not a whole number.
static inline uint8_t *kf_write_short_decimal(uint8_t *out, double value)
{
    const uint64_t scaled = (uint64_t)(value * 1e8 + 0.5);
    if ((double)scaled / 1e8 != value)
        return NULL;
    out = kf_write_below_1e8(out, (uint32_t)(scaled / 100000000));
    *out++ = '.';
    const uint64_t decimals = kf_eight_digits((uint32_t)(scaled % 100000000));
    kf_store_word(out, kf_to_ascii(decimals));
    return out + 8 - kf_zeros_behind(decimals);
}

// Writes the shortest digits that read back as the same double, in Go's layout: without an exponent
// from 1e-6 up to, but not including, 1e21; otherwise with an exponent that has a sign and at least
// two digits. `value` is finite.
static inline uint8_t *kf_write_double(uint8_t *out, double value)
{
    if (std::signbit(value)) {
        *out++ = '-';
        value = -value;
    }
    if (value < 9007199254740992.0 && value == (double)(uint64_t)value)
        return kf_write_u64(out, (uint64_t)value);
    if (value >= 1e-6 && value < 1e7) {
        uint8_t *end = kf_write_short_decimal(out, value);
        if (end != NULL)
            return end;
    }
    kf_digits digits;
    kf_split_digits(kf_shortest(value), &digits);
    if (digits.point > -6 && digits.point <= 21)
        return kf_write_positional(out, &digits);
    return kf_write_exponential(out, &digits);
}

#endif
