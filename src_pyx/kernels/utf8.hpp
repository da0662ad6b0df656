// One UTF-8 sequence at a time (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
#ifndef KF_UTF8_HPP
#define KF_UTF8_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

// Tells whether the 8 bytes at p are all ASCII.
static inline bool kf_is_ascii(const uint8_t *p)
{
    uint64_t word;
    std::memcpy(&word, p, 8);
    return (word & 0x8080808080808080u) == 0;
}

static inline bool kf_is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

// The length in bytes of the valid multi-byte sequence at p; 0 if there is none. `left` bytes are
// readable; p[0] is at least 0x80.
static inline size_t kf_utf8_length(const uint8_t *p, size_t left)
{
    const uint8_t lead = p[0];
    if (lead < 0xC2 || left < 2 || !kf_is_continuation(p[1]))
        return 0;
    if (lead < 0xE0)
        return 2;
    if (left < 3 || !kf_is_continuation(p[2]))
        return 0;
    if (lead < 0xF0) {
        const bool overlong = lead == 0xE0 && p[1] < 0xA0;
        const bool surrogate = lead == 0xED && p[1] >= 0xA0;
        return overlong || surrogate ? 0 : 3;
    }
    if (left < 4 || !kf_is_continuation(p[3]) || lead > 0xF4)
        return 0;
    const bool overlong = lead == 0xF0 && p[1] < 0x90;
    const bool too_big = lead == 0xF4 && p[1] >= 0x90;
    return overlong || too_big ? 0 : 4;
}

// Writes U+FFFD, which replaces each byte that is not UTF-8.
static inline uint8_t *kf_write_replacement(uint8_t *out)
{
    out[0] = 0xEF;
    out[1] = 0xBF;
    out[2] = 0xBD;
    return out + 3;
}

// The largest length <= n to which the text can be cut without splitting a character. Bytes that are
// not UTF-8 may be cut anywhere, so the result is at least n - 3.
static inline size_t kf_utf8_cut(const uint8_t *text, size_t n, size_t text_n)
{
    if (n >= text_n)
        return text_n;
    size_t lead = n;
    while (lead > 0 && n - lead < 3 && kf_is_continuation(text[lead]))
        lead--;
    if (text[lead] < 0xC0 || lead == n)
        return n;
    return lead + kf_utf8_length(text + lead, text_n - lead) > n ? lead : n;
}

#endif
