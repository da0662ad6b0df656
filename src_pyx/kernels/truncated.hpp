// The end of a record that was cut because it exceeds the size limit.
#ifndef KF_TRUNCATED_HPP
#define KF_TRUNCATED_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/utf8.hpp"

static const char kf_truncated[] = "[Truncated...]"; // limits.py has the same
#define KF_TRUNCATED_N (sizeof kf_truncated - 1)

// Writes at most n bytes of the text, without splitting a character, and the mark of a cut record.
// Needs room for n + KF_TRUNCATED_N bytes; the text may already be there. Returns the length.
static inline size_t kf_truncate(uint8_t *out, const uint8_t *text, size_t n, size_t text_n)
{
    n = kf_utf8_cut(text, n, text_n);
    std::memmove(out, text, n);
    std::memcpy(out + n, kf_truncated, KF_TRUNCATED_N);
    return n + KF_TRUNCATED_N;
}

#endif
