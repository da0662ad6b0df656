// Base64 (RFC 4648, section 4, with padding) and back in the same memory. It is for texts that
// change rarely: it takes one group of four characters at a time.
#ifndef KF_BASE64_IN_PLACE_HPP
#define KF_BASE64_IN_PLACE_HPP

#include <array>
#include <cstddef>
#include <cstdint>

#include "base64_alphabet.hpp"

static constexpr std::array<uint8_t, 256> kf_make_base64_fields()
{
    std::array<uint8_t, 256> fields{};
    for (unsigned i = 0; i < 64; i++)
        fields[(uint8_t)kf_base64_alphabet[i]] = (uint8_t)i;
    return fields;
}

static constexpr std::array<uint8_t, 256> kf_base64_fields = kf_make_base64_fields();

// `text` is the base64 of n bytes, which replace its beginning. The bytes of a group lie before the
// group, so going forward overwrites nothing that is still needed.
static inline void kf_base64_decode_in_place(uint8_t *text, size_t n)
{
    const std::array<uint8_t, 256> &fields = kf_base64_fields;
    uint8_t *out = text;
    for (const uint8_t *group = text; n > 0; group += 4) {
        const uint32_t bits = (uint32_t)fields[group[0]] << 18 | (uint32_t)fields[group[1]] << 12 |
                              (uint32_t)fields[group[2]] << 6 | fields[group[3]];
        const size_t n_bytes = n < 3 ? n : 3;
        for (size_t i = 0; i < n_bytes; i++)
            *out++ = (uint8_t)(bits >> (16 - 8 * i));
        n -= n_bytes;
    }
}

// The opposite, from the end to the beginning.
static inline void kf_base64_encode_in_place(uint8_t *text, size_t n)
{
    const char *alphabet = kf_base64_alphabet;
    for (size_t group = (n + 2) / 3; group-- > 0;) {
        const uint8_t *in = text + 3 * group;
        const size_t n_bytes = n - 3 * group < 3 ? n - 3 * group : 3;
        const uint32_t bits = (uint32_t)in[0] << 16 | (n_bytes > 1 ? (uint32_t)in[1] << 8 : 0) |
                              (n_bytes > 2 ? in[2] : 0u);
        uint8_t *out = text + 4 * group;
        out[0] = (uint8_t)alphabet[bits >> 18];
        out[1] = (uint8_t)alphabet[bits >> 12 & 63];
        out[2] = n_bytes > 1 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        out[3] = n_bytes > 2 ? (uint8_t)alphabet[bits & 63] : '=';
    }
}

#endif
