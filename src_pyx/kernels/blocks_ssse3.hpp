// Operations on blocks of 16 bytes for CPUs with SSSE3; json_escape_blocks.hpp uses them.
#ifndef KF_BLOCKS_SSSE3_HPP
#define KF_BLOCKS_SSSE3_HPP

#include <immintrin.h>

#include "json_escape.hpp"
#include "level.hpp"
#include "utf8_errors.hpp"

#define KF_TARGET __attribute__((target("ssse3")))

namespace kf_ssse3
{
typedef __m128i Block;
enum { BLOCK = 16 };

KF_TARGET static inline Block load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

KF_TARGET static inline void store(uint8_t *p, Block block)
{
    _mm_storeu_si128((__m128i *)p, block);
}

KF_TARGET static inline Block all(int byte)
{
    return _mm_set1_epi8((char)byte);
}

KF_TARGET static inline Block both(Block a, Block b)
{
    return _mm_and_si128(a, b);
}

KF_TARGET static inline Block either(Block a, Block b)
{
    return _mm_or_si128(a, b);
}

KF_TARGET static inline Block differing(Block a, Block b)
{
    return _mm_xor_si128(a, b);
}

KF_TARGET static inline Block equal(Block a, Block b)
{
    return _mm_cmpeq_epi8(a, b);
}

// 0xFF where a <= b, otherwise 0.
KF_TARGET static inline Block at_most(Block a, Block b)
{
    return equal(_mm_min_epu8(a, b), a);
}

// a - b, or 0 where b is larger.
KF_TARGET static inline Block above(Block a, Block b)
{
    return _mm_subs_epu8(a, b);
}

KF_TARGET static inline Block high_nibbles(Block block)
{
    return both(_mm_srli_epi16(block, 4), all(0x0F));
}

// table[i] for each byte i < 16.
KF_TARGET static inline Block look_up(const uint8_t *table, Block indexes)
{
    return _mm_shuffle_epi8(load(table), indexes);
}

// Each byte gets the value of the byte N places before it; the first N bytes get 0.
template <int N> KF_TARGET static inline Block before(Block block)
{
    return _mm_slli_si128(block, N);
}

// The highest bit of each byte.
KF_TARGET static inline uint32_t high_bits(Block block)
{
    return (uint32_t)_mm_movemask_epi8(block);
}

// Whether a byte has its highest bit.
KF_TARGET static inline bool any_high_bit(Block block)
{
    return high_bits(block) != 0;
}

KF_TARGET static inline bool is_zero(Block block)
{
    return high_bits(equal(block, all(0))) == 0xFFFF;
}

// There are no upper halves to clear.
KF_TARGET static inline void leave()
{
}

#include "json_escape_blocks.hpp"
} // namespace kf_ssse3

#undef KF_TARGET
#endif
