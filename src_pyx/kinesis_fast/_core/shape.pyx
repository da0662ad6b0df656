"""Turns the body of an event into the data of a record: selects and renames keys, adds the time."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from kinesis_fast._core.buffer cimport buffer_reserve
from kinesis_fast._core.cursor cimport (
    KIND_BIN, KIND_MAP, KIND_STR, Token, next_token, skip_value, token_text,
)
from kinesis_fast._core.json_text cimport write_key, write_string, write_value
from kinesis_fast._core.kernels cimport KF_SLACK
from kinesis_fast._core.status cimport (
    STATUS_NO_LOG_KEY, STATUS_NO_MEMORY, STATUS_NOT_MAP, STATUS_OK,
)
from kinesis_fast._core.text cimport text_equals


cdef bint equals_with_dots_replaced(Text key, Text name, const KeyRules* rules) noexcept nogil:
    """Tell whether `key` equals `name` after its dots are replaced."""
    cdef const uint8_t* key_end = key.data + key.n
    cdef Text start
    if not rules.replace_dots:
        return text_equals(key, name)
    while key.data < key_end:
        if key.data[0] != c".":
            if name.n == 0 or name.data[0] != key.data[0]:
                return False
            name.data += 1
            name.n -= 1
        else:
            if name.n < rules.dot.n:
                return False
            start.data = name.data
            start.n = rules.dot.n
            if not text_equals(start, rules.dot):
                return False
            name.data += rules.dot.n
            name.n -= rules.dot.n
        key.data += 1
    return name.n == 0


cdef void finish_shape(Shape* shape) noexcept nogil:
    """Set the members that follow from the options."""
    shape.keys.special = c"." if shape.keys.replace_dots else c'"'
    cdef bint has_time = shape.time_key.data != NULL
    cdef bint has_log_key = shape.log_key.data != NULL
    shape.time_is_log_key = (has_time and has_log_key and equals_with_dots_replaced(
        shape.time_key, shape.log_key, &shape.keys))
    shape.time_is_partition_key = (has_time and shape.n_path == 1
                                   and text_equals(shape.time_key, shape.path[0]))
    shape.looks_at_keys = (has_time or has_log_key or shape.n_data_keys > 0
                           or shape.n_path > 0)


cdef inline bint is_data_key(const Shape* shape, Text name) noexcept nogil:
    cdef size_t i
    for i in range(shape.n_data_keys):
        if text_equals(shape.data_keys[i], name):
            return True
    return False


cdef Status write_raw(Text text, Buffer* out) noexcept nogil:
    if buffer_reserve(out, text.n + 8) != STATUS_OK:
        return STATUS_NO_MEMORY
    memcpy(out.data + out.n, text.data, text.n)
    out.n += text.n
    return STATUS_OK


cdef inline Status write_byte(uint8_t byte, Buffer* out) noexcept nogil:
    if buffer_reserve(out, 8) != STATUS_OK:
        return STATUS_NO_MEMORY
    out.data[out.n] = byte
    out.n += 1
    return STATUS_OK


cdef struct Fields:
    uint64_t left                       # pairs of the body left to read
    const unsigned char* log_value      # the value of log_key in the input, or NULL
    bint started                        # a field was written; a comma comes before the next


cdef Status next_field(const Shape* shape, Cursor* cursor, Token* key, bint* wanted,
                       Fields* fields, Found* found) noexcept nogil:
    """Read the next key, decide whether to write its field, and remember the special fields."""
    cdef Cursor start = cursor[0]
    cdef Text name
    cdef Status status = next_token(cursor, key)
    if status != STATUS_OK:
        return status
    fields.left -= 1
    if key.kind != KIND_STR and key.kind != KIND_BIN:
        wanted[0] = shape.n_data_keys == 0 and shape.log_key.data == NULL
        if wanted[0]:
            return STATUS_OK
        cursor[0] = start
        return skip_value(cursor)
    name = token_text(key)
    wanted[0] = False
    if shape.time_key.data != NULL and text_equals(name, shape.time_key):
        return STATUS_OK
    if shape.n_path and text_equals(name, shape.path[0]):
        found.partition_key = cursor.pos
    if shape.n_data_keys and not is_data_key(shape, name):
        return STATUS_OK
    if shape.log_key.data != NULL:
        if equals_with_dots_replaced(name, shape.log_key, &shape.keys):
            fields.log_value = cursor.pos
        return STATUS_OK
    wanted[0] = True
    return STATUS_OK


cdef Status write_fields(const Shape* shape, Cursor* cursor, Buffer* out, Fields* fields,
                         Found* found) noexcept nogil:
    cdef Token key
    cdef bint wanted
    cdef Status status
    while fields.left:
        status = next_field(shape, cursor, &key, &wanted, fields, found)
        if status != STATUS_OK:
            return status
        if not wanted:
            status = skip_value(cursor)
        else:
            if fields.started and write_byte(c",", out) != STATUS_OK:
                return STATUS_NO_MEMORY
            fields.started = True
            status = write_key(&key, cursor, &shape.keys, out)
            if status == STATUS_OK:
                status = write_value(cursor, &shape.keys, 1, out, &found.nan_values)
        if status != STATUS_OK:
            return status
    return STATUS_OK


cdef Status write_time(const Shape* shape, Text time, Buffer* out, Fields* fields) noexcept nogil:
    cdef Cursor time_input, key_input
    cdef Token key
    cdef Status status
    if fields.started and write_byte(c",", out) != STATUS_OK:
        return STATUS_NO_MEMORY
    key.kind = KIND_STR
    key.data = shape.time_key.data
    key.n = shape.time_key.n
    key_input.end = key.data + key.n
    time_input.end = time.data + time.n + KF_SLACK
    status = write_key(&key, &key_input, &shape.keys, out)
    return write_string(time, &time_input, out) if status == STATUS_OK else status


cdef Status write_log_value(const Shape* shape, const Cursor* body, Text time, Buffer* out,
                            const Fields* fields, Found* found) noexcept nogil:
    """Write only the value of log_key: text unchanged, anything else as JSON."""
    cdef Cursor value
    cdef Token token
    cdef Status status
    if shape.time_is_log_key:
        return write_raw(time, out)
    if fields.log_value == NULL:
        return STATUS_NO_LOG_KEY
    value.pos = fields.log_value
    value.end = body.end
    status = next_token(&value, &token)
    if status != STATUS_OK:
        return status
    if token.kind == KIND_STR or token.kind == KIND_BIN:
        return write_raw(token_text(&token), out)
    value.pos = fields.log_value
    return write_value(&value, &shape.keys, 1, out, &found.nan_values)


cdef Status write_object(const Shape* shape, Cursor* body, uint64_t n_pairs, Text time,
                         Buffer* out, Found* found) noexcept nogil:
    cdef Fields fields
    cdef Status status
    cdef bint whole = shape.log_key.data == NULL
    fields.left = n_pairs
    fields.log_value = NULL
    fields.started = False
    if whole and write_byte(c"{", out) != STATUS_OK:
        return STATUS_NO_MEMORY
    status = write_fields(shape, body, out, &fields, found)
    if status != STATUS_OK:
        return status
    if not whole:
        return write_log_value(shape, body, time, out, &fields, found)
    found.no_data_keys = shape.n_data_keys > 0 and not fields.started
    if shape.time_key.data != NULL:
        status = write_time(shape, time, out, &fields)
        if status != STATUS_OK:
            return status
    return write_byte(c"}", out)


cdef Status write_record(const Shape* shape, Cursor* body, Text time, Buffer* out,
                         Found* found) noexcept nogil:
    """Append the data of one record, without the newline, and step over the body.

    `time` is the text for time_key; KF_SLACK bytes after it must be readable. After a failure the
    cursor stands, and the buffer ends, inside the record.
    """
    cdef Cursor start = body[0]
    cdef Token token
    cdef Status status
    found.partition_key = NULL
    found.nan_values = 0
    found.no_data_keys = False
    status = next_token(body, &token)
    if status != STATUS_OK:
        return status
    if token.kind != KIND_MAP:
        return STATUS_NOT_MAP
    if shape.looks_at_keys:
        return write_object(shape, body, token.n, time, out, found)
    body[0] = start
    return write_value(body, &shape.keys, 0, out, &found.nan_values)
