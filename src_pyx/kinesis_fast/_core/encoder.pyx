"""Chunks become requests: one call per request, the GIL released, no object per record."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.cursor cimport skip_value
from kinesis_fast._core.events cimport read_event
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.partition_key cimport key_from_record, key_from_text, random_key
from kinesis_fast._core.request cimport new_request
from kinesis_fast._core.shape cimport finish_shape, write_record
from kinesis_fast._core.status cimport (
    STATUS_BAD_KEY, STATUS_END, STATUS_NO_LOG_KEY, STATUS_NO_MEMORY, STATUS_NOT_MAP, STATUS_OK,
    STATUS_TOO_DEEP, STATUS_TRUNCATED,
)
from kinesis_fast._core.text cimport text_of
from kinesis_fast._core.times cimport (
    MAX_SUBSECONDS, close_times, measure_time, open_times, render_time,
)

from kinesis_fast._core.tally import Tally


cdef extern from "kernels/utf8.hpp" nogil:
    size_t kf_utf8_cut(const uint8_t* text, size_t n, size_t text_n)


cdef extern from *:
    """
    static const char kf_truncated[] = "[Truncated...]";
    #define KF_TRUNCATED_N (sizeof kf_truncated - 1)
    """
    const char* kf_truncated
    size_t KF_TRUNCATED_N

cdef enum:
    SMALLEST_RECORD = 1024      # room for the longest partition key, the suffix and a newline
    NANOSECONDS = 1000000000


@cython.final
@cython.no_gc
cdef class Encoder:
    """What to make of each record, fixed at construction; used by any number of threads.

    All names and texts are UTF-8. `tail` closes the body (`],"StreamName":"..."}`); `path` leads
    to the partition key, () for random keys; `time_format` is a strftime format in which a byte 1
    stands for each sub-second digit, and `subsecond_digits` says how many there are in each run;
    sizes are bytes of data plus partition key. ValueError if a size or the format is out of range.
    """

    def __cinit__(self, *, bytes tail not None, tuple data_keys not None, tuple path not None,
                  bytes log_key, bytes time_key, bytes time_format not None,
                  bytes subsecond_digits not None, bytes replace_dots, bint append_newline,
                  size_t max_record_bytes, size_t max_request_bytes):
        if not SMALLEST_RECORD <= max_record_bytes <= max_request_bytes <= 0x7fffffff:
            raise ValueError(f"no limits: {max_record_bytes} bytes a record, "
                             f"{max_request_bytes} bytes a request")
        self.owned = (data_keys, path, log_key, time_key, time_format, subsecond_digits,
                      replace_dots)
        self.tail = tail
        self.pool = BufferPool()
        self.append_newline = append_newline
        self.max_record_bytes = max_record_bytes
        self.max_request_bytes = max_request_bytes
        self.set_names(data_keys, path)
        self.shape.log_key = text_of(log_key)
        self.shape.time_key = text_of(time_key)
        self.shape.keys.replace_dots = replace_dots is not None
        self.shape.keys.dot = text_of(replace_dots)
        finish_shape(&self.shape)
        self.time_format.strftime = <const char*> time_format
        self.time_format.digits = text_of(subsecond_digits).data
        self.time_format.n_digits = len(subsecond_digits)
        self.check_time_format()

    def __dealloc__(self):
        free(self.names)

    cdef void set_names(self, tuple data_keys, tuple path) except *:
        cdef size_t n = 0
        self.names = <Text*> calloc(len(data_keys) + len(path) + 1, sizeof(Text))
        if self.names == NULL:
            raise MemoryError("no memory for the names of keys")
        for name in data_keys + path:
            self.names[n] = text_of(name)
            n += 1
        self.shape.data_keys = self.names
        self.shape.n_data_keys = len(data_keys)
        self.shape.path = self.names + len(data_keys)
        self.shape.n_path = len(path)

    cdef void check_time_format(self) except *:
        digits, marks = self.owned[5], self.owned[4].count(b"\x01")
        if len(digits) > MAX_SUBSECONDS or sum(digits) != marks or max(digits, default=0) > 9:
            raise ValueError("the sub-second digits do not fit the time format")
        if not measure_time(&self.time_format):
            raise ValueError("the time format gives no text here, or too long a one")

    def requests(self, chunk, *, uint64_t now_ns, uint64_t seed):
        """The requests of `chunk`, a bytes-like object; TypeError for anything else.

        `now_ns` (nanoseconds since 1970) is the time of events that have none; `seed` starts the
        random partition keys.
        """
        return RequestStream.__new__(RequestStream, self, chunk, now_ns, seed)

    def count(self, chunk):
        """Number of records in `chunk`: events but group markers, and one for a malformed tail."""
        cdef RequestStream stream = RequestStream.__new__(RequestStream, self, chunk, 0, 0)
        return stream.count_rest()


@cython.final
cdef class RequestStream:
    """Iterator over the requests of one chunk. It holds the chunk until it is exhausted or closed.

    One thread at a time: a call while another is under way raises RuntimeError.
    """

    def __cinit__(self, Encoder encoder not None, chunk, uint64_t now_ns, uint64_t seed):
        self.encoder = encoder
        self.now.second = now_ns // NANOSECONDS
        self.now.nanosecond = now_ns % NANOSECONDS
        self.random_state = seed
        if encoder.shape.time_key.data != NULL:
            if not open_times(&self.times, &encoder.time_format):
                raise MemoryError("no memory for the texts of times")
        PyObject_GetBuffer(chunk, &self.chunk, PyBUF_SIMPLE)
        self.is_open = True
        self.start = <const uint8_t*> self.chunk.buf
        self.cursor.pos = self.start
        self.cursor.end = self.start + self.chunk.len

    def __dealloc__(self):
        self.release_chunk()
        close_times(&self.times)

    cdef void enter(self) except *:
        with cython.critical_section(self):
            if self.is_busy:
                raise RuntimeError("these requests are being read by another thread")
            self.is_busy = True

    cdef void release_chunk(self) noexcept:
        """Let go of the chunk; nothing is read from it afterwards."""
        if self.is_open:
            self.is_open = False
            self.cursor.pos = self.cursor.end = self.start = NULL
            PyBuffer_Release(&self.chunk)
        buffer_free(&self.data)

    def __iter__(self):
        return self

    def __next__(self):
        cdef Request request
        cdef Status status
        cdef Text tail
        self.enter()
        try:
            if not self.is_open:
                raise StopIteration
            request = new_request(self.encoder.pool, self.encoder.tail)
            tail = text_of(self.encoder.tail)
            with nogil:
                status = self.fill(request, tail)
            if status == STATUS_NO_MEMORY:
                raise MemoryError(f"no memory for a request of {request.n_entries + 1} records")
            if status == STATUS_END:
                self.release_chunk()
            if request.n_entries == 0:
                raise StopIteration
            return request
        finally:
            self.is_busy = False

    def take_tally(self):
        """What happened since the last call, as a Tally."""
        cdef Counts counts
        cdef Py_ssize_t malformed_at = -1
        self.enter()
        counts = self.counts
        memset(&self.counts, 0, sizeof(Counts))
        self.is_busy = False
        if counts.skipped_malformed:
            malformed_at = <Py_ssize_t> self.malformed_at
        return Tally(
            counts.records, counts.skipped_not_map, counts.skipped_too_deep,
            counts.skipped_no_log_key, counts.skipped_bad_key, counts.skipped_malformed,
            malformed_at, counts.group_markers, counts.truncated, counts.bad_times,
            counts.nan_values, counts.random_keys)

    def count_rest(self):
        """Number of records that no request has taken yet; closes the stream."""
        cdef uint64_t n
        self.enter()
        try:
            with nogil:
                n = self.n_lost + (1 if self.has_record else 0) + self.count_events()
            self.n_lost = 0
            self.has_record = False
            self.release_chunk()
            return n
        finally:
            self.is_busy = False

    def close(self):
        """Release the chunk; the iteration ends. A second call does nothing."""
        self.enter()
        self.has_record = False
        self.release_chunk()
        self.is_busy = False

    cdef Status fill(self, Request request, Text tail) noexcept nogil:
        """Add records while they fit. STATUS_END: the chunk is at its end."""
        cdef Status status = request.open()
        cdef Text data, key
        cdef size_t n_bytes
        while status == STATUS_OK and request.n_entries < MAX_RECORDS_PER_REQUEST:
            if not self.has_record:
                status = self.encode_next()
                if status != STATUS_OK:
                    break
            data.data, data.n = self.data.data, self.data.n
            key.data, key.n = self.key.data, self.key.n
            n_bytes = data.n + key.n
            if n_bytes > self.encoder.max_request_bytes - request.total_bytes:
                break
            status = request.append(data, key, self.n_events - 1)
            if status == STATUS_OK:
                self.has_record = False
        if status != STATUS_NO_MEMORY and request.finish(tail) != STATUS_OK:
            status = STATUS_NO_MEMORY
        if status == STATUS_NO_MEMORY:
            self.n_lost += request.n_entries
        else:
            self.counts.records += request.n_entries
        return status

    cdef Status encode_next(self) noexcept nogil:
        """Encode events until one has become a record, or the chunk ends."""
        cdef const uint8_t* start
        cdef Event event
        cdef Status status
        while True:
            start = self.cursor.pos
            status = read_event(&self.cursor, &event)
            if status == STATUS_END:
                return STATUS_END
            if status == STATUS_OK:
                if event.is_group_marker:
                    status = skip_value(&self.cursor)
                    self.counts.group_markers += status == STATUS_OK
                else:
                    status = self.encode_body(&event)
            if status == STATUS_NO_MEMORY:
                self.cursor.pos = start
                return status
            if status == STATUS_TRUNCATED:
                return self.end_malformed(start)
            self.n_events += 1
            if self.has_record:
                return STATUS_OK

    cdef Status end_malformed(self, const uint8_t* event) noexcept nogil:
        self.counts.skipped_malformed += 1
        self.malformed_at = <size_t> (event - self.start)
        self.cursor.pos = self.cursor.end
        return STATUS_END

    cdef Status encode_body(self, const Event* event) noexcept nogil:
        cdef Cursor body = self.cursor
        cdef Text time
        cdef Found found
        cdef Status status
        cdef bint has_time_key = self.encoder.shape.time_key.data != NULL
        time.data = NULL
        time.n = 0
        if has_time_key:
            time = render_time(&self.encoder.time_format, &self.times,
                               event.time if event.has_time else self.now)
        self.data.n = 0
        status = write_record(&self.encoder.shape, &self.cursor, time, &self.data, &found)
        if status == STATUS_OK:
            self.choose_key(&found, time)
            self.counts.bad_times += has_time_key and not event.has_time
            return self.finish_record(&found)
        if status == STATUS_TRUNCATED or status == STATUS_NO_MEMORY:
            return status
        return self.skip_body(body, status)

    cdef Status skip_body(self, Cursor body, Status reason) noexcept nogil:
        """Step over a body that makes no record, and count why."""
        self.cursor = body
        if skip_value(&self.cursor) != STATUS_OK:
            return STATUS_TRUNCATED
        if reason == STATUS_NOT_MAP:
            self.counts.skipped_not_map += 1
        elif reason == STATUS_TOO_DEEP:
            self.counts.skipped_too_deep += 1
        elif reason == STATUS_BAD_KEY:
            self.counts.skipped_bad_key += 1
        elif reason == STATUS_NO_LOG_KEY:
            self.counts.skipped_no_log_key += 1
        return STATUS_OK

    cdef void choose_key(self, const Found* found, Text time) noexcept nogil:
        cdef const Shape* shape = &self.encoder.shape
        cdef Cursor value
        self.key.n = 0
        if shape.time_is_partition_key:
            key_from_text(time, &self.key)
        elif found.partition_key != NULL:
            value.pos = found.partition_key
            value.end = self.cursor.end
            key_from_record(value, shape.path + 1, shape.n_path - 1, &self.key)
        if self.key.n == 0:
            self.counts.random_keys += shape.n_path > 0
            random_key(&self.key, &self.random_state)

    cdef Status finish_record(self, const Found* found) noexcept nogil:
        if buffer_reserve(&self.data, KF_TRUNCATED_N + 1) != STATUS_OK:
            return STATUS_NO_MEMORY
        self.fit_record()
        if self.encoder.append_newline:
            self.data.data[self.data.n] = c"\n"
            self.data.n += 1
        self.counts.nan_values += found.nan_values
        self.has_record = True
        return STATUS_OK

    cdef void fit_record(self) noexcept nogil:
        """Cut the data at a character, so that the record with its newline is within the limit."""
        cdef size_t room = self.encoder.max_record_bytes - self.key.n
        room -= 1 if self.encoder.append_newline else 0
        if self.data.n <= room:
            return
        self.data.n = kf_utf8_cut(self.data.data, room - KF_TRUNCATED_N, self.data.n)
        memcpy(self.data.data + self.data.n, kf_truncated, KF_TRUNCATED_N)
        self.data.n += KF_TRUNCATED_N
        self.counts.truncated += 1

    cdef uint64_t count_events(self) noexcept nogil:
        """Number of records from the cursor on, a malformed tail being one."""
        cdef Event event
        cdef uint64_t n = 0
        cdef Status status
        while True:
            status = read_event(&self.cursor, &event)
            if status == STATUS_OK:
                status = skip_value(&self.cursor)
            if status == STATUS_END:
                return n
            if status != STATUS_OK:
                return n + 1
            n += not event.is_group_marker
