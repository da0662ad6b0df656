"""The kernels for this CPU. The caller provides the room and the readable end they require."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


cdef extern from "kernels/kernel_table.hpp" nogil:
    enum:
        KF_ESCAPE_MAX
        KF_SLACK
    size_t kf_base64_length(size_t n)
    ctypedef uint8_t* (*kf_kernel)(uint8_t* out, const uint8_t* src, size_t n,
                                   const uint8_t* readable_end) noexcept nogil
    struct kf_md5_message:
        const uint8_t* data
        size_t n
        uint8_t* digest
    ctypedef void (*kf_md5_kernel)(const kf_md5_message* messages,
                                   size_t n_messages) noexcept nogil
    struct kf_kernel_table:
        kf_kernel escape
        kf_kernel base64
        kf_md5_kernel md5


cdef extern from "kernels/short_text.hpp" nogil:
    bint kf_copy_short(uint8_t* out, const uint8_t* src, size_t n, const uint8_t* readable_end,
                       char special)


cdef kf_kernel_table kernels


cdef inline uint8_t* escape_text(uint8_t* out, const uint8_t* src, size_t n,
                                 const uint8_t* readable_end) noexcept nogil:
    """Write the inside of a JSON string, as `kernels.escape` does."""
    if kf_copy_short(out, src, n, readable_end, c'"'):
        return out + n
    return kernels.escape(out, src, n, readable_end)
