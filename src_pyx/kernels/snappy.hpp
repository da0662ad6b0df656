// Writes the raw block format of Snappy: the length as a varint, then literals and copies. There is
// no frame around it and no checksum. https://github.com/google/snappy/blob/main/format_description.txt
#ifndef KF_SNAPPY_HPP
#define KF_SNAPPY_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#define KF_SNAPPY_BLOCK 65536u // copies reach back within a block only, so an offset has 16 bits
#define KF_SNAPPY_TABLE 16384u // entries
#define KF_SNAPPY_MARGIN 16u   // bytes at the end of a block in which no match is looked for

// An upper bound for the output: a literal of 64 KiB has a header of 3 bytes, and a copy never takes
// more bytes than it replaces, but may add a header to the literal before it.
static inline size_t kf_snappy_bound(size_t n)
{
    return 10 + n + n / 6;
}

static inline uint32_t kf_snappy_load32(const uint8_t *p)
{
    uint32_t word;
    std::memcpy(&word, p, 4);
    return word;
}

static inline uint64_t kf_snappy_load64(const uint8_t *p)
{
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}

static inline uint32_t kf_snappy_hash(const uint8_t *p, unsigned shift)
{
    return (kf_snappy_load32(p) * 0x9E3779B1u) >> shift;
}

static inline uint8_t *kf_snappy_literal(uint8_t *out, const uint8_t *src, size_t n)
{
    const size_t coded = n - 1;
    if (coded < 60) {
        *out++ = (uint8_t)(coded << 2);
    } else if (coded < 256) {
        *out++ = 60 << 2;
        *out++ = (uint8_t)coded;
    } else {
        *out++ = 61 << 2;
        *out++ = (uint8_t)coded;
        *out++ = (uint8_t)(coded >> 8);
    }
    std::memcpy(out, src, n);
    return out + n;
}

// One copy of at most 64 bytes; `far` needs the form with two bytes of offset.
static inline uint8_t *kf_snappy_one_copy(uint8_t *out, size_t offset, size_t n)
{
    if (n < 12 && offset < 2048) {
        *out++ = (uint8_t)((n - 4) << 2 | (offset >> 8) << 5 | 1);
        *out++ = (uint8_t)offset;
        return out;
    }
    *out++ = (uint8_t)((n - 1) << 2 | 2);
    *out++ = (uint8_t)offset;
    *out++ = (uint8_t)(offset >> 8);
    return out;
}

// A match of at least 4 bytes. The last copy keeps 4 bytes, so that it may have the short form.
static inline uint8_t *kf_snappy_copy(uint8_t *out, size_t offset, size_t n)
{
    while (n >= 68) {
        out = kf_snappy_one_copy(out, offset, 64);
        n -= 64;
    }
    if (n > 64) {
        out = kf_snappy_one_copy(out, offset, 60);
        n -= 60;
    }
    return kf_snappy_one_copy(out, offset, n);
}

// The number of bytes at p that equal those at `earlier`, up to end.
static inline size_t kf_snappy_match(const uint8_t *earlier, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *start = p;
    while (end - p >= 8) {
        const uint64_t difference = kf_snappy_load64(earlier) ^ kf_snappy_load64(p);
        if (difference != 0) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            return (size_t)(p - start) + (size_t)(__builtin_clzll(difference) >> 3);
#else
            return (size_t)(p - start) + (size_t)(__builtin_ctzll(difference) >> 3);
#endif
        }
        earlier += 8;
        p += 8;
    }
    while (p < end && *earlier == *p) {
        earlier++;
        p++;
    }
    return (size_t)(p - start);
}

// The steps between two looks grow where no match is found, so that random data passes quickly.
static inline uint8_t *kf_snappy_block(uint8_t *out, const uint8_t *block, size_t n,
                                       uint16_t *table)
{
    const uint8_t *end = block + n;
    const uint8_t *literal = block;
    if (n >= KF_SNAPPY_MARGIN) {
        unsigned bits = 8;
        while (bits < 14 && (1u << bits) < n)
            bits++;
        std::memset(table, 0, sizeof *table << bits);
        const unsigned shift = 32 - bits;
        const uint8_t *last = end - KF_SNAPPY_MARGIN;
        const uint8_t *p = block + 1;
        while (p <= last) {
            const uint8_t *candidate;
            for (size_t looks = 32;; looks++) {
                uint16_t *entry = &table[kf_snappy_hash(p, shift)];
                candidate = block + *entry;
                *entry = (uint16_t)(p - block);
                if (kf_snappy_load32(candidate) == kf_snappy_load32(p))
                    break;
                if ((size_t)(last - p) < looks >> 5)
                    goto rest;
                p += looks >> 5;
            }
            if (literal < p)
                out = kf_snappy_literal(out, literal, (size_t)(p - literal));
            do {
                const size_t length = 4 + kf_snappy_match(candidate + 4, p + 4, end);
                out = kf_snappy_copy(out, (size_t)(p - candidate), length);
                p += length;
                literal = p;
                if (p > last)
                    goto rest;
                table[kf_snappy_hash(p - 1, shift)] = (uint16_t)(p - 1 - block);
                uint16_t *entry = &table[kf_snappy_hash(p, shift)];
                candidate = block + *entry;
                *entry = (uint16_t)(p - block);
            } while (kf_snappy_load32(candidate) == kf_snappy_load32(p));
            p++;
        }
    }
rest:
    return literal < end ? kf_snappy_literal(out, literal, (size_t)(end - literal)) : out;
}

// Compresses n bytes (< 2^32) and returns the length; needs kf_snappy_bound(n) bytes of room.
// `table` has KF_SNAPPY_TABLE entries and keeps nothing between two calls.
static inline size_t kf_snappy(uint8_t *out, const uint8_t *src, size_t n, uint16_t *table)
{
    const uint8_t *start = out;
    size_t rest = n;
    for (; rest >= 0x80; rest >>= 7)
        *out++ = (uint8_t)(rest | 0x80);
    *out++ = (uint8_t)rest;
    while (n > 0) {
        const size_t block = n < KF_SNAPPY_BLOCK ? n : KF_SNAPPY_BLOCK;
        out = kf_snappy_block(out, src, block, table);
        src += block;
        n -= block;
    }
    return (size_t)(out - start);
}

#endif
