// The kernels that depend on the CPU, as a table that is filled once, and what they ask for.
#ifndef KF_KERNEL_TABLE_HPP
#define KF_KERNEL_TABLE_HPP

#include <cstddef>
#include <cstdint>

// The longest escape of one byte: \u00XX.
#define KF_ESCAPE_MAX 6
// What the output must have room for beyond the text itself: whole blocks are stored.
#define KF_SLACK 32

static inline size_t kf_base64_length(size_t n)
{
    return (n + 2) / 3 * 4;
}

// Writes the n bytes at src in another form and returns the end of what was written. The input may
// be read up to `readable_end` (>= src + n): a block may reach beyond the text, never beyond that.
typedef uint8_t *(*kf_kernel)(uint8_t *out, const uint8_t *src, size_t n,
                              const uint8_t *readable_end);

struct kf_kernel_table {
    kf_kernel escape; // the inside of a JSON string; room for KF_ESCAPE_MAX * n + KF_SLACK bytes
    kf_kernel base64; // room for kf_base64_length(n) + KF_SLACK bytes
};

#endif
