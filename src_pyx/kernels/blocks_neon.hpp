// Operations on blocks of 32 bytes for arm64; json_escape_blocks.hpp uses them.
//
// A block is two vectors. NEON has no instruction that collects a bit of each byte; those that take
// its place need little more for two vectors than for one.
#ifndef KF_BLOCKS_NEON_HPP
#define KF_BLOCKS_NEON_HPP

#include "json_escape.hpp"
#include "level.hpp"
#include "neon.hpp"
#include "utf8_errors.hpp"

#define KF_TARGET

namespace kf_neon
{
struct Block {
    uint8x16_t low, high;
};
enum { BLOCK = 32 };

static inline Block load(const uint8_t *p)
{
    return {vld1q_u8(p), vld1q_u8(p + 16)};
}

static inline void store(uint8_t *p, Block block)
{
    vst1q_u8(p, block.low);
    vst1q_u8(p + 16, block.high);
}

static inline Block all(int byte)
{
    return {vdupq_n_u8((uint8_t)byte), vdupq_n_u8((uint8_t)byte)};
}

static inline Block both(Block a, Block b)
{
    return {vandq_u8(a.low, b.low), vandq_u8(a.high, b.high)};
}

static inline Block either(Block a, Block b)
{
    return {vorrq_u8(a.low, b.low), vorrq_u8(a.high, b.high)};
}

static inline Block differing(Block a, Block b)
{
    return {veorq_u8(a.low, b.low), veorq_u8(a.high, b.high)};
}

static inline Block equal(Block a, Block b)
{
    return {vceqq_u8(a.low, b.low), vceqq_u8(a.high, b.high)};
}

// 0xFF where a <= b, otherwise 0.
static inline Block at_most(Block a, Block b)
{
    return {vcleq_u8(a.low, b.low), vcleq_u8(a.high, b.high)};
}

// a - b, or 0 where b is larger.
static inline Block above(Block a, Block b)
{
    return {vqsubq_u8(a.low, b.low), vqsubq_u8(a.high, b.high)};
}

static inline Block high_nibbles(Block block)
{
    return {vshrq_n_u8(block.low, 4), vshrq_n_u8(block.high, 4)};
}

// table[i] for each byte i < 16.
static inline Block look_up(const uint8_t *table, Block indexes)
{
    const uint8x16_t bytes = vld1q_u8(table);
    return {vqtbl1q_u8(bytes, indexes.low), vqtbl1q_u8(bytes, indexes.high)};
}

// Each byte gets the value of the byte N places before it; the first N bytes get 0.
template <int N> static inline Block before(Block block)
{
    return {vextq_u8(vdupq_n_u8(0), block.low, 16 - N), vextq_u8(block.low, block.high, 16 - N)};
}

static inline uint8x16_t high_bit_everywhere(uint8x16_t bytes)
{
    return vreinterpretq_u8_s8(vshrq_n_s8(vreinterpretq_s8_u8(bytes), 7));
}

// The highest bit of each byte.
static inline uint32_t high_bits(Block block)
{
    const uint8x16_t low = kf_neon_one_bit_each(high_bit_everywhere(block.low));
    const uint8x16_t high = kf_neon_one_bit_each(high_bit_everywhere(block.high));
    uint8x16_t sums = vpaddq_u8(low, high);
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    return vgetq_lane_u32(vreinterpretq_u32_u8(sums), 0);
}

// Whether a byte has its highest bit.
static inline bool any_high_bit(Block block)
{
    return vmaxvq_u8(vorrq_u8(block.low, block.high)) >= 0x80;
}

static inline bool is_zero(Block block)
{
    return !kf_neon_any(vorrq_u8(block.low, block.high));
}

// There are no upper halves to clear.
static inline void leave()
{
}

#include "json_escape_blocks.hpp"
} // namespace kf_neon

#undef KF_TARGET
#endif
