// Operations on blocks of 32 bytes for CPUs with AVX2; json_escape_blocks.hpp uses them.
#ifndef KF_BLOCKS_AVX2_HPP
#define KF_BLOCKS_AVX2_HPP

#include <immintrin.h>

#include "json_escape.hpp"
#include "level.hpp"
#include "utf8_errors.hpp"

#define KF_TARGET __attribute__((target("avx2,bmi")))

namespace kf_avx2
{
typedef __m256i Block;
enum { BLOCK = 32 };

KF_TARGET static inline Block load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

KF_TARGET static inline void store(uint8_t *p, Block block)
{
    _mm256_storeu_si256((__m256i *)p, block);
}

KF_TARGET static inline Block all(int byte)
{
    return _mm256_set1_epi8((char)byte);
}

KF_TARGET static inline Block both(Block a, Block b)
{
    return _mm256_and_si256(a, b);
}

KF_TARGET static inline Block either(Block a, Block b)
{
    return _mm256_or_si256(a, b);
}

KF_TARGET static inline Block differing(Block a, Block b)
{
    return _mm256_xor_si256(a, b);
}

KF_TARGET static inline Block equal(Block a, Block b)
{
    return _mm256_cmpeq_epi8(a, b);
}

// 0xFF where a <= b, otherwise 0.
KF_TARGET static inline Block at_most(Block a, Block b)
{
    return equal(_mm256_min_epu8(a, b), a);
}

// a - b, or 0 where b is larger.
KF_TARGET static inline Block above(Block a, Block b)
{
    return _mm256_subs_epu8(a, b);
}

KF_TARGET static inline Block high_nibbles(Block block)
{
    return both(_mm256_srli_epi16(block, 4), all(0x0F));
}

// table[i] for each byte i < 16.
KF_TARGET static inline Block look_up(const uint8_t *table, Block indexes)
{
    const __m256i wide = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    return _mm256_shuffle_epi8(wide, indexes);
}

// Each byte gets the value of the byte N places before it; the first N bytes get 0.
template <int N> KF_TARGET static inline Block before(Block block)
{
    const __m256i lower_half_above = _mm256_permute2x128_si256(block, block, 0x08);
    return _mm256_alignr_epi8(block, lower_half_above, 16 - N);
}

// The highest bit of each byte.
KF_TARGET static inline uint32_t high_bits(Block block)
{
    return (uint32_t)_mm256_movemask_epi8(block);
}

// Whether a byte has its highest bit.
KF_TARGET static inline bool any_high_bit(Block block)
{
    return high_bits(block) != 0;
}

KF_TARGET static inline bool is_zero(Block block)
{
    return high_bits(equal(block, all(0))) == 0xFFFFFFFF;
}

// Must precede each jump or call to code for SSE, which is slow while the upper halves are in use.
KF_TARGET static inline void leave()
{
    _mm256_zeroupper();
}

#include "json_escape_blocks.hpp"
} // namespace kf_avx2

#undef KF_TARGET
#endif
