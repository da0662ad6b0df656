"""Reads responses in CBOR: the usual successful one in one pass, any other one strictly.

RFC 8949 describes CBOR. The service may write lengths as definite or indefinite ones.
"""

from libc.math cimport INFINITY, NAN, ldexp
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from kinesis_fast._core.cbor cimport (
    CBOR_ARRAY, CBOR_BREAK, CBOR_BYTES, CBOR_IN_2, CBOR_IN_4, CBOR_IN_8,
    CBOR_INDEFINITE, CBOR_MAP, CBOR_NEGATIVE, CBOR_NULL, CBOR_TAG, CBOR_TEXT, CBOR_UNSIGNED,
    CborHead, cbor_read_head,
)


cdef extern from "kernels/answer.hpp" nogil:
    const uint8_t* kf_plain_end(const uint8_t* p, const uint8_t* end)


cdef enum:
    MAX_DEPTH = 32      # of items in items; a response to PutRecords has 4
    CBOR_FALSE = 20     # simple values
    CBOR_TRUE = 21
    CBOR_NULL_VALUE = 22


cdef struct Reader:
    const uint8_t* pos
    const uint8_t* end


cdef struct Items:
    uint64_t left           # items of an array, pairs of a map; not used if is_indefinite
    bint is_indefinite


cdef inline bint take(Reader* reader, const char* item, size_t n) noexcept nogil:
    """Step over `item` if it comes next; otherwise return False and leave the reader in place."""
    if <size_t> (reader.end - reader.pos) < n or memcmp(reader.pos, item, n):
        return False
    reader.pos += n
    return True


cdef inline bint take_null(Reader* reader) noexcept nogil:
    if reader.pos == reader.end or reader.pos[0] != CBOR_NULL:
        return False
    reader.pos += 1
    return True


cdef inline bint take_text(Reader* reader) noexcept nogil:
    """Step over a text in one piece, of at least one character, which are all plain."""
    cdef CborHead head
    cdef const uint8_t* start = cbor_read_head(reader.pos, reader.end, &head)
    if (start == NULL or head.major != CBOR_TEXT or head.info == CBOR_INDEFINITE
            or head.number == 0 or head.number > <size_t> (reader.end - start)):
        return False
    reader.pos = start + head.number
    return kf_plain_end(start, reader.pos) == reader.pos


cdef inline bint open_items(Reader* reader, uint8_t major, Items* items) noexcept nogil:
    """Step over the head of an array or a map."""
    cdef CborHead head
    cdef const uint8_t* start = cbor_read_head(reader.pos, reader.end, &head)
    if start == NULL or head.major != major:
        return False
    reader.pos = start
    items.left = head.number
    items.is_indefinite = head.info == CBOR_INDEFINITE
    return True


cdef inline bint has_more(Reader* reader, Items* items) noexcept nogil:
    """Tell whether another item is to come; step over the break after the last one."""
    if items.is_indefinite:
        if reader.pos == reader.end or reader.pos[0] != CBOR_BREAK:
            return True
        reader.pos += 1
        return False
    if items.left == 0:
        return False
    items.left -= 1
    return True


cdef inline bint take_entry(Reader* reader) noexcept nogil:
    """Step over an entry: one SequenceNumber, at most one ShardId, and errors that are null."""
    cdef Items members
    cdef bint is_numbered = False
    cdef bint has_shard = False
    cdef bint has_code = False
    cdef bint has_message = False
    if not open_items(reader, CBOR_MAP, &members):
        return False
    while has_more(reader, &members):
        if not is_numbered and take(reader, b"nSequenceNumber", 15):
            is_numbered = True
            if not take_text(reader):
                return False
        elif not has_shard and take(reader, b"gShardId", 8):
            has_shard = True
            if not take_text(reader):
                return False
        elif not has_code and take(reader, b"iErrorCode", 10):
            has_code = True
            if not take_null(reader):
                return False
        elif not has_message and take(reader, b"lErrorMessage", 13):
            has_message = True
            if not take_null(reader):
                return False
        else:
            return False
    return is_numbered


cdef bint take_entries(Reader* reader, Py_ssize_t n_records) noexcept nogil:
    """Step over an array of exactly n_records accepted entries."""
    cdef Items entries
    cdef Py_ssize_t n = 0
    if not open_items(reader, CBOR_ARRAY, &entries):
        return False
    while has_more(reader, &entries):
        n += 1
        if n > n_records or not take_entry(reader):
            return False
    return n == n_records


cdef bint is_accepted(Reader* reader, Py_ssize_t n_records) noexcept nogil:
    cdef Items members
    cdef bint has_count = False
    cdef bint has_type = False
    cdef bint has_records = False
    if not open_items(reader, CBOR_MAP, &members):
        return False
    while has_more(reader, &members):
        if not has_count and take(reader, b"qFailedRecordCount\0", 19):
            has_count = True
        elif not has_records and take(reader, b"gRecords", 8):
            has_records = True
            if not take_entries(reader, n_records):
                return False
        elif not has_type and take(reader, b"nEncryptionType", 15):
            has_type = True
            if not take_null(reader) and not take_text(reader):
                return False
        else:
            return False
    return has_records and has_count and reader.pos == reader.end


def all_accepted_cbor(bytes body not None, Py_ssize_t n_records):
    """Tell whether a response in CBOR says, in the usual form, that every entry was accepted.

    In the usual form FailedRecordCount is 0, each entry has a SequenceNumber, no error or null
    instead of it, and nothing unknown is there.

    Args:
        body: the body of the response.
        n_records: number of entries in the request, at least 1.

    Returns:
        True only if every entry was accepted. False decides nothing: the caller has to decode the
        response.
    """
    cdef Reader reader
    reader.pos = <const uint8_t*> <const char*> body
    reader.end = reader.pos + len(body)
    return n_records > 0 and is_accepted(&reader, n_records)


def decode_cbor(bytes body not None):
    """Return the one item that a body consists of, as Python objects.

    Tags are left out. Keys of maps have to be texts, no two of a map the same.

    Raises:
        ValueError: this is not CBOR, not complete or not valid; or it is nested too deeply, or has
            simple values that JSON lacks.
    """
    cdef Reader reader
    reader.pos = <const uint8_t*> <const char*> body
    reader.end = reader.pos + len(body)
    value = read_item(&reader, MAX_DEPTH)
    if reader.pos != reader.end:
        raise ValueError("bytes after the end of the item")
    return value


cdef object read_item(Reader* reader, int depth):
    """Read an item; items in it may be `depth` deep."""
    cdef CborHead head
    cdef const uint8_t* start = cbor_read_head(reader.pos, reader.end, &head)
    if start == NULL:
        raise ValueError("an item is incomplete or not valid")
    if depth == 0:
        raise ValueError("nested too deeply")
    if head.major == CBOR_UNSIGNED:
        reader.pos = start
        return head.number
    if head.major == CBOR_NEGATIVE:
        reader.pos = start
        return -1 - <object> head.number
    if head.major == CBOR_BYTES:
        return read_string(reader, CBOR_BYTES)
    if head.major == CBOR_TEXT:
        return read_string(reader, CBOR_TEXT).decode("utf-8")
    if head.major == CBOR_ARRAY:
        return read_array(reader, depth)
    if head.major == CBOR_MAP:
        return read_map(reader, depth)
    reader.pos = start
    if head.major == CBOR_TAG:
        return read_item(reader, depth - 1)
    return simple_value(&head)


cdef bytes read_string(Reader* reader, uint8_t major):
    """Read the bytes of a string, which may be in pieces."""
    cdef CborHead head
    cdef bytes piece
    reader.pos = cbor_read_head(reader.pos, reader.end, &head)
    if head.info != CBOR_INDEFINITE:
        return take_bytes(reader, head.number)
    pieces = []
    while True:
        if reader.pos != reader.end and reader.pos[0] == CBOR_BREAK:
            reader.pos += 1
            return b"".join(pieces)
        reader.pos = cbor_read_head(reader.pos, reader.end, &head)
        if reader.pos == NULL or head.major != major or head.info == CBOR_INDEFINITE:
            raise ValueError("a piece of a string is not of its type, or missing")
        piece = take_bytes(reader, head.number)
        if major == CBOR_TEXT:
            piece.decode("utf-8")   # each piece has to be valid by itself
        pieces.append(piece)


cdef bytes take_bytes(Reader* reader, uint64_t n):
    cdef const uint8_t* start = reader.pos
    if n > <size_t> (reader.end - start):
        raise ValueError("a string is incomplete")
    reader.pos += n
    return (<const char*> start)[:n]


cdef list read_array(Reader* reader, int depth):
    cdef Items items
    cdef list values = []
    open_items(reader, CBOR_ARRAY, &items)
    while has_more(reader, &items):
        values.append(read_item(reader, depth - 1))
    return values


cdef dict read_map(Reader* reader, int depth):
    cdef Items items
    cdef dict values = {}
    open_items(reader, CBOR_MAP, &items)
    while has_more(reader, &items):
        key = read_item(reader, depth - 1)
        if not isinstance(key, str):
            raise ValueError("the key of a map is not a text")
        if key in values:
            raise ValueError("a map has a key twice")
        values[key] = read_item(reader, depth - 1)
    return values


cdef object simple_value(const CborHead* head):
    """Return a float, a truth value or None."""
    if head.info == CBOR_FALSE or head.info == CBOR_TRUE:
        return head.info == CBOR_TRUE
    if head.info == CBOR_NULL_VALUE:
        return None
    if head.info == CBOR_IN_2:
        return half_float(<uint32_t> head.number)
    if head.info == CBOR_IN_4:
        return single_float(<uint32_t> head.number)
    if head.info == CBOR_IN_8:
        return double_float(head.number)
    raise ValueError("a simple value that JSON lacks, or a break where none is expected")


cdef double half_float(uint32_t bits):
    cdef uint32_t exponent = bits >> 10 & 0x1F
    cdef uint32_t fraction = bits & 0x3FF
    cdef double value
    if exponent == 0:
        value = ldexp(fraction, -24)
    elif exponent == 0x1F:
        value = NAN if fraction else INFINITY
    else:
        value = ldexp(fraction + 0x400, <int> exponent - 25)
    return -value if bits & 0x8000 else value


cdef double single_float(uint32_t bits):
    cdef float value
    memcpy(&value, &bits, sizeof(value))
    return value


cdef double double_float(uint64_t bits):
    cdef double value
    memcpy(&value, &bits, sizeof(value))
    return value
