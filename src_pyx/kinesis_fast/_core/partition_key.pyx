"""Partition keys: the text of a value in the record, or random characters.

The service allows 1 to 256 Unicode characters. A limit of 256 UTF-16 units satisfies every
interpretation of "character".
"""

from libc.math cimport isfinite
from libc.string cimport memcpy

from kinesis_fast._core.cursor cimport (
    KIND_BIN, KIND_FALSE, KIND_FLOAT, KIND_INT, KIND_MAP, KIND_STR, KIND_TRUE, KIND_UINT, Token,
    next_token, skip_value, token_text,
)
from kinesis_fast._core.json_text cimport write_scalar
from kinesis_fast._core.limits cimport MAX_KEY_UNITS
from kinesis_fast._core.status cimport STATUS_OK
from kinesis_fast._core.text cimport text_equals


cdef extern from "kernels/utf8.hpp" nogil:
    bint kf_is_ascii(const uint8_t* p)
    size_t kf_utf8_length(const uint8_t* p, size_t left)
    uint8_t* kf_write_replacement(uint8_t* out)


cdef void key_from_text(Text text, PartitionKey* key) noexcept nogil:
    """Take the first 256 UTF-16 units, without splitting a surrogate pair.

    Each byte that is not UTF-8 becomes U+FFFD.
    """
    cdef const uint8_t* pos = text.data
    cdef const uint8_t* end = text.data + text.n
    cdef uint8_t* out = key.data
    cdef size_t units = 0
    cdef size_t n, i
    while end - pos >= 8 and units <= MAX_KEY_UNITS - 8 and kf_is_ascii(pos):
        memcpy(out, pos, 8)
        pos += 8
        out += 8
        units += 8
    while pos < end and units < MAX_KEY_UNITS:
        n = 1 if pos[0] < 0x80 else kf_utf8_length(pos, <size_t> (end - pos))
        if n == 4 and units == MAX_KEY_UNITS - 1:
            break
        if n == 0:
            out = kf_write_replacement(out)
            n = 1
        else:
            for i in range(n):
                out[i] = pos[i]
            out += n
        units += 2 if n == 4 else 1
        pos += n
    key.n = <size_t> (out - key.data)


cdef bint find_in_map(Cursor* cursor, Text name) noexcept nogil:
    """Move to the value of the last key `name` in the map at the cursor; False if there is none."""
    cdef Token token
    cdef Cursor found
    cdef uint64_t n_pairs
    cdef bint is_name
    found.pos = NULL
    found.end = cursor.end
    if next_token(cursor, &token) != STATUS_OK or token.kind != KIND_MAP:
        return False
    n_pairs = token.n
    while n_pairs:
        n_pairs -= 1
        is_name = at_name(cursor, name)
        if skip_value(cursor) != STATUS_OK:
            return False
        if is_name:
            found.pos = cursor.pos
        if skip_value(cursor) != STATUS_OK:
            return False
    cursor[0] = found
    return found.pos != NULL


cdef bint at_name(const Cursor* cursor, Text name) noexcept nogil:
    """Tell whether the value at the cursor is the str or bin `name`."""
    cdef Cursor ahead = cursor[0]
    cdef Token token
    if next_token(&ahead, &token) != STATUS_OK:
        return False
    if token.kind != KIND_STR and token.kind != KIND_BIN:
        return False
    return text_equals(token_text(&token), name)


cdef void key_from_record(Cursor value, const Text* path, size_t n_path,
                          PartitionKey* key) noexcept nogil:
    """Make the key of the value at `path` below `value`; n is 0 if that value yields no key."""
    cdef Token token
    cdef size_t i
    key.n = 0
    for i in range(n_path):
        if not find_in_map(&value, path[i]):
            return
    if next_token(&value, &token) != STATUS_OK:
        return
    if token.kind == KIND_STR or token.kind == KIND_BIN:
        key_from_text(token_text(&token), key)
    elif token.kind == KIND_FLOAT:
        if isfinite(token.number):
            key.n = write_scalar(&token, key.data)
    elif (token.kind == KIND_UINT or token.kind == KIND_INT or token.kind == KIND_TRUE
          or token.kind == KIND_FALSE):
        key.n = write_scalar(&token, key.data)
