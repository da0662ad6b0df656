from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.cursor cimport Cursor
from kinesis_fast._core.json_text cimport KeyRules
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef struct Shape:
    const Text* data_keys
    size_t n_data_keys          # 0: keep all keys
    const Text* path            # the keys that lead to the partition key
    size_t n_path               # 0: random partition keys
    Text log_key                # data is NULL if not set
    Text time_key               # data is NULL if not set
    KeyRules keys
    bint time_is_log_key
    bint time_is_partition_key
    bint looks_at_keys          # False: write all of the body's fields


cdef struct Found:
    const unsigned char* partition_key      # the value of path[0] in the input, or NULL
    uint64_t nan_values                     # NaN and infinities that became null
    bint no_data_keys                       # data_keys are set, and the body has none of them


cdef void finish_shape(Shape* shape) noexcept nogil
cdef Status write_record(const Shape* shape, Cursor* body, Text time, Buffer* out,
                         Found* found) noexcept nogil
