// Writes the inside of a JSON string: copies text, escapes what JSON requires, replaces bytes that
// are not UTF-8.
#ifndef KF_JSON_ESCAPE_HPP
#define KF_JSON_ESCAPE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernel_table.hpp"
#include "utf8.hpp"

// The escape of each byte: its text in [0..5], its length in [7]. Length 0: no escape needed.
// Entries have 8 bytes so that one copy moves a whole entry.
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

// Copies the run of bytes >= 0x80 at *src and moves *src to its end; the text ends at `end`.
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

// Copies up to `stop`, and on to the end of a run of non-ASCII bytes at `stop`; the text ends at
// `end`.
static inline uint8_t *kf_escape_bytewise(uint8_t *out, const uint8_t **src, const uint8_t *stop,
                                          const uint8_t *end)
{
    const uint8_t *p = *src;
    while (p < stop) {
        const uint8_t byte = *p;
        if (byte >= 0x80) {
            out = kf_escape_non_ascii(out, &p, end);
        } else {
            p++;
            if (kf_escapes[byte].bytes[7])
                out = kf_write_escape(out, byte);
            else
                *out++ = byte;
        }
    }
    *src = p;
    return out;
}

// Tells whether one of the 8 bytes is not ASCII or needs an escape.
static inline bool kf_any_special(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t quotes = word ^ ones * '"';
    const uint64_t backslashes = word ^ ones * '\\';
    const uint64_t below =
        (word - ones * 0x20) | (quotes - ones) | (backslashes - ones); // a borrow sets bit 7
    return ((below | word) & ones * 0x80) != 0;
}

// The kernel for any CPU.
static uint8_t *kf_escape_scalar(uint8_t *out, const uint8_t *src, size_t n,
                                 const uint8_t *readable_end)
{
    const uint8_t *end = src + n;
    (void)readable_end;
    while (end - src >= 8) {
        uint64_t word;
        std::memcpy(&word, src, 8);
        if (kf_any_special(word)) {
            out = kf_escape_bytewise(out, &src, src + 8, end);
        } else {
            std::memcpy(out, &word, 8);
            src += 8;
            out += 8;
        }
    }
    return kf_escape_bytewise(out, &src, end, end);
}

#endif
