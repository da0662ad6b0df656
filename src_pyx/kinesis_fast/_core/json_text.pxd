from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from kinesis_fast._core.buffer cimport Buffer
from kinesis_fast._core.cursor cimport Cursor, Token
from kinesis_fast._core.status cimport Status
from kinesis_fast._core.text cimport Text


cdef struct KeyRules:
    bint replace_dots
    Text dot                # what replaces a dot in a key
    char special            # a key with this byte is not copied unchanged


cdef Status write_string(Text text, const Cursor* input, Buffer* out) noexcept nogil
cdef Status write_key(const Token* token, const Cursor* input, const KeyRules* rules,
                      Buffer* out) noexcept nogil
cdef Status write_value(Cursor* cursor, const KeyRules* rules, unsigned int depth, Buffer* out,
                        uint64_t* nan_values) noexcept nogil
cdef size_t write_scalar(const Token* token, uint8_t* out) noexcept nogil
