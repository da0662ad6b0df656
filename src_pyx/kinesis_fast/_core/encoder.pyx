"""Encodes chunks into requests: one call per request, GIL released, no Python object per record."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from kinesis_fast._core.batch cimport Entry, batch_append, batch_finish
from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.cursor cimport skip_value
from kinesis_fast._core.events cimport Moment, read_event
from kinesis_fast._core.kernels cimport KF_SLACK
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.partition_key cimport key_from_record, key_from_text, random_key
from kinesis_fast._core.request cimport new_request, octets_of
from kinesis_fast._core.shape cimport finish_shape, write_record
from kinesis_fast._core.status cimport (
    STATUS_BAD_KEY, STATUS_END, STATUS_FULL, STATUS_NO_BATCH, STATUS_NO_LOG_KEY, STATUS_NO_MEMORY,
    STATUS_NOT_MAP, STATUS_OK, STATUS_TOO_DEEP, STATUS_TRUNCATED,
)
from kinesis_fast._core.text cimport text_of
from kinesis_fast._core.times cimport (
    MAX_SUBSECONDS, close_times, measure_time, open_times, render_time,
)

from kinesis_fast._core.tally import Tally


cdef extern from "kernels/hash.hpp" nogil:
    uint64_t kf_hash(const uint8_t* text, size_t n)


cdef extern from "kernels/random_key.hpp" nogil:
    uint64_t kf_next_random(uint64_t* state)


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
    SMALLEST_RECORD = 1024      # fits the longest partition key, the suffix and a newline
    NANOSECONDS = 1000000000
    ANY_LANE = -1
    BITS_STEP = 128             # bytes, for 1,024 events

cdef uint64_t ALL = <uint64_t> -1

SKIP_NAMES = {
    STATUS_NOT_MAP: "skipped_not_map",
    STATUS_TOO_DEEP: "skipped_too_deep",
    STATUS_BAD_KEY: "skipped_bad_key",
    STATUS_NO_LOG_KEY: "skipped_no_log_key",
    STATUS_TRUNCATED: "skipped_malformed",
}


@cython.final
@cython.no_gc
cdef class Encoder:
    """Encodes chunks with a fixed set of options; any number of threads may share one.

    All names and texts are UTF-8.

    Args:
        tail: the end of every body, `],"StreamName":"..."}`.
        data_keys: the keys to keep; () keeps all.
        path: the keys that lead to the partition key; () for random partition keys.
        log_key: the key whose value is the whole record; None to send the whole map.
        time_key: the key to add with the time of the event; None to add none.
        time_format: a strftime format in which each byte 1 stands for one sub-second digit.
        subsecond_digits: the number of digits, 1 to 9, of each run of sub-second digits.
        is_utc: whether times are in UTC; otherwise they are in the local time zone.
        replace_dots: what replaces a dot in a key; None to keep dots.
        append_newline: whether each record ends with a newline.
        max_record_bytes: limit for data plus partition key of a record, at least 1024.
        max_request_bytes: limit for data plus partition keys of a request.
        n_arenas: how many batches to keep for reuse after their requests are released.

    Raises:
        ValueError: a size or the time format is out of range.
    """

    def __cinit__(self, *, bytes tail not None, tuple data_keys not None, tuple path not None,
                  bytes log_key, bytes time_key, bytes time_format not None,
                  bytes subsecond_digits not None, bint is_utc, bytes replace_dots,
                  bint append_newline, size_t max_record_bytes, size_t max_request_bytes,
                  unsigned int n_arenas):
        if not SMALLEST_RECORD <= max_record_bytes <= max_request_bytes <= 0x7fffffff:
            raise ValueError(f"limits out of range: {max_record_bytes} bytes per record, "
                             f"{max_request_bytes} bytes per request")
        self.owned = (data_keys, path, log_key, time_key, time_format, subsecond_digits,
                      replace_dots)
        self.tail = tail
        self.pool = BatchPool(n_arenas)
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
        self.time_format.is_utc = is_utc
        self.check_time_format()

    def __dealloc__(self):
        free(self.names)

    cdef void set_names(self, tuple data_keys, tuple path) except *:
        cdef size_t n = 0
        self.names = <Text*> calloc(len(data_keys) + len(path) + 1, sizeof(Text))
        if self.names == NULL:
            raise MemoryError("out of memory for the names of keys")
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
            raise ValueError("the sub-second digits do not match the time format")
        if not measure_time(&self.time_format):
            raise ValueError("the time format yields an empty or too long text on this system")

    def requests(self, chunk, *, uint64_t now_ns, uint64_t seed, unsigned int max_lanes=1,
                 bytes settled=None, bint keep_skipped=False):
        """Return an iterator over the requests of a chunk.

        Args:
            chunk: a bytes-like object.
            now_ns: nanoseconds since 1970; the time of events that have none.
            seed: start of the random partition keys.
            max_lanes: with partition keys from the records, a hash of the key spreads the records
                over up to this many lanes (1 to 32), but not over more than there are full
                requests.
            settled: one bit per event, set if the event must not be sent: bit i % 8 of byte i // 8
                is event i. Events beyond the last byte are sent.
            keep_skipped: whether to keep what `take_skipped` returns.

        Raises:
            TypeError: the chunk is not bytes-like.
        """
        return RequestStream.__new__(RequestStream, self, chunk, now_ns, seed, max_lanes, settled,
                                     keep_skipped)

    def count(self, chunk, bytes settled=None):
        """Return the number of records in `chunk` that are not `settled`.

        Every event but a group marker counts as a record; a malformed tail counts as one record.
        """
        cdef RequestStream stream = RequestStream.__new__(RequestStream, self, chunk, 0, 0, 1,
                                                          settled, False)
        return stream.count_rest()

    def span(self, chunk, Py_ssize_t start):
        """Return the end of the event at offset `start` of `chunk`, and its time in ns or -1.

        Raises ValueError if there is no complete event at that offset.
        """
        cdef RequestStream stream = RequestStream.__new__(RequestStream, self, chunk, 0, 0, 1, None,
                                                          False)
        cdef Event event
        cdef Status status = STATUS_TRUNCATED
        cdef Py_ssize_t end
        if 0 <= start <= stream.chunk.len:
            stream.cursor.pos += start
            status = read_event(&stream.cursor, &event)
            if status == STATUS_OK:
                status = skip_value(&stream.cursor)
        end = stream.cursor.pos - stream.start
        stream.release_chunk()
        if status != STATUS_OK:
            raise ValueError(f"no complete event at byte {start}")
        return end, time_ns(event.has_time, event.time)


cdef object time_ns(bint has_time, Moment time):
    """Return nanoseconds since 1970, or -1. A Python int: from 2262 on 64 bits are not enough."""
    return <object> time.second * NANOSECONDS + time.nanosecond if has_time else -1


@cython.final
cdef class RequestStream:
    """Iterator over the requests of one chunk. It holds the chunk until it is exhausted or closed.

    `n_lanes` is the number of lanes, `n_open` the number of lanes that are collecting records,
    `n_events` the number of events read. Only one thread may call at a time: a call during another
    call raises RuntimeError.
    """

    def __cinit__(self, Encoder encoder not None, chunk, uint64_t now_ns, uint64_t seed,
                  unsigned int max_lanes, bytes settled, bint keep_skipped):
        if not 1 <= max_lanes <= MAX_LANES:
            raise ValueError(f"max_lanes is {max_lanes}; allowed: 1 to {MAX_LANES}")
        self.encoder = encoder
        self.now.second = now_ns // NANOSECONDS
        self.now.nanosecond = now_ns % NANOSECONDS
        self.random_state = seed
        self.settled = settled
        self.settled_bits = text_of(settled)
        self.keeps_skipped = keep_skipped
        if encoder.shape.time_key.data != NULL:
            if not open_times(&self.times, &encoder.time_format):
                raise MemoryError("out of memory for the texts of times")
        PyObject_GetBuffer(chunk, &self.chunk, PyBUF_SIMPLE)
        self.is_open = True
        self.start = <const uint8_t*> self.chunk.buf
        self.cursor.pos = self.start
        self.cursor.end = self.start + self.chunk.len
        with nogil:
            self.choose_lanes(max_lanes)

    def __dealloc__(self):
        self.release_chunk()
        self.drop_batches()
        buffer_free(&self.skipped)
        buffer_free(&self.no_record)
        close_times(&self.times)

    cdef void enter(self) except *:
        with cython.critical_section(self):
            if self.is_busy:
                raise RuntimeError("another thread is reading from this stream")
            self.is_busy = True

    cdef void leave(self) noexcept:
        with cython.critical_section(self):
            self.is_busy = False

    cdef void release_chunk(self) noexcept:
        """Release the chunk; nothing reads from it afterwards."""
        if self.is_open:
            self.is_open = False
            self.cursor.pos = self.cursor.end = self.start = NULL
            PyBuffer_Release(&self.chunk)
        buffer_free(&self.data)

    cdef void drop_batches(self) noexcept:
        cdef unsigned int lane
        for lane in range(MAX_LANES):
            if self.lanes[lane] != NULL:
                self.encoder.pool.give_back(self.lanes[lane])
                self.lanes[lane] = NULL
        self.n_open = 0

    cdef void choose_lanes(self, unsigned int max_lanes) noexcept nogil:
        """Set n_lanes: one per full request at most; one for random keys, which have no order."""
        cdef Cursor start = self.cursor
        cdef uint64_t n_full
        self.n_lanes = 1
        if max_lanes == 1 or self.encoder.shape.n_path == 0:
            return
        n_full = self.count_events(max_lanes * MAX_RECORDS_PER_REQUEST) // MAX_RECORDS_PER_REQUEST
        self.n_lanes = <unsigned int> max(1, min(n_full, max_lanes))
        self.cursor = start
        self.n_events = 0
        self.counts.resumed = 0

    def __iter__(self):
        return self

    def __next__(self):
        return self.take(MAX_LANES)

    def take(self, unsigned int max_open):
        """Return the next request; None if the next record needs more than `max_open` open lanes.

        Raises StopIteration at the end. After a MemoryError another call continues where this one
        stopped; the counters may already include the record that failed.
        """
        self.enter()
        try:
            return self.take_request(max_open)
        finally:
            self.leave()

    cdef Request take_request(self, unsigned int max_open):
        cdef Status status
        while self.is_open:
            with nogil:
                status = self.fill()
            if status == STATUS_NO_BATCH:
                if self.n_open >= max_open:
                    return None
                self.lanes[self.lane] = self.encoder.pool.take()
                self.n_open += 1
            elif status == STATUS_FULL:
                return self.close_lane(self.lane)
            elif status == STATUS_END:
                self.release_chunk()
            else:
                raise MemoryError("out of memory for a record")
        return self.close_any_lane()

    cdef Request close_any_lane(self):
        cdef int lane
        for lane in range(<int> self.n_lanes):
            if self.lanes[lane] != NULL:
                return self.close_lane(lane)
        raise StopIteration

    cdef Request close_lane(self, int lane):
        """Make a request of what a lane has collected."""
        cdef Batch* batch = self.lanes[lane]
        cdef unsigned int n_records = batch.n_entries
        cdef Request request
        if batch_finish(batch, text_of(self.encoder.tail)) != STATUS_OK:
            raise MemoryError(f"out of memory for a request of {n_records} records")
        batch.random_state = kf_next_random(&self.random_state)
        self.lanes[lane] = NULL
        self.n_open -= 1
        request = new_request(self.encoder.pool, self.encoder.tail, batch,
                              lane if self.encoder.shape.n_path else ANY_LANE)
        self.counts.records += n_records
        return request

    @property
    def is_exhausted(self):
        """Whether no request is left. False does not promise that there is another record."""
        return (self.n_open == 0 and not self.has_record
                and (not self.is_open or self.cursor.pos == self.cursor.end))

    def take_tally(self):
        """Return a Tally of what happened since the last call."""
        cdef Counts counts
        cdef Py_ssize_t malformed_at = -1
        self.enter()
        counts = self.counts
        memset(&self.counts, 0, sizeof(Counts))
        self.leave()
        if counts.skipped_malformed:
            malformed_at = <Py_ssize_t> self.malformed_at
        return Tally(
            counts.records, counts.skipped_not_map, counts.skipped_too_deep,
            counts.skipped_no_log_key, counts.skipped_bad_key, counts.skipped_malformed,
            malformed_at, counts.group_markers, counts.truncated, counts.bad_times,
            counts.nan_values, counts.random_keys, counts.no_data_keys, counts.resumed)

    def take_skipped(self):
        """Return the events skipped since the last call: a list of (reason, start, end, time_ns).

        `reason` is the name of a field of Tally, `start` and `end` are offsets in the chunk,
        `time_ns` is nanoseconds since 1970 or -1. The list is empty without `keep_skipped`.
        """
        cdef SkippedEvent* skipped
        cdef size_t i
        self.enter()
        try:
            skipped = <SkippedEvent*> self.skipped.data
            found = [
                (SKIP_NAMES[skipped[i].reason], skipped[i].start, skipped[i].end,
                 time_ns(skipped[i].has_time, skipped[i].time))
                for i in range(self.skipped.n // sizeof(SkippedEvent))
            ]
            self.skipped.n = 0
            return found
        finally:
            self.leave()

    def mark_skipped(self, bytearray bits not None):
        """Set the bit of each event read so far that makes no record.

        These are events that were skipped, group markers, and events that were settled before. Bit
        i % 8 of byte i // 8 is event i; `bits` grows where it is too short.
        """
        cdef size_t n_octets, i
        cdef uint8_t* octets
        self.enter()
        try:
            n_octets = min((<size_t> self.n_events + 7) >> 3, self.no_record.n)
            with cython.critical_section(bits):
                octets = octets_of(bits, n_octets)
                for i in range(n_octets):
                    octets[i] |= self.no_record.data[i]
        finally:
            self.leave()

    def count_rest(self):
        """Close the stream and return the number of records that are in no request yet.

        Settled records do not count here; the next tally has their number.
        """
        cdef uint64_t n = 0
        cdef unsigned int lane
        self.enter()
        try:
            for lane in range(self.n_lanes):
                n += self.lanes[lane].n_entries if self.lanes[lane] != NULL else 0
            with nogil:
                n += (1 if self.has_record else 0) + self.count_events(ALL)
            self.has_record = False
            self.drop_batches()
            self.release_chunk()
            return n
        finally:
            self.leave()

    def close(self):
        """Release the chunk and end the iteration. A second call does nothing."""
        self.enter()
        self.has_record = False
        self.drop_batches()
        self.release_chunk()
        self.leave()

    cdef Status fill(self) noexcept nogil:
        """Add records to their lanes until one is full, one lacks a batch, or the chunk ends."""
        cdef Status status
        cdef Batch* batch
        cdef Entry event
        cdef Text data, key
        while True:
            if not self.has_record:
                status = self.encode_next()
                if status != STATUS_OK:
                    return status
                self.lane = self.lane_of_record()
            batch = self.lanes[self.lane]
            if batch == NULL:
                return STATUS_NO_BATCH
            data.data, data.n = self.data.data, self.data.n
            key.data, key.n = self.key.data, self.key.n
            if data.n + key.n > self.encoder.max_request_bytes - batch.n_bytes:
                return STATUS_FULL
            event.event = self.n_events - 1
            event.event_at = self.event_at
            event.has_random_key = self.key_is_random
            status = batch_append(batch, data, key, &event)
            if status != STATUS_OK:
                return status
            self.has_record = False
            if batch.n_entries == MAX_RECORDS_PER_REQUEST:
                return STATUS_FULL

    cdef Status encode_next(self) noexcept nogil:
        """Encode events until one yields a record, or the chunk ends."""
        cdef Status status
        cdef Cursor start
        while True:
            if self.n_events >> 3 >= self.no_record.n and self.add_bits() != STATUS_OK:
                return STATUS_NO_MEMORY
            start = self.cursor
            self.event_at = <size_t> (start.pos - self.start)
            status = self.read_next_event()
            if status == STATUS_NO_MEMORY:
                self.cursor = start
                return status
            if status == STATUS_TRUNCATED:
                status = self.end_malformed()
            if status != STATUS_OK:
                return status
            if not self.has_record:
                self.no_record.data[self.n_events >> 3] |= <uint8_t> (1 << (self.n_events & 7))
            self.n_events += 1
            if self.has_record:
                return STATUS_OK

    cdef Status add_bits(self) noexcept nogil:
        """Make room for the bits of further events."""
        if buffer_reserve(&self.no_record, BITS_STEP) != STATUS_OK:
            return STATUS_NO_MEMORY
        memset(self.no_record.data + self.no_record.n, 0, BITS_STEP)
        self.no_record.n += BITS_STEP
        return STATUS_OK

    cdef Status read_next_event(self) noexcept nogil:
        """Step over the next event; if it yields a record, has_record is set."""
        cdef Event event
        cdef Status status = read_event(&self.cursor, &event)
        if status != STATUS_OK:
            return status
        if event.is_group_marker:
            status = skip_value(&self.cursor)
            self.counts.group_markers += status == STATUS_OK
        elif self.is_settled(self.n_events):
            status = skip_value(&self.cursor)
            self.counts.resumed += status == STATUS_OK
        else:
            status = self.encode_body(&event)
        return status

    cdef Status end_malformed(self) noexcept nogil:
        """Count the tail as one event and as one skipped record."""
        cdef Event event
        self.cursor.pos = self.cursor.end
        if self.is_settled(self.n_events):
            self.counts.resumed += 1
            return STATUS_OK
        event.has_time = False
        if self.keep_skipped(&event, STATUS_TRUNCATED) != STATUS_OK:
            self.cursor.pos = self.start + self.event_at
            return STATUS_NO_MEMORY
        self.counts.skipped_malformed += 1
        self.malformed_at = self.event_at
        return STATUS_OK

    cdef bint is_settled(self, uint32_t event) noexcept nogil:
        cdef size_t octet = event >> 3
        return (octet < self.settled_bits.n
                and self.settled_bits.data[octet] >> (event & 7) & 1)

    cdef Status keep_skipped(self, const Event* event, Status reason) noexcept nogil:
        """Keep the event between event_at and the cursor for `take_skipped`."""
        cdef SkippedEvent skipped
        if not self.keeps_skipped:
            return STATUS_OK
        if buffer_reserve(&self.skipped, sizeof(SkippedEvent)) != STATUS_OK:
            return STATUS_NO_MEMORY
        skipped.start = self.event_at
        skipped.end = <size_t> (self.cursor.pos - self.start)
        skipped.reason = reason
        skipped.time = event.time
        skipped.has_time = event.has_time
        memcpy(self.skipped.data + self.skipped.n, &skipped, sizeof(SkippedEvent))
        self.skipped.n += sizeof(SkippedEvent)
        return STATUS_OK

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
        return self.skip_body(body, event, status)

    cdef Status skip_body(self, Cursor body, const Event* event, Status reason) noexcept nogil:
        """Step over a body that yields no record, and count the reason."""
        self.cursor = body
        if skip_value(&self.cursor) != STATUS_OK:
            return STATUS_TRUNCATED
        if self.keep_skipped(event, reason) != STATUS_OK:
            return STATUS_NO_MEMORY
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
        self.key_is_random = self.key.n == 0
        if self.key_is_random:
            self.counts.random_keys += shape.n_path > 0
            random_key(&self.key, &self.random_state)

    cdef int lane_of_record(self) noexcept nogil:
        """Choose a lane by the hash of the key; a random key stays in an open last lane."""
        if self.n_lanes == 1:
            return 0
        if self.key_is_random and self.lanes[self.lane] != NULL:
            return self.lane
        return <int> (kf_hash(self.key.data, self.key.n) % self.n_lanes)

    cdef Status finish_record(self, const Found* found) noexcept nogil:
        if buffer_reserve(&self.data, KF_TRUNCATED_N + 1 + KF_SLACK) != STATUS_OK:
            return STATUS_NO_MEMORY
        self.truncate_record()
        if self.encoder.append_newline:
            self.data.data[self.data.n] = c"\n"
            self.data.n += 1
        self.counts.nan_values += found.nan_values
        self.counts.no_data_keys += found.no_data_keys
        self.has_record = True
        return STATUS_OK

    cdef void truncate_record(self) noexcept nogil:
        """Cut the data between two characters so that the record, with newline, keeps the limit."""
        cdef size_t room = self.encoder.max_record_bytes - self.key.n
        room -= 1 if self.encoder.append_newline else 0
        if self.data.n <= room:
            return
        self.data.n = kf_utf8_cut(self.data.data, room - KF_TRUNCATED_N, self.data.n)
        memcpy(self.data.data + self.data.n, kf_truncated, KF_TRUNCATED_N)
        self.data.n += KF_TRUNCATED_N
        self.counts.truncated += 1

    cdef uint64_t count_events(self, uint64_t most) noexcept nogil:
        """Return the number of records after the cursor, up to `most`; a malformed tail is one."""
        cdef Event event
        cdef uint64_t n = 0
        cdef Status status
        while n < most:
            status = read_event(&self.cursor, &event)
            if status == STATUS_OK:
                status = skip_value(&self.cursor)
            if status == STATUS_END:
                break
            if status != STATUS_OK:
                self.cursor.pos = self.cursor.end
                event.is_group_marker = False
            if not event.is_group_marker:
                if self.is_settled(self.n_events):
                    self.counts.resumed += 1
                else:
                    n += 1
            self.n_events += 1
        return n
