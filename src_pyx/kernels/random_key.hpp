// Random partition keys: 8 characters of [a-zA-Z0-9].
#ifndef KF_RANDOM_KEY_HPP
#define KF_RANDOM_KEY_HPP

#include <cstdint>
#include <cstring>

// SplitMix64: a counter and a mixing function, which is enough to spread keys over shards.
static inline uint64_t kf_next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// Four numbers below 62, one per 16 bits: 16 random bits * 62 >> 16.
static inline uint64_t kf_four_below_62(uint64_t random)
{
    const uint64_t halves = 0x0000FFFF0000FFFFu;
    const uint64_t even = (random & halves) * 62 >> 16 & halves;
    const uint64_t odd = (random >> 16 & halves) * 62 & ~halves;
    return even | odd;
}

static inline void kf_write_random_key(uint8_t *out, uint64_t *state)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t first = kf_four_below_62(kf_next_random(state));
    const uint64_t n = first | kf_four_below_62(kf_next_random(state)) << 8; // one in each byte
    const uint64_t not_lower = (n + ones * (128 - 26)) >> 7 & ones;
    const uint64_t digit = (n + ones * (128 - 52)) >> 7 & ones;
    const uint64_t key =
        n + ones * 'a' - not_lower * ('a' + 26 - 'A') - digit * ('A' + 26 - '0');
    std::memcpy(out, &key, 8);
}

#endif
