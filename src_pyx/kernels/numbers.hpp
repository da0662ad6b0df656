// Numbers as JSON text.
#ifndef KF_NUMBERS_HPP
#define KF_NUMBERS_HPP

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

// No number is longer: "-" and 17 digits, a point, "e-324"; or "-0.00000" and 17 digits.
#define KF_NUMBER_MAX 32

static inline uint8_t *kf_write_u64(uint8_t *out, uint64_t value)
{
    return (uint8_t *)std::to_chars((char *)out, (char *)out + 20, value).ptr;
}

static inline uint8_t *kf_write_i64(uint8_t *out, int64_t value)
{
    return (uint8_t *)std::to_chars((char *)out, (char *)out + 20, value).ptr;
}

// `digits` decimal digits of value, with leading zeros; value < 10 ** digits.
static inline void kf_write_padded(uint8_t *out, uint32_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        out[i] = (uint8_t)('0' + value % 10);
}

// Lays out d[0].d[1]d[2]... * 10 ** exponent without an exponent; -7 < exponent < 21.
static inline uint8_t *kf_write_positional(uint8_t *out, const char *d, int n_digits, int exponent)
{
    if (exponent < 0) {
        std::memcpy(out, "0.000000", 8);
        out += 1 - exponent;
        std::memcpy(out, d, (size_t)n_digits);
        return out + n_digits;
    }
    const int n_whole = exponent + 1;
    if (n_digits <= n_whole) {
        std::memcpy(out, d, (size_t)n_digits);
        std::memset(out + n_digits, '0', (size_t)(n_whole - n_digits));
        return out + n_whole;
    }
    std::memcpy(out, d, (size_t)n_whole);
    out[n_whole] = '.';
    std::memcpy(out + n_whole + 1, d + n_whole, (size_t)(n_digits - n_whole));
    return out + n_digits + 1;
}

// The shortest digits that read back as the same double, laid out as Go does: in full from 1e-6 up
// to, but not including, 1e21; otherwise with an exponent of a sign and at least two digits.
// `value` is finite.
static inline uint8_t *kf_write_double(uint8_t *out, double value)
{
    if (std::signbit(value)) {
        *out++ = '-';
        value = -value;
    }
    if (value < 9007199254740992.0 && value == (double)(uint64_t)value)
        return kf_write_u64(out, (uint64_t)value);
    char text[40];
    char *end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
    char *e = end - 4; // the shortest exponent is "e+00"
    while (*e != 'e')
        e--;
    int exponent = 0;
    for (const char *p = e + 2; p < end; p++)
        exponent = exponent * 10 + (*p - '0');
    if (e[1] == '-')
        exponent = -exponent;
    if (exponent < -6 || exponent >= 21) {
        std::memcpy(out, text, (size_t)(end - text));
        return out + (end - text);
    }
    int n_digits = 1;
    if (text[1] == '.') {
        n_digits = (int)(e - text) - 1;
        std::memmove(text + 1, text + 2, (size_t)(n_digits - 1));
    }
    return kf_write_positional(out, text, n_digits, exponent);
}

#endif
