// Most strings in logs are short and need no escapes; copying them here saves the call of a kernel.
#ifndef KF_SHORT_TEXT_HPP
#define KF_SHORT_TEXT_HPP

#include <cstddef>
#include <cstdint>

#include "kernel_table.hpp"
#include "level.hpp"

#if defined(__SSE2__) && !defined(KF_PORTABLE)
#include <emmintrin.h>

// Copies 16 bytes; returns a bit for each byte that needs an escape, is not ASCII or is `special`.
static inline uint32_t kf_copy_block(uint8_t *out, const uint8_t *src, char special)
{
    const __m128i block = _mm_loadu_si128((const __m128i *)src);
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);
    const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    const __m128i other = _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8(special)), block);
    _mm_storeu_si128((__m128i *)out, block);
    return (uint32_t)_mm_movemask_epi8(
        _mm_or_si128(_mm_or_si128(control, other), _mm_or_si128(quote, backslash)));
}

// Copies the text and returns true if it is short, ASCII, and has neither escapes nor `special`.
// Otherwise returns false and may have overwritten up to KF_SLACK bytes of the output.
static inline bool kf_copy_short(uint8_t *out, const uint8_t *src, size_t n,
                                 const uint8_t *readable_end, char special)
{
    if (n > 32 || readable_end - src < 32)
        return false;
    uint32_t found = kf_copy_block(out, src, special);
    if (n > 16)
        found |= kf_copy_block(out + 16, src + 16, special) << 16;
    return (found & (uint32_t)(((uint64_t)1 << n) - 1)) == 0;
}
#elif defined(KF_NEON_BLOCKS)
// Copies 16 bytes; returns a byte with bit 7 for each that needs an escape, is not ASCII or is
// `special`.
static inline uint8x16_t kf_copy_block(uint8_t *out, const uint8_t *src, char special)
{
    const uint8x16_t block = vld1q_u8(src);
    const uint8x16_t control = vcltq_u8(block, vdupq_n_u8(0x20));
    const uint8x16_t quote = vceqq_u8(block, vdupq_n_u8('"'));
    const uint8x16_t backslash = vceqq_u8(block, vdupq_n_u8('\\'));
    const uint8x16_t other = vorrq_u8(vceqq_u8(block, vdupq_n_u8((uint8_t)special)), block);
    vst1q_u8(out, block);
    return vorrq_u8(vorrq_u8(control, other), vorrq_u8(quote, backslash));
}

static inline bool kf_copy_short(uint8_t *out, const uint8_t *src, size_t n,
                                 const uint8_t *readable_end, char special)
{
    if (n > 32 || readable_end - src < 32)
        return false;
    const uint8_t *keep = kf_keep.data() + 32 - n;
    uint8x16_t found = vandq_u8(kf_copy_block(out, src, special), vld1q_u8(keep));
    if (n > 16) {
        const uint8x16_t more = kf_copy_block(out + 16, src + 16, special);
        found = vorrq_u8(found, vandq_u8(more, vld1q_u8(keep + 16)));
    }
    return vmaxvq_u8(found) < 0x80;
}
#else
static inline bool kf_copy_short(uint8_t *, const uint8_t *, size_t, const uint8_t *, char)
{
    return false;
}
#endif

#endif
