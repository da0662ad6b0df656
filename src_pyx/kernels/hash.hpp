// A hash that spreads partition keys over lanes. It does not resist chosen inputs, so do not use it
// for hash tables.
#ifndef KF_HASH_HPP
#define KF_HASH_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

static inline uint64_t kf_mix(uint64_t value)
{
    value *= 0x9E3779B97F4A7C15u;
    return value ^ (value >> 32);
}

// The result depends on the bytes and on the byte order of the CPU.
static inline uint64_t kf_hash(const uint8_t *text, size_t n)
{
    uint64_t hash = kf_mix(n + 1), word;
    for (; n >= 8; n -= 8, text += 8) {
        std::memcpy(&word, text, 8);
        hash = kf_mix(hash ^ word);
    }
    word = 0;
    if (n)
        std::memcpy(&word, text, n);
    return kf_mix(hash ^ word);
}

#endif
