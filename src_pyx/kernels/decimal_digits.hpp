// Writes integers as decimal digits, eight digits in a 64-bit word at a time.
#ifndef KF_DECIMAL_DIGITS_HPP
#define KF_DECIMAL_DIGITS_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

// The 8 decimal digits of value < 10 ** 8, one per byte, the first digit in the lowest byte.
static inline uint64_t kf_eight_digits(uint32_t value)
{
    // Multiplications replace divisions: * 10486 >> 20 equals / 100 below 10 ** 4, and * 103 >> 10
    // equals / 10 below 100.
    const uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    const uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007F0000007Fu;
    const uint64_t pairs = hundreds | (fours - 100 * hundreds) << 16;
    const uint64_t tens = (pairs * 103 >> 10) & 0x000F000F000F000Fu;
    return tens | (pairs - 10 * tens) << 8;
}

// Writes the bytes of the word, the lowest byte first.
static inline void kf_store_word(uint8_t *out, uint64_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    std::memcpy(out, &word, 8);
}

static inline uint64_t kf_to_ascii(uint64_t digits)
{
    return digits | 0x3030303030303030u;
}

// The number of zero bytes before the first non-zero byte; word is not 0.
static inline unsigned kf_zeros_in_front(uint64_t word)
{
    return (unsigned)__builtin_ctzll(word) / 8;
}

// The number of zero bytes after the last non-zero byte; word is not 0.
static inline unsigned kf_zeros_behind(uint64_t word)
{
    return (unsigned)__builtin_clzll(word) / 8;
}

// Writes 8 bytes and returns the end of the digits; value < 10 ** 8.
static inline uint8_t *kf_write_below_1e8(uint8_t *out, uint32_t value)
{
    const uint64_t digits = kf_eight_digits(value);
    const unsigned n_zeros = kf_zeros_in_front(digits | (uint64_t)1 << 56); // keeps one digit
    kf_store_word(out, kf_to_ascii(digits) >> 8 * n_zeros);
    return out + (8 - n_zeros);
}

// Writes up to 24 bytes.
static inline uint8_t *kf_write_u64(uint8_t *out, uint64_t value)
{
    if (value < 10) {
        *out = (uint8_t)('0' + value);
        return out + 1;
    }
    if (value < 100000000)
        return kf_write_below_1e8(out, (uint32_t)value);
    const uint64_t high = value / 100000000;
    const uint32_t low = (uint32_t)(value % 100000000);
    if (high < 100000000) {
        out = kf_write_below_1e8(out, (uint32_t)high);
    } else {
        out = kf_write_below_1e8(out, (uint32_t)(high / 100000000));
        kf_store_word(out, kf_to_ascii(kf_eight_digits((uint32_t)(high % 100000000))));
        out += 8;
    }
    kf_store_word(out, kf_to_ascii(kf_eight_digits(low)));
    return out + 8;
}

static inline uint8_t *kf_write_i64(uint8_t *out, int64_t value)
{
    if (value >= 0)
        return kf_write_u64(out, (uint64_t)value);
    *out = '-';
    return kf_write_u64(out + 1, 0 - (uint64_t)value);
}

// Writes value with leading zeros as `digits` decimal digits; value < 10 ** digits.
static inline void kf_write_padded(uint8_t *out, uint32_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        out[i] = (uint8_t)('0' + value % 10);
}

#endif
