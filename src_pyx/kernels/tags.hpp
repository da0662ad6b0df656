// A search among sixteen tags. A tag is a part of a hash: equal keys have equal tags.
#ifndef KF_TAGS_HPP
#define KF_TAGS_HPP

#include <cstdint>

#include "neon.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { KF_N_TAGS = 16 };

// Returns a bit for each of the KF_N_TAGS tags: 1 when it is the wanted one.
static inline uint32_t kf_equal_tags(const uint16_t *tags, uint16_t wanted)
{
#ifdef __SSE2__
    const __m128i *blocks = (const __m128i *)tags;
    const __m128i all_wanted = _mm_set1_epi16((short)wanted);
    const __m128i low = _mm_cmpeq_epi16(_mm_loadu_si128(blocks), all_wanted);
    const __m128i high = _mm_cmpeq_epi16(_mm_loadu_si128(blocks + 1), all_wanted);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
#elif defined(KF_NEON_BLOCKS)
    const uint16x8_t all_wanted = vdupq_n_u16(wanted);
    const uint16x8_t low = vceqq_u16(vld1q_u16(tags), all_wanted);
    const uint16x8_t high = vceqq_u16(vld1q_u16(tags + 8), all_wanted);
    return kf_neon_bits(vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)));
#else
    uint32_t found = 0;
    for (int i = 0; i < KF_N_TAGS; i++)
        found |= (uint32_t)(tags[i] == wanted) << i;
    return found;
#endif
}

#endif
