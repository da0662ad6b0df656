from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from kinesis_fast._core.cursor cimport Cursor
from kinesis_fast._core.kernels cimport KF_SLACK
from kinesis_fast._core.limits cimport MAX_KEY_BYTES, RANDOM_KEY_LENGTH
from kinesis_fast._core.text cimport Text


cdef extern from "kernels/random_key.hpp" nogil:
    void kf_write_random_key(uint8_t* out, uint64_t* state)


cdef struct PartitionKey:
    uint8_t data[MAX_KEY_BYTES + KF_SLACK]      # UTF-8
    size_t n


cdef void key_from_text(Text text, PartitionKey* key) noexcept nogil
cdef void key_from_record(Cursor value, const Text* path, size_t n_path,
                          PartitionKey* key) noexcept nogil


cdef inline void random_key(PartitionKey* key, uint64_t* random_state) noexcept nogil:
    kf_write_random_key(key.data, random_state)
    key.n = RANDOM_KEY_LENGTH
