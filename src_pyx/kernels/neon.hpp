// What several headers need of NEON, the vectors of arm64.
#ifndef KF_NEON_HPP
#define KF_NEON_HPP

#if defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && !defined(KF_PORTABLE)
#define KF_NEON_BLOCKS 1

#include <arm_neon.h>

#include <cstdint>

// Each byte keeps one bit, so that sums of neighbours collect the bits of eight bytes.
static inline uint8x16_t kf_neon_one_bit_each(uint8x16_t found)
{
    const uint8x16_t places = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    return vandq_u8(found, places);
}

// A bit for each byte, which is 0 or 0xFF.
static inline uint32_t kf_neon_bits(uint8x16_t found)
{
    uint8x16_t sums = kf_neon_one_bit_each(found);
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    return vgetq_lane_u16(vreinterpretq_u16_u8(sums), 0);
}

// Tells whether a bit of the vector is set.
static inline bool kf_neon_any(uint8x16_t bits)
{
    const uint32x4_t words = vreinterpretq_u32_u8(bits);
    return vgetq_lane_u64(vreinterpretq_u64_u32(vpmaxq_u32(words, words)), 0) != 0;
}

#endif
#endif
