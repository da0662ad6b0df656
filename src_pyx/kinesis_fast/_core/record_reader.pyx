"""Reads the events of a chunk and makes a record of each, without the GIL."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcpy, memset

from kinesis_fast._core.buffer cimport buffer_free, buffer_reserve
from kinesis_fast._core.codec cimport CODEC_NONE
from kinesis_fast._core.cursor cimport skip_value
from kinesis_fast._core.events cimport read_event
from kinesis_fast._core.kernels cimport KF_SLACK
from kinesis_fast._core.partition_key cimport key_from_record, key_from_text, random_key
from kinesis_fast._core.request cimport octets_of
from kinesis_fast._core.shape cimport Shape, write_record
from kinesis_fast._core.status cimport (
    STATUS_BAD_KEY, STATUS_END, STATUS_NO_LOG_KEY, STATUS_NO_MEMORY, STATUS_NOT_MAP, STATUS_OK,
    STATUS_TOO_DEEP, STATUS_TRUNCATED,
)
from kinesis_fast._core.text cimport text_of
from kinesis_fast._core.times cimport close_times, open_times, render_time


cdef extern from "kernels/truncated.hpp" nogil:
    size_t KF_TRUNCATED_N
    size_t kf_truncate(uint8_t* out, const uint8_t* text, size_t n, size_t text_n)

cdef enum:
    NANOSECONDS = 1000000000
    BITS_STEP = 128             # bytes, for 1,024 events

SKIP_NAMES = {
    STATUS_NOT_MAP: "skipped_not_map",
    STATUS_TOO_DEEP: "skipped_too_deep",
    STATUS_BAD_KEY: "skipped_bad_key",
    STATUS_NO_LOG_KEY: "skipped_no_log_key",
    STATUS_TRUNCATED: "skipped_malformed",
}


cdef object time_ns(bint has_time, Moment time):
    """Return nanoseconds since 1970, or -1. A Python int: from 2262 on 64 bits are not enough."""
    return <object> time.second * NANOSECONDS + time.nanosecond if has_time else -1


@cython.final
cdef class RecordReader:
    """The records of one chunk, one after the other. It holds the chunk until it is released.

    Only one thread may use it at a time. `next_record` leaves a record in `data`, `key` and `event`
    and sets `has_record`; who takes the record clears it.
    """

    def __cinit__(self, Plan plan not None, chunk, uint64_t now_ns, uint64_t seed, bytes settled,
                  bint keeps_skipped):
        self.plan = plan
        self.now.second = now_ns // NANOSECONDS
        self.now.nanosecond = now_ns % NANOSECONDS
        self.random_state = seed
        self.settled = settled
        self.settled_bits = text_of(settled)
        self.keeps_skipped = keeps_skipped
        if plan.shape.time_key.data != NULL:
            if not open_times(&self.times, &plan.time_format):
                raise MemoryError("out of memory for the texts of times")
        PyObject_GetBuffer(chunk, &self.chunk, PyBUF_SIMPLE)
        self.is_open = True
        self.start = <const uint8_t*> self.chunk.buf
        self.cursor.pos = self.start
        self.cursor.end = self.start + self.chunk.len

    def __dealloc__(self):
        self.release_chunk()
        buffer_free(&self.skipped)
        buffer_free(&self.no_record)
        close_times(&self.times)

    cdef void release_chunk(self) noexcept:
        """Release the chunk and the record; nothing reads from them afterwards."""
        if self.is_open:
            self.is_open = False
            self.cursor.pos = self.cursor.end = self.start = NULL
            PyBuffer_Release(&self.chunk)
        buffer_free(&self.data)

    cdef list take_skipped(self):
        """Return the events skipped since the last call: (reason, start, end, time_ns) of each."""
        cdef SkippedEvent* skipped = <SkippedEvent*> self.skipped.data
        cdef size_t i
        found = [
            (SKIP_NAMES[skipped[i].reason], skipped[i].start, skipped[i].end,
             time_ns(skipped[i].has_time, skipped[i].time))
            for i in range(self.skipped.n // sizeof(SkippedEvent))
        ]
        self.skipped.n = 0
        return found

    cdef void mark_skipped(self, bytearray bits) except *:
        """Set the bit of each event read so far that makes no record."""
        cdef size_t i, n_octets = min((<size_t> self.n_events + 7) >> 3, self.no_record.n)
        cdef uint8_t* octets
        with cython.critical_section(bits):
            octets = octets_of(bits, n_octets)
            for i in range(n_octets):
                octets[i] |= self.no_record.data[i]

    cdef tuple span(self, Py_ssize_t start):
        """Return the end of the event at offset `start`, and its time in ns or -1; then close."""
        cdef Event event
        cdef Status status = STATUS_TRUNCATED
        cdef Py_ssize_t end
        if 0 <= start <= self.chunk.len:
            self.cursor.pos += start
            status = read_event(&self.cursor, &event)
            if status == STATUS_OK:
                status = skip_value(&self.cursor)
        end = self.cursor.pos - self.start
        self.release_chunk()
        if status != STATUS_OK:
            raise ValueError(f"no complete event at byte {start}")
        return end, time_ns(event.has_time, event.time)

    cdef uint64_t count_ahead(self, uint64_t most) noexcept nogil:
        """Return the number of records after the cursor, up to `most`, without moving it."""
        cdef Cursor start = self.cursor
        cdef uint32_t n_events = self.n_events
        cdef uint64_t resumed = self.counts.resumed
        cdef uint64_t n = self.count_events(most)
        self.cursor = start
        self.n_events = n_events
        self.counts.resumed = resumed
        return n

    cdef Status next_record(self) noexcept nogil:
        """Encode events until one yields a record, or the chunk ends."""
        cdef Status status
        cdef Cursor start
        while True:
            if self.n_events >> 3 >= self.no_record.n and self.add_bits() != STATUS_OK:
                return STATUS_NO_MEMORY
            start = self.cursor
            self.event.at = <size_t> (start.pos - self.start)
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
                self.event.index = self.n_events - 1
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
            self.cursor.pos = self.start + self.event.at
            return STATUS_NO_MEMORY
        self.counts.skipped_malformed += 1
        self.malformed_at = self.event.at
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
        skipped.start = self.event.at
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
        cdef bint has_time_key = self.plan.shape.time_key.data != NULL
        time.data = NULL
        time.n = 0
        if has_time_key:
            time = render_time(&self.plan.time_format, &self.times,
                               event.time if event.has_time else self.now)
        self.data.n = 0
        status = write_record(&self.plan.shape, &self.cursor, time, &self.data, &found)
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
        cdef const Shape* shape = &self.plan.shape
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

    cdef Status finish_record(self, const Found* found) noexcept nogil:
        if buffer_reserve(&self.data, KF_TRUNCATED_N + 1 + KF_SLACK) != STATUS_OK:
            return STATUS_NO_MEMORY
        self.truncate_record()
        if self.plan.append_newline:
            self.data.data[self.data.n] = c"\n"
            self.data.n += 1
        self.counts.nan_values += found.nan_values
        self.counts.no_data_keys += found.no_data_keys
        self.has_record = True
        return STATUS_OK

    cdef void truncate_record(self) noexcept nogil:
        """Cut the data between two characters so that the record, with newline, keeps the limit.

        A record that will be compressed is cut later, if it is too large then.
        """
        cdef size_t room = self.plan.max_record_bytes - self.key.n
        room -= 1 if self.plan.append_newline else 0
        if self.data.n <= room or self.plan.codec != CODEC_NONE:
            return
        self.data.n = kf_truncate(self.data.data, self.data.data, room - KF_TRUNCATED_N,
                                  self.data.n)
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
