"""Recognises the usual successful response to PutRecords in one pass, without Python objects."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcmp


cdef extern from "kernels/answer.hpp" nogil:
    const uint8_t* kf_plain_end(const uint8_t* p, const uint8_t* end)


cdef struct Reader:
    const uint8_t* pos
    const uint8_t* end


cdef inline bint take(Reader* reader, const char* text, size_t n) noexcept nogil:
    """Step over `text` if it comes next; otherwise return False and leave the reader in place."""
    if <size_t> (reader.end - reader.pos) < n or memcmp(reader.pos, text, n):
        return False
    reader.pos += n
    return True


cdef inline bint take_byte(Reader* reader, uint8_t byte) noexcept nogil:
    if reader.pos == reader.end or reader.pos[0] != byte:
        return False
    reader.pos += 1
    return True


cdef inline bint take_string(Reader* reader) noexcept nogil:
    """Step over the rest of a string: at least one plain character, then the closing quote."""
    cdef const uint8_t* start = reader.pos
    reader.pos = kf_plain_end(start, reader.end)
    return reader.pos != start and take_byte(reader, b'"')


cdef inline bint take_entry(Reader* reader) noexcept nogil:
    """Step over an entry: one SequenceNumber, at most one ShardId, and nothing else."""
    cdef bint is_numbered = False
    cdef bint has_shard = False
    if not take_byte(reader, b"{"):
        return False
    while True:
        if not is_numbered and take(reader, b'"SequenceNumber":"', 18):
            is_numbered = True
        elif not has_shard and take(reader, b'"ShardId":"', 11):
            has_shard = True
        else:
            return False
        if not take_string(reader):
            return False
        if not take_byte(reader, b","):
            return is_numbered and take_byte(reader, b"}")


cdef bint take_entries(Reader* reader, Py_ssize_t n_records) noexcept nogil:
    """Step over exactly n_records accepted entries and the end of their list."""
    cdef Py_ssize_t i
    for i in range(n_records):
        if (i and not take_byte(reader, b",")) or not take_entry(reader):
            return False
    return take_byte(reader, b"]")


cdef bint is_accepted(Reader* reader, Py_ssize_t n_records) noexcept nogil:
    cdef bint has_count = False
    cdef bint has_type = False
    cdef bint has_records = False
    if not take_byte(reader, b"{"):
        return False
    while True:
        if not has_count and take(reader, b'"FailedRecordCount":0', 21):
            has_count = True
        elif not has_records and take(reader, b'"Records":[', 11):
            has_records = True
            if not take_entries(reader, n_records):
                return False
        elif not has_type and take(reader, b'"EncryptionType":"', 18):
            has_type = True
            if not take_string(reader):
                return False
        else:
            return False
        if not take_byte(reader, b","):
            return (has_records and has_count and take_byte(reader, b"}")
                    and reader.pos == reader.end)


def all_accepted(bytes body not None, Py_ssize_t n_records):
    """Tell whether a response has the usual form and says that every entry was accepted.

    The usual form is what the service writes: JSON without white space, with FailedRecordCount 0
    and one SequenceNumber per entry.

    Args:
        body: the body of the response.
        n_records: number of entries in the request, at least 1.

    Returns:
        True only if every entry was accepted. False decides nothing: the caller has to parse the
        response.
    """
    cdef Reader reader
    reader.pos = <const uint8_t*> <const char*> body
    reader.end = reader.pos + len(body)
    return n_records > 0 and is_accepted(&reader, n_records)
