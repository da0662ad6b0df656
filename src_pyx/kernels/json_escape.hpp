// The inside of a JSON string: copies text, escapes what JSON demands, replaces what is not UTF-8.
#ifndef KF_JSON_ESCAPE_HPP
#define KF_JSON_ESCAPE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "utf8.hpp"

#if defined(__SSE2__) && !defined(KF_PORTABLE)
#include <emmintrin.h>
#define KF_ESCAPE_SSE2 1
#endif

// What the output must have room for beyond the text itself: whole blocks are stored.
#define KF_ESCAPE_SLACK 32
// The longest escape of one byte: \u00XX.
#define KF_ESCAPE_MAX 6

// Escape of each byte, 8 bytes at a time: the text in [0..5], its length in [7].
// A length of 0 means that the byte needs no escape.
struct kf_escape_text {
    uint8_t bytes[8];
};

static constexpr std::array<kf_escape_text, 256> kf_make_escapes()
{
    std::array<kf_escape_text, 256> table{};
    const char hex[] = "0123456789abcdef";
    for (unsigned c = 0; c < 0x20; c++)
        table[c] = {{'\\', 'u', '0', '0', (uint8_t)hex[c >> 4], (uint8_t)hex[c & 15], 0, 6}};
    const char shorts[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\t', 't'},
                              {'\n', 'n'}, {'\f', 'f'},  {'\r', 'r'}};
    for (const auto &pair : shorts)
        table[(uint8_t)pair[0]] = {{'\\', (uint8_t)pair[1], 0, 0, 0, 0, 0, 2}};
    return table;
}

static constexpr std::array<kf_escape_text, 256> kf_escapes = kf_make_escapes();

static inline uint8_t *kf_write_escape(uint8_t *out, uint8_t byte)
{
    const kf_escape_text &escape = kf_escapes[byte];
    std::memcpy(out, escape.bytes, 8);
    return out + escape.bytes[7];
}

// Copies the run of bytes >= 0x80 at *src, which ends at `end` at the latest.
static inline uint8_t *kf_escape_non_ascii(uint8_t *out, const uint8_t **src, const uint8_t *end)
{
    const uint8_t *p = *src;
    do {
        const size_t n = kf_utf8_length(p, (size_t)(end - p));
        if (n == 0) {
            out = kf_write_replacement(out);
            p++;
        } else {
            for (size_t i = 0; i < n; i++)
                out[i] = p[i];
            out += n;
            p += n;
        }
    } while (p < end && *p >= 0x80);
    *src = p;
    return out;
}

static inline uint8_t *kf_escape_bytewise(uint8_t *out, const uint8_t *src, const uint8_t *end)
{
    while (src < end) {
        const uint8_t byte = *src;
        if (byte >= 0x80) {
            out = kf_escape_non_ascii(out, &src, end);
        } else {
            src++;
            if (kf_escapes[byte].bytes[7])
                out = kf_write_escape(out, byte);
            else
                *out++ = byte;
        }
    }
    return out;
}

#ifdef KF_ESCAPE_SSE2
// All ones in each byte that needs an escape.
static inline __m128i kf_needs_escape(__m128i block)
{
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);
    const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    return _mm_or_si128(control, _mm_or_si128(quote, backslash));
}

// The first n <= 16 bytes at *src, of which some need an escape or are not ASCII, and the run of
// non-ASCII bytes behind them; [*src, *src + 32) may be read.
static inline uint8_t *kf_escape_block(uint8_t *out, const uint8_t **src, size_t n,
                                       const uint8_t *end, unsigned escapes, unsigned high)
{
    const uint8_t *p = *src;
    if (high) {
        n = (size_t)__builtin_ctz(high);
        escapes &= (1u << n) - 1;
    }
    size_t done = 0;
    for (; escapes; escapes &= escapes - 1) {
        const size_t at = (size_t)__builtin_ctz(escapes);
        out = kf_write_escape(out + (at - done), p[at]);
        done = at + 1;
        _mm_storeu_si128((__m128i *)out, _mm_loadu_si128((const __m128i *)(p + done)));
    }
    out += n - done;
    p += n;
    if (high)
        out = kf_escape_non_ascii(out, &p, end);
    *src = p;
    return out;
}
#endif

// Writes the n bytes at src as the inside of a JSON string and returns the end of what was written.
// `out` has room for KF_ESCAPE_MAX * n + KF_ESCAPE_SLACK bytes. The input may be read up to
// `readable_end` (>= src + n), which is what makes short strings fast: a block may reach beyond the
// string, never beyond the input.
static inline uint8_t *kf_escape(uint8_t *out, const uint8_t *src, size_t n,
                                 const uint8_t *readable_end)
{
    const uint8_t *end = src + n;
#ifdef KF_ESCAPE_SSE2
    while (src < end && readable_end - src >= 32) {
        const size_t left = (size_t)(end - src);
        const size_t n = left < 16 ? left : 16;
        const unsigned used = (1u << n) - 1;
        const __m128i block = _mm_loadu_si128((const __m128i *)src);
        const __m128i special = kf_needs_escape(block);
        _mm_storeu_si128((__m128i *)out, block);
        if (__builtin_expect(_mm_movemask_epi8(_mm_or_si128(special, block)) & used, 0)) {
            out = kf_escape_block(out, &src, n, end, (unsigned)_mm_movemask_epi8(special) & used,
                                  (unsigned)_mm_movemask_epi8(block) & used);
        } else {
            out += n;
            src += n;
        }
    }
#else
    (void)readable_end;
#endif
    return kf_escape_bytewise(out, src, end);
}

#endif
