// Plain text inside a JSON string: printable ASCII without escapes, quotes and backslashes.
#ifndef KF_ANSWER_HPP
#define KF_ANSWER_HPP

#include <cstddef>
#include <cstdint>

#include "neon.hpp"

#if defined(__SSE2__) && !defined(KF_PORTABLE)
#include <emmintrin.h>
#define KF_ANSWER_SSE2 1
#endif

static inline bool kf_is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
}

// Returns the first byte from p on that is not plain, or end.
static inline const uint8_t *kf_plain_end(const uint8_t *p, const uint8_t *end)
{
#ifdef KF_ANSWER_SSE2
    for (; end - p >= 16; p += 16) {
        const __m128i block = _mm_loadu_si128((const __m128i *)p);
        // The comparison is signed, so bytes from 0x80 on count as below 0x20, too.
        const __m128i low = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));
        const __m128i del = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7F));
        const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
        const __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
        const unsigned special = (unsigned)_mm_movemask_epi8(
            _mm_or_si128(_mm_or_si128(low, del), _mm_or_si128(quote, backslash)));
        if (special)
            return p + __builtin_ctz(special);
    }
#elif defined(KF_NEON_BLOCKS)
    for (; end - p >= 16; p += 16) {
        const uint8x16_t block = vld1q_u8(p);
        const uint8x16_t low = vcltq_s8(vreinterpretq_s8_u8(block), vdupq_n_s8(0x20)); // signed too
        const uint8x16_t del = vceqq_u8(block, vdupq_n_u8(0x7F));
        const uint8x16_t quote = vceqq_u8(block, vdupq_n_u8('"'));
        const uint8x16_t backslash = vceqq_u8(block, vdupq_n_u8('\\'));
        const uint8x16_t special = vorrq_u8(vorrq_u8(low, del), vorrq_u8(quote, backslash));
        if (kf_neon_any(special))
            return p + __builtin_ctz(kf_neon_bits(special));
    }
#endif
    while (p < end && kf_is_plain(*p))
        p++;
    return p;
}

#endif
