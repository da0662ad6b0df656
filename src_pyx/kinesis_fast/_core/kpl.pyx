"""Changes the random partition key of an aggregate that is already in a request."""

from libc.string cimport memcpy

from kinesis_fast._core.kernels cimport kernels, kf_md5_message
from kinesis_fast._core.limits cimport RANDOM_KEY_LENGTH


cdef extern from "kernels/base64_in_place.hpp" nogil:
    void kf_base64_decode_in_place(uint8_t* text, size_t n)
    void kf_base64_encode_in_place(uint8_t* text, size_t n)


cdef enum:
    KEY_AT = 6      # after the magic, and the tag and length of the first key


cdef void kpl_renew_key(uint8_t* data, size_t n, const uint8_t* key) noexcept nogil:
    """Replace the first key of an aggregate of `n` bytes, a random one, and its MD5."""
    cdef kf_md5_message message
    memcpy(data + KEY_AT, key, RANDOM_KEY_LENGTH)
    message.data = data + KPL_MAGIC_N
    message.n = n - KPL_MAGIC_N - KPL_DIGEST_N
    message.digest = data + n - KPL_DIGEST_N
    kernels.md5(&message, 1)


cdef void kpl_renew_base64_key(uint8_t* text, size_t n, const uint8_t* key) noexcept nogil:
    """Do the same in the base64 of an aggregate, in place; `n` is the length before base64."""
    kf_base64_decode_in_place(text, n)
    kpl_renew_key(text, n, key)
    kf_base64_encode_in_place(text, n)
