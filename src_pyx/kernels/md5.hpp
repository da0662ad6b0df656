// MD5 (RFC 1321) of several messages, computed side by side.
//
// A step of MD5 needs the result of the step before, so one message uses a small part of a CPU.
// Vectors hold a word of each of several messages; a lane is one message's place in the vectors.
#ifndef KF_MD5_HPP
#define KF_MD5_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernel_table.hpp"
#include "level.hpp"

enum { KF_MD5_BLOCK = 64 };

typedef std::array<uint32_t, 4> kf_md5_state;

static constexpr kf_md5_state kf_md5_start = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476};

// The whole part of 2^32 * |sin(i + 1)|, with i + 1 in radians.
static constexpr std::array<uint32_t, 64> kf_md5_sines = {
    0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613, 0xFD469501,
    0x698098D8, 0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193, 0xA679438E, 0x49B40821,
    0xF61E2562, 0xC040B340, 0x265E5A51, 0xE9B6C7AA, 0xD62F105D, 0x02441453, 0xD8A1E681, 0xE7D3FBC8,
    0x21E1CDE6, 0xC33707D6, 0xF4D50D87, 0x455A14ED, 0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A,
    0xFFFA3942, 0x8771F681, 0x6D9D6122, 0xFDE5380C, 0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70,
    0x289B7EC6, 0xEAA127FA, 0xD4EF3085, 0x04881D05, 0xD9D4D039, 0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665,
    0xF4292244, 0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92, 0xFFEFF47D, 0x85845DD1,
    0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB, 0xEB86D391,
};

static inline uint32_t kf_md5_load(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void kf_md5_store(uint8_t *p, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(word >> 8 * i);
}

// Adds n_blocks blocks to each state; those of lane i begin at blocks[i].
typedef void (*kf_md5_adder)(kf_md5_state *states, const uint8_t *const *blocks, size_t n_blocks);

// What is left of a message: blocks at `blocks`, at least one, and then those in `end`.
struct kf_md5_rest {
    const uint8_t *blocks;
    size_t n_blocks;
    size_t n_end_blocks;
    uint8_t end[2 * KF_MD5_BLOCK]; // the last bytes of the message, a 1 bit, zeros, its length
    uint8_t *digest;
};

// Goes on to the blocks in `end` when no others are left; returns false when these are done too.
static inline bool kf_md5_go_on(kf_md5_rest &rest)
{
    if (rest.n_blocks == 0) {
        rest.blocks = rest.end;
        rest.n_blocks = rest.n_end_blocks;
        rest.n_end_blocks = 0;
    }
    return rest.n_blocks > 0;
}

static inline void kf_md5_begin(kf_md5_rest &rest, const kf_md5_message &message)
{
    const size_t n_over = message.n % KF_MD5_BLOCK;
    rest.blocks = message.data;
    rest.n_blocks = message.n / KF_MD5_BLOCK;
    rest.n_end_blocks = n_over + 1 + 8 <= KF_MD5_BLOCK ? 1 : 2;
    rest.digest = message.digest;
    std::memset(rest.end, 0, sizeof rest.end);
    if (n_over)
        std::memcpy(rest.end, message.data + message.n - n_over, n_over);
    rest.end[n_over] = 0x80;
    uint8_t *length = rest.end + rest.n_end_blocks * KF_MD5_BLOCK - 8;
    const uint64_t n_bits = (uint64_t)message.n * 8;
    kf_md5_store(length, (uint32_t)n_bits);
    kf_md5_store(length + 4, (uint32_t)(n_bits >> 32));
    kf_md5_go_on(rest);
}

// N messages at a time. Those in work have the first lanes; the spare lanes read what lane 0 reads.
template <size_t N> struct kf_md5_lanes {
    kf_md5_rest memory[N], *rests[N];
    kf_md5_state states[N] = {};
    size_t n_used = 0;

    kf_md5_lanes()
    {
        for (size_t i = 0; i < N; i++)
            rests[i] = &memory[i];
    }

    void begin(const kf_md5_message &message)
    {
        kf_md5_begin(*rests[n_used], message);
        states[n_used++] = kf_md5_start;
    }

    // Adds as many blocks as each message still has, then frees the lanes of those that are done.
    void go_on(kf_md5_adder many, kf_md5_adder one)
    {
        const uint8_t *blocks[N];
        size_t n_blocks = rests[0]->n_blocks;
        for (size_t i = 0; i < N; i++) {
            const kf_md5_rest &rest = *rests[i < n_used ? i : 0];
            blocks[i] = rest.blocks;
            n_blocks = n_blocks < rest.n_blocks ? n_blocks : rest.n_blocks;
        }
        (n_used == 1 ? one : many)(states, blocks, n_blocks);
        for (size_t i = n_used; i-- > 0;) {
            rests[i]->blocks += n_blocks * KF_MD5_BLOCK;
            rests[i]->n_blocks -= n_blocks;
            if (!kf_md5_go_on(*rests[i]))
                end(i);
        }
    }

    void end(size_t i)
    {
        for (int word = 0; word < 4; word++)
            kf_md5_store(rests[i]->digest + 4 * word, states[i][word]);
        n_used--;
        std::swap(rests[i], rests[n_used]);
        states[i] = states[n_used];
    }
};

// A lane that is done gets the next message at once, so messages need not be equally long. `many`
// adds to N lanes. On x86-64 that takes less than twice the time that `one` takes for one lane.
template <size_t N>
static void kf_md5_all(const kf_md5_message *messages, size_t n, kf_md5_adder many,
                       kf_md5_adder one)
{
    kf_md5_lanes<N> lanes;
    while (n > 0 || lanes.n_used > 0) {
        for (; n > 0 && lanes.n_used < N; n--)
            lanes.begin(*messages++);
        lanes.go_on(many, one);
    }
}

#define KF_TARGET
namespace kf_one_lane
{
enum { LANES = 1 };
#include "md5_lanes.hpp"
} // namespace kf_one_lane

namespace kf_four_lanes // four words fill a vector of x86-64 and of arm64; elsewhere it is plain code
{
enum { LANES = 4 };
#include "md5_lanes.hpp"
} // namespace kf_four_lanes
#undef KF_TARGET

// One message, such as a partition key, does not pay for the lanes of others.
static void kf_md5_alone(const kf_md5_message *message)
{
    kf_md5_all<1>(message, 1, kf_one_lane::add_blocks, kf_one_lane::add_blocks);
}

// The kernel for any CPU.
static void kf_md5_plain(const kf_md5_message *messages, size_t n)
{
    if (n == 1)
        return kf_md5_alone(messages);
    kf_md5_all<4>(messages, n, kf_four_lanes::add_blocks, kf_one_lane::add_blocks);
}

#if defined(KF_X86_BLOCKS) || defined(KF_NEON_BLOCKS)
#ifdef KF_X86_BLOCKS
#define KF_TARGET __attribute__((target("avx2")))
#else
#define KF_TARGET // two vectors of four words, whose steps do not wait for each other
#endif
namespace kf_eight_lanes
{
enum { LANES = 8 };
#include "md5_lanes.hpp"
} // namespace kf_eight_lanes
#undef KF_TARGET
#endif

#ifdef KF_X86_BLOCKS
static void kf_md5_avx2(const kf_md5_message *messages, size_t n)
{
    if (n == 1)
        return kf_md5_alone(messages);
    kf_md5_all<8>(messages, n, kf_eight_lanes::add_blocks, kf_one_lane::add_blocks);
}
#endif

#ifdef KF_NEON_BLOCKS
static void kf_md5_neon(const kf_md5_message *messages, size_t n)
{
    if (n <= 4)
        return kf_md5_plain(messages, n);
    kf_md5_all<8>(messages, n, kf_eight_lanes::add_blocks, kf_one_lane::add_blocks);
}
#endif

#endif
