// Tables of the UTF-8 rules that two neighbouring bytes can violate, for the block kernels.
//
// Method: J. Keiser, D. Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte", 2020. Each
// rule is one bit. The tables are indexed by the high nibble of the first byte, its low nibble and
// the high nibble of the second byte. If all three entries have the bit, the pair violates the rule.
#ifndef KF_UTF8_ERRORS_HPP
#define KF_UTF8_ERRORS_HPP

#include <array>
#include <cstdint>

enum : uint8_t {
    KF_UTF8_TOO_SHORT = 1,       // a lead byte without a continuation after it
    KF_UTF8_TOO_LONG = 2,        // ASCII, then a continuation
    KF_UTF8_OVERLONG_3 = 4,      // E0 80..9F
    KF_UTF8_TOO_BIG = 8,         // F4 90..BF, F5..FF 90..BF
    KF_UTF8_SURROGATE = 16,      // ED A0..BF
    KF_UTF8_OVERLONG_2 = 32,     // C0, C1
    KF_UTF8_OVERLONG_4 = 64,     // F0 80..8F; also F5..FF 80..8F, which is too big
    KF_UTF8_CONTINUATIONS = 128, // two continuations: valid only as third and fourth byte
};

// By the high nibble of the first byte.
static constexpr std::array<uint8_t, 16> kf_make_first_high()
{
    std::array<uint8_t, 16> table{};
    for (unsigned i = 0; i < 8; i++)
        table[i] = KF_UTF8_TOO_LONG;
    for (unsigned i = 8; i < 12; i++)
        table[i] = KF_UTF8_CONTINUATIONS;
    table[0xC] = KF_UTF8_TOO_SHORT | KF_UTF8_OVERLONG_2;
    table[0xD] = KF_UTF8_TOO_SHORT;
    table[0xE] = KF_UTF8_TOO_SHORT | KF_UTF8_OVERLONG_3 | KF_UTF8_SURROGATE;
    table[0xF] = KF_UTF8_TOO_SHORT | KF_UTF8_TOO_BIG | KF_UTF8_OVERLONG_4;
    return table;
}

// By the low nibble of the first byte.
static constexpr std::array<uint8_t, 16> kf_make_first_low()
{
    std::array<uint8_t, 16> table{};
    for (unsigned i = 0; i < 16; i++) {
        table[i] = KF_UTF8_TOO_SHORT | KF_UTF8_TOO_LONG | KF_UTF8_CONTINUATIONS;
        if (i == 0)
            table[i] |= KF_UTF8_OVERLONG_3 | KF_UTF8_OVERLONG_4;
        if (i < 2)
            table[i] |= KF_UTF8_OVERLONG_2;
        if (i >= 4)
            table[i] |= KF_UTF8_TOO_BIG;
        if (i >= 5)
            table[i] |= KF_UTF8_OVERLONG_4;
        if (i == 0xD)
            table[i] |= KF_UTF8_SURROGATE;
    }
    return table;
}

// By the high nibble of the second byte.
static constexpr std::array<uint8_t, 16> kf_make_second_high()
{
    std::array<uint8_t, 16> table{};
    for (unsigned i = 0; i < 16; i++)
        table[i] = KF_UTF8_TOO_SHORT;
    for (unsigned i = 8; i < 12; i++) {
        table[i] = KF_UTF8_TOO_LONG | KF_UTF8_OVERLONG_2 | KF_UTF8_CONTINUATIONS;
        table[i] |= i < 0xA ? KF_UTF8_OVERLONG_3 : KF_UTF8_SURROGATE;
        table[i] |= i == 8 ? KF_UTF8_OVERLONG_4 : KF_UTF8_TOO_BIG;
    }
    return table;
}

alignas(16) static constexpr std::array<uint8_t, 16> kf_utf8_first_high = kf_make_first_high();
alignas(16) static constexpr std::array<uint8_t, 16> kf_utf8_first_low = kf_make_first_low();
alignas(16) static constexpr std::array<uint8_t, 16> kf_utf8_second_high = kf_make_second_high();

// For each position, the largest byte whose character the end of the block does not cut off. Only
// the last three positions matter; load the last BLOCK bytes of the table.
static constexpr std::array<uint8_t, 32> kf_make_complete()
{
    std::array<uint8_t, 32> table{};
    for (unsigned i = 0; i < 29; i++)
        table[i] = 0xFF;
    table[29] = 0xEF;
    table[30] = 0xDF;
    table[31] = 0xBF;
    return table;
}

alignas(32) static constexpr std::array<uint8_t, 32> kf_utf8_complete = kf_make_complete();

#endif
