// Base64 (RFC 4648, section 4, with padding). The widest kernel that the CPU has is chosen once.
#ifndef KF_BASE64_HPP
#define KF_BASE64_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(KF_PORTABLE)
#include <immintrin.h>
#define KF_BASE64_X86 1
#endif

static inline size_t kf_base64_length(size_t n)
{
    return (n + 2) / 3 * 4;
}

static const char kf_base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static inline uint8_t *kf_base64_scalar(uint8_t *out, const uint8_t *src, size_t n)
{
    const char *alphabet = kf_base64_alphabet;
    for (; n >= 3; n -= 3, src += 3, out += 4) {
        const uint32_t bits = (uint32_t)src[0] << 16 | (uint32_t)src[1] << 8 | src[2];
        out[0] = (uint8_t)alphabet[bits >> 18];
        out[1] = (uint8_t)alphabet[bits >> 12 & 63];
        out[2] = (uint8_t)alphabet[bits >> 6 & 63];
        out[3] = (uint8_t)alphabet[bits & 63];
    }
    if (n) {
        const uint32_t bits = (uint32_t)src[0] << 16 | (n == 2 ? (uint32_t)src[1] << 8 : 0);
        out[0] = (uint8_t)alphabet[bits >> 18];
        out[1] = (uint8_t)alphabet[bits >> 12 & 63];
        out[2] = n == 2 ? (uint8_t)alphabet[bits >> 6 & 63] : (uint8_t)'=';
        out[3] = '=';
        out += 4;
    }
    return out;
}

#ifdef KF_BASE64_X86
// Both vector kernels work the same way. A shuffle puts the three bytes abc of each group into one
// 32-bit lane as b a c b; two multiplications move the four 6-bit fields to the low end of the four
// bytes; the ASCII code is field + offset, the offset depending only on the field's range:
// 0-25 'A', 26-51 'a', 52-61 '0', 62 '+', 63 '/'.
__attribute__((target("ssse3"))) static inline uint8_t *
kf_base64_ssse3(uint8_t *out, const uint8_t *src, size_t n)
{
    const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m128i offsets = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                          '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                          '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    for (; n >= 16; n -= 12, src += 12, out += 16) {
        const __m128i in = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)src), spread);
        const __m128i odd = _mm_mulhi_epu16(_mm_and_si128(in, _mm_set1_epi32(0x0FC0FC00)),
                                            _mm_set1_epi32(0x04000040));
        const __m128i even = _mm_mullo_epi16(_mm_and_si128(in, _mm_set1_epi32(0x003F03F0)),
                                             _mm_set1_epi32(0x01000010));
        const __m128i fields = _mm_or_si128(odd, even);
        const __m128i upper = _mm_cmpgt_epi8(_mm_set1_epi8(26), fields);
        const __m128i range = _mm_or_si128(_mm_subs_epu8(fields, _mm_set1_epi8(51)),
                                           _mm_and_si128(upper, _mm_set1_epi8(13)));
        _mm_storeu_si128((__m128i *)out,
                         _mm_add_epi8(fields, _mm_shuffle_epi8(offsets, range)));
    }
    return kf_base64_scalar(out, src, n);
}

__attribute__((target("avx2"))) static inline uint8_t *
kf_base64_avx2(uint8_t *out, const uint8_t *src, size_t n)
{
    const __m256i spread = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    const __m256i offsets = _mm256_broadcastsi128_si256(
        _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                      '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0));
    for (; n >= 28; n -= 24, src += 24, out += 32) {
        const __m256i raw = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)src)),
            _mm_loadu_si128((const __m128i *)(src + 12)), 1);
        const __m256i in = _mm256_shuffle_epi8(raw, spread);
        const __m256i odd = _mm256_mulhi_epu16(
            _mm256_and_si256(in, _mm256_set1_epi32(0x0FC0FC00)), _mm256_set1_epi32(0x04000040));
        const __m256i even = _mm256_mullo_epi16(
            _mm256_and_si256(in, _mm256_set1_epi32(0x003F03F0)), _mm256_set1_epi32(0x01000010));
        const __m256i fields = _mm256_or_si256(odd, even);
        const __m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), fields);
        const __m256i range = _mm256_or_si256(_mm256_subs_epu8(fields, _mm256_set1_epi8(51)),
                                              _mm256_and_si256(upper, _mm256_set1_epi8(13)));
        _mm256_storeu_si256((__m256i *)out,
                            _mm256_add_epi8(fields, _mm256_shuffle_epi8(offsets, range)));
    }
    return kf_base64_ssse3(out, src, n);
}
#endif

typedef uint8_t *(*kf_base64_kernel)(uint8_t *, const uint8_t *, size_t);

static inline kf_base64_kernel kf_base64_choose()
{
#ifdef KF_BASE64_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        return kf_base64_avx2;
    if (__builtin_cpu_supports("ssse3"))
        return kf_base64_ssse3;
#endif
    return kf_base64_scalar;
}

static const kf_base64_kernel kf_base64_best = kf_base64_choose();

// Writes kf_base64_length(n) bytes and returns their end; reads exactly [src, src + n).
static inline uint8_t *kf_base64(uint8_t *out, const uint8_t *src, size_t n)
{
    return kf_base64_best(out, src, n);
}

#endif
