// Base64 (RFC 4648, section 4, with padding).
#ifndef KF_BASE64_HPP
#define KF_BASE64_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base64_alphabet.hpp"
#include "kernel_table.hpp"
#include "level.hpp"

#ifdef KF_X86_BLOCKS
#include <immintrin.h>
#endif
#ifdef KF_NEON_BLOCKS
#include "neon.hpp"
#endif

// Overwrites the characters that encode no input with '='; returns the end of the text.
static inline uint8_t *kf_base64_pad(uint8_t *text, size_t n)
{
    uint8_t *end = text + kf_base64_length(n);
    if (n % 3) {
        end[-1] = '=';
        if (n % 3 == 1)
            end[-2] = '=';
    }
    return end;
}

// The kernel for any CPU.
static uint8_t *kf_base64_scalar(uint8_t *out, const uint8_t *src, size_t n,
                                 const uint8_t *readable_end)
{
    const char *alphabet = kf_base64_alphabet;
    (void)readable_end;
    for (; n >= 3; n -= 3, src += 3, out += 4) {
        const uint32_t bits = (uint32_t)src[0] << 16 | (uint32_t)src[1] << 8 | src[2];
        out[0] = (uint8_t)alphabet[bits >> 18];
        out[1] = (uint8_t)alphabet[bits >> 12 & 63];
        out[2] = (uint8_t)alphabet[bits >> 6 & 63];
        out[3] = (uint8_t)alphabet[bits & 63];
    }
    if (n == 0)
        return out;
    const uint32_t bits = (uint32_t)src[0] << 16 | (n == 2 ? (uint32_t)src[1] << 8 : 0);
    out[0] = (uint8_t)alphabet[bits >> 18];
    out[1] = (uint8_t)alphabet[bits >> 12 & 63];
    out[2] = (uint8_t)alphabet[bits >> 6 & 63];
    return kf_base64_pad(out, n);
}

#ifdef KF_X86_BLOCKS
// Both kernels for x86-64 work the same way. A shuffle puts the three bytes abc of each group into one
// 32-bit lane as b a c b. Two multiplications move the four 6-bit fields to the low end of the four
// bytes. The ASCII code is field + offset; the offset depends only on the range of the field:
// 0-25 'A', 26-51 'a', 52-61 '0', 62 '+', 63 '/'. Zeros fill the last, partial block.
__attribute__((target("ssse3"))) static inline __m128i kf_base64_block(__m128i raw)
{
    const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m128i offsets = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                          '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                          '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    const __m128i in = _mm_shuffle_epi8(raw, spread);
    const __m128i odd = _mm_mulhi_epu16(_mm_and_si128(in, _mm_set1_epi32(0x0FC0FC00)),
                                        _mm_set1_epi32(0x04000040));
    const __m128i even = _mm_mullo_epi16(_mm_and_si128(in, _mm_set1_epi32(0x003F03F0)),
                                         _mm_set1_epi32(0x01000010));
    const __m128i fields = _mm_or_si128(odd, even);
    const __m128i upper = _mm_cmpgt_epi8(_mm_set1_epi8(26), fields);
    const __m128i range = _mm_or_si128(_mm_subs_epu8(fields, _mm_set1_epi8(51)),
                                       _mm_and_si128(upper, _mm_set1_epi8(13)));
    return _mm_add_epi8(fields, _mm_shuffle_epi8(offsets, range));
}

__attribute__((target("ssse3"))) static uint8_t *
kf_base64_ssse3(uint8_t *out, const uint8_t *src, size_t n, const uint8_t *readable_end)
{
    for (; n >= 12 && readable_end - src >= 16; n -= 12, src += 12, out += 16) {
        const __m128i raw = _mm_loadu_si128((const __m128i *)src);
        _mm_storeu_si128((__m128i *)out, kf_base64_block(raw));
    }
    if (n >= 12 || readable_end - src < 16)
        return kf_base64_scalar(out, src, n, readable_end);
    const __m128i keep = _mm_loadu_si128((const __m128i *)(kf_keep.data() + 32 - n));
    const __m128i raw = _mm_and_si128(_mm_loadu_si128((const __m128i *)src), keep);
    _mm_storeu_si128((__m128i *)out, kf_base64_block(raw));
    return kf_base64_pad(out, n);
}

__attribute__((target("avx2"))) static inline __m256i kf_base64_wide_block(__m256i raw)
{
    const __m256i spread = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    const __m256i offsets = _mm256_broadcastsi128_si256(
        _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                      '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0));
    const __m256i in = _mm256_shuffle_epi8(raw, spread);
    const __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(in, _mm256_set1_epi32(0x0FC0FC00)),
                                           _mm256_set1_epi32(0x04000040));
    const __m256i even = _mm256_mullo_epi16(_mm256_and_si256(in, _mm256_set1_epi32(0x003F03F0)),
                                            _mm256_set1_epi32(0x01000010));
    const __m256i fields = _mm256_or_si256(odd, even);
    const __m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), fields);
    const __m256i range = _mm256_or_si256(_mm256_subs_epu8(fields, _mm256_set1_epi8(51)),
                                          _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    return _mm256_add_epi8(fields, _mm256_shuffle_epi8(offsets, range));
}

__attribute__((target("avx2"))) static inline __m256i kf_two_halves(__m128i low, __m128i high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

__attribute__((target("avx2"))) static uint8_t *
kf_base64_avx2(uint8_t *out, const uint8_t *src, size_t n, const uint8_t *readable_end)
{
    for (; n >= 24 && readable_end - src >= 28; n -= 24, src += 24, out += 32) {
        const __m256i raw = kf_two_halves(_mm_loadu_si128((const __m128i *)src),
                                          _mm_loadu_si128((const __m128i *)(src + 12)));
        _mm256_storeu_si256((__m256i *)out, kf_base64_wide_block(raw));
    }
    if (n >= 24 || readable_end - src < 28) {
        _mm256_zeroupper();
        return kf_base64_ssse3(out, src, n, readable_end);
    }
    const uint8_t *keep = kf_keep.data() + 32 - n;
    const __m256i kept = kf_two_halves(_mm_loadu_si128((const __m128i *)keep),
                                       _mm_loadu_si128((const __m128i *)(keep + 12)));
    const __m256i raw = kf_two_halves(_mm_loadu_si128((const __m128i *)src),
                                      _mm_loadu_si128((const __m128i *)(src + 12)));
    _mm256_storeu_si256((__m256i *)out, kf_base64_wide_block(_mm256_and_si256(raw, kept)));
    return kf_base64_pad(out, n);
}
#endif

#ifdef KF_NEON_BLOCKS
static inline uint8x16x4_t kf_base64_load_alphabet()
{
    const uint8_t *alphabet = (const uint8_t *)kf_base64_alphabet;
    return {{vld1q_u8(alphabet), vld1q_u8(alphabet + 16), vld1q_u8(alphabet + 32),
             vld1q_u8(alphabet + 48)}};
}

// 16 characters for the first 12 bytes: each pair of characters is cut out of the two bytes, as one
// number, that have its bits.
static inline uint8x16_t kf_base64_block(uint8x16_t raw, uint8x16x4_t alphabet)
{
    const uint8x16_t spread = {1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10};
    const int16x8_t to_first = {-10, -6, -10, -6, -10, -6, -10, -6};
    const int16x8_t to_second = {4, 8, 4, 8, 4, 8, 4, 8};
    const uint16x8_t in = vreinterpretq_u16_u8(vqtbl1q_u8(raw, spread));
    const uint16x8_t fields =
        vbslq_u16(vdupq_n_u16(0x00FF), vshlq_u16(in, to_first), vshlq_u16(in, to_second));
    return vqtbl4q_u8(alphabet, vandq_u8(vreinterpretq_u8_u16(fields), vdupq_n_u8(63)));
}

// 64 characters for 48 bytes: a vector has the first bytes of all groups, another the second ones.
static inline void kf_base64_48_bytes(uint8_t *out, const uint8_t *src, uint8x16x4_t alphabet)
{
    const uint8x16_t low_six = vdupq_n_u8(63);
    const uint8x16x3_t in = vld3q_u8(src);
    const uint8x16_t second = vsriq_n_u8(vshlq_n_u8(in.val[0], 4), in.val[1], 4);
    const uint8x16_t third = vsriq_n_u8(vshlq_n_u8(in.val[1], 2), in.val[2], 6);
    uint8x16x4_t text;
    text.val[0] = vqtbl4q_u8(alphabet, vshrq_n_u8(in.val[0], 2));
    text.val[1] = vqtbl4q_u8(alphabet, vandq_u8(second, low_six));
    text.val[2] = vqtbl4q_u8(alphabet, vandq_u8(third, low_six));
    text.val[3] = vqtbl4q_u8(alphabet, vandq_u8(in.val[2], low_six));
    vst4q_u8(out, text);
}

static uint8_t *kf_base64_neon(uint8_t *out, const uint8_t *src, size_t n,
                               const uint8_t *readable_end)
{
    const uint8x16x4_t alphabet = kf_base64_load_alphabet();
    for (; n >= 48; n -= 48, src += 48, out += 64)
        kf_base64_48_bytes(out, src, alphabet);
    for (; n >= 12 && readable_end - src >= 16; n -= 12, src += 12, out += 16)
        vst1q_u8(out, kf_base64_block(vld1q_u8(src), alphabet));
    if (n >= 12 || readable_end - src < 16)
        return kf_base64_scalar(out, src, n, readable_end);
    const uint8x16_t keep = vld1q_u8(kf_keep.data() + 32 - n);
    vst1q_u8(out, kf_base64_block(vandq_u8(vld1q_u8(src), keep), alphabet));
    return kf_base64_pad(out, n);
}
#endif

#endif
