// Partition keys for records that bring none: 8 characters of [a-zA-Z0-9].
#ifndef KF_RANDOM_KEY_HPP
#define KF_RANDOM_KEY_HPP

#include <cstdint>

// SplitMix64: a counter and a mixing function, enough to spread keys over shards.
static inline uint64_t kf_next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline void kf_write_random_key(uint8_t *out, uint64_t *state)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const uint64_t bits = kf_next_random(state);
    uint64_t fraction = bits >> 32;
    for (int i = 0; i < 8; i++) {
        if (i == 4)
            fraction = bits & 0xFFFFFFFFu;
        fraction = (fraction & 0xFFFFFFFFu) * 62;
        out[i] = (uint8_t)alphabet[fraction >> 32];
    }
}

#endif
