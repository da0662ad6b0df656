// The CPU levels with kernels of their own, and a table that all block kernels use.
#ifndef KF_LEVEL_HPP
#define KF_LEVEL_HPP

#include <array>
#include <cstdint>

#include "neon.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(KF_PORTABLE)
#define KF_X86_BLOCKS 1
#endif

// The slowest first. A CPU that supports a level supports those before it.
enum kf_level {
    KF_SCALAR, // any CPU
#ifdef KF_NEON_BLOCKS
    KF_NEON, // every arm64
#else
    KF_SSSE3,
    KF_AVX2,
#endif
};

static inline const char *kf_level_name(kf_level level)
{
#ifdef KF_NEON_BLOCKS
    static const char *const names[] = {"scalar", "neon"};
#else
    static const char *const names[] = {"scalar", "ssse3", "avx2"};
#endif
    return names[level];
}

static inline kf_level kf_best_level()
{
#ifdef KF_X86_BLOCKS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        return KF_AVX2;
    if (__builtin_cpu_supports("ssse3"))
        return KF_SSSE3;
#endif
#ifdef KF_NEON_BLOCKS
    return KF_NEON;
#else
    return KF_SCALAR;
#endif
}

// 32 bytes of 0xFF, then 32 of 0. A load that starts n bytes before the middle is a mask that keeps
// the first n bytes.
static constexpr std::array<uint8_t, 64> kf_make_keep()
{
    std::array<uint8_t, 64> table{};
    for (unsigned i = 0; i < 32; i++)
        table[i] = 0xFF;
    return table;
}

alignas(64) static constexpr std::array<uint8_t, 64> kf_keep = kf_make_keep();

#endif
