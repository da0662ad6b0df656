// Unaligned big-endian loads, and the widths of msgpack's headers.
#ifndef KF_BYTES_HPP
#define KF_BYTES_HPP

#include <cstdint>
#include <cstring>

// The number of bytes of the number or length that follows a first byte of 0xc0 to 0xdf.
static const uint8_t kf_header_width[32] = {
    0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8, // nil .. uint 64
    1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4, // int 8 .. map 32
};

static inline uint16_t kf_load_u16(const uint8_t *p)
{
    return (uint16_t)((uint16_t)p[0] << 8 | p[1]);
}

static inline uint32_t kf_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t kf_load_u64(const uint8_t *p)
{
    return (uint64_t)kf_load_u32(p) << 32 | kf_load_u32(p + 4);
}

static inline double kf_float32(uint32_t bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double kf_float64(uint64_t bits)
{
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
