// The shortest decimal number that reads back as a given double.
//
// Method: R. Giulietti, "The Schubfach way to render doubles", 2020. The result is a multiple of one
// of two neighbouring powers of ten. At most four of these multiples are candidates, and products
// with a 128-bit power of ten find them.
#ifndef KF_SHORTEST_HPP
#define KF_SHORTEST_HPP

#include <cstdint>
#include <cstring>

#include "powers_of_ten.hpp"

struct kf_decimal {
    uint64_t digits; // below 10 ** 17, may end with zeros
    int exponent;    // the value is digits * 10 ** exponent
};

struct kf_u128 {
    uint64_t high, low;
};

static inline kf_u128 kf_multiply(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__) && !defined(KF_PORTABLE)
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)a * b;
    return {(uint64_t)(product >> 64), (uint64_t)product};
#else
    const uint64_t mask = 0xFFFFFFFFu;
    const uint64_t low = (a & mask) * (b & mask);
    const uint64_t cross = (a >> 32) * (b & mask) + (low >> 32);
    const uint64_t other = (a & mask) * (b >> 32) + (cross & mask);
    return {(a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32), other << 32 | (low & mask)};
#endif
}

// The upper 64 bits of power * factor (192 bits). The lowest of them is also set if the bits below
// are not 0, except where the rounding of the power alone can explain that.
static inline uint64_t kf_scale(const uint64_t *power, uint64_t factor)
{
    const kf_u128 low = kf_multiply(power[1], factor);
    const kf_u128 high = kf_multiply(power[0], factor);
    const uint64_t middle = high.low + low.high;
    return (high.high + (middle < low.high)) | (middle > 1);
}

static inline int kf_floor_log2_of_power_of_ten(int e)
{
    return (e * 1741647) >> 19;
}

static inline int kf_floor_log10_of_power_of_two(int e)
{
    return (e * 1262611) >> 22;
}

static inline int kf_floor_log10_of_three_quarters(int e) // of 3/4 * 2 ** e
{
    return (e * 1262611 - 524031) >> 22;
}

// `value` is finite and larger than 0.
static inline kf_decimal kf_shortest(double value)
{
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    const int biased = (int)(bits >> 52);
    const uint64_t c = biased ? fraction | (uint64_t)1 << 52 : fraction;
    const int q = (biased ? biased : 1) - 1075; // value = c * 2 ** q
    const bool is_odd = c & 1;                  // the interval then excludes its ends
    const bool lower_is_near = fraction == 0 && biased > 1;

    const int k = lower_is_near ? kf_floor_log10_of_three_quarters(q)
                                : kf_floor_log10_of_power_of_two(q);
    const int shift = q + kf_floor_log2_of_power_of_ten(-k) + 1; // 1 to 4
    const uint64_t *power = kf_powers_of_ten[-k - KF_FIRST_POWER];
    // The unit of the next three is a quarter of 10 ** k.
    const uint64_t lower = kf_scale(power, (4 * c - 2 + lower_is_near) << shift) + is_odd;
    const uint64_t exact = kf_scale(power, (4 * c) << shift);
    const uint64_t upper = kf_scale(power, (4 * c + 2) << shift) - is_odd;

    const uint64_t below = exact / 4;
    if (below >= 10) {
        const uint64_t tenth = below / 10;
        const bool low_fits = lower <= 40 * tenth;
        const bool high_fits = 40 * tenth + 40 <= upper;
        if (low_fits != high_fits)
            return {tenth + high_fits, k + 1};
    }
    const bool low_fits = lower <= 4 * below;
    const bool high_fits = 4 * below + 4 <= upper;
    if (low_fits != high_fits)
        return {below + high_fits, k};
    const uint64_t middle = 4 * below + 2;
    return {below + (exact > middle || (exact == middle && (below & 1))), k};
}

#endif
