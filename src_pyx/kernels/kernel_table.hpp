// The table of the kernels that depend on the CPU, and the memory they require.
#ifndef KF_KERNEL_TABLE_HPP
#define KF_KERNEL_TABLE_HPP

#include <cstddef>
#include <cstdint>

// The longest escape of one byte: \u00XX.
#define KF_ESCAPE_MAX 6
// The room that the output needs after the text, because kernels store whole blocks.
#define KF_SLACK 32

static inline size_t kf_base64_length(size_t n)
{
    return (n + 2) / 3 * 4;
}

// Encodes the n bytes at src and returns the end of the output. The kernel may read the input up to
// `readable_end` (>= src + n): a block may reach beyond the text, but never beyond that address.
typedef uint8_t *(*kf_kernel)(uint8_t *out, const uint8_t *src, size_t n,
                              const uint8_t *readable_end);

struct kf_md5_message {
    const uint8_t *data; // not read when n is 0
    size_t n;
    uint8_t *digest; // room for 16 bytes
};

// Writes the MD5 of each message.
typedef void (*kf_md5_kernel)(const kf_md5_message *messages, size_t n_messages);

struct kf_kernel_table {
    kf_kernel escape; // the inside of a JSON string; room for KF_ESCAPE_MAX * n + KF_SLACK bytes
    kf_kernel base64; // room for kf_base64_length(n) + KF_SLACK bytes
    kf_md5_kernel md5;
};

#endif
