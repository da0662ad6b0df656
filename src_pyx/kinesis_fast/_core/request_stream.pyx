"""Fills requests with the records of one chunk: one call per request, without the GIL."""

cimport cython
from libc.stdint cimport uint8_t
from libc.string cimport memset

from kinesis_fast._core.aggregator cimport (
    aggregator_add, aggregator_end_some, aggregator_entry, aggregator_entry_is_put, hash_key_of,
)
from kinesis_fast._core.batch cimport KEY_OF_RECORD, KEY_RANDOM
from kinesis_fast._core.limits cimport MAX_RECORDS_PER_REQUEST
from kinesis_fast._core.codec cimport CODEC_NONE
from kinesis_fast._core.read_ahead cimport (
    ahead_choose_slots, ahead_free, ahead_has_room, ahead_keep, ahead_n_waiting, ahead_take,
)
from kinesis_fast._core.record_compressor cimport give_back_compressor, take_compressor
from kinesis_fast._core.record_reader cimport Counts
from kinesis_fast._core.request cimport new_request
from kinesis_fast._core.status cimport (
    STATUS_ALONE, STATUS_END, STATUS_ENDED, STATUS_FULL, STATUS_FULL_NOW, STATUS_NO_BATCH,
    STATUS_NO_MEMORY, STATUS_OK, STATUS_PACK,
)
from kinesis_fast._core.text cimport Text, text_at

from kinesis_fast._core.tally import Packing, Tally


cdef extern from "kernels/hash.hpp" nogil:
    uint64_t kf_hash(const uint8_t* text, size_t n)


cdef extern from "kernels/random_key.hpp" nogil:
    uint64_t kf_next_random(uint64_t* state)


cdef enum:
    ANY_LANE = -1

cdef uint64_t ALL = <uint64_t> -1


@cython.final
cdef class RequestStream:
    """Iterator over the requests of one chunk. It holds the chunk until it is exhausted or closed.

    `n_lanes` is the number of lanes, `n_open` the number of lanes that are collecting entries. Only
    one thread may call at a time: a call during another call raises RuntimeError.
    """

    def __cinit__(self, Plan plan not None, chunk, uint64_t now_ns, uint64_t seed,
                  unsigned int max_lanes, bytes settled, bint keep_skipped, bint alone,
                  bint as_cbor):
        if not 1 <= max_lanes <= MAX_LANES:
            raise ValueError(f"max_lanes is {max_lanes}; allowed: 1 to {MAX_LANES}")
        self.plan = plan
        self.reader = RecordReader.__new__(RecordReader, plan, chunk, now_ns, seed, settled,
                                           keep_skipped)
        self.single.key.data = self.reader.key.data
        self.single.events = &self.reader.event
        self.single.n_events = 1
        self.is_alone = alone
        self.is_cbor = as_cbor
        if plan.aggregators is not None:
            self.aggregator = plan.aggregators.take()
        if plan.codec != CODEC_NONE:
            self.compressor = take_compressor(plan)
        with nogil:
            self.choose_lanes(max_lanes)

    def __dealloc__(self):
        self.drop()

    cdef void enter(self) except *:
        with cython.critical_section(self):
            if self.is_busy:
                raise RuntimeError("another thread is reading from this stream")
            self.is_busy = True

    cdef void leave(self) noexcept:
        with cython.critical_section(self):
            self.is_busy = False

    cdef void drop(self) noexcept:
        """Drop all that is in no request yet, and release the chunk."""
        cdef unsigned int lane
        for lane in range(MAX_LANES):
            if self.lanes[lane] != NULL:
                self.plan.pool.give_back(self.lanes[lane])
                self.lanes[lane] = NULL
        self.n_open = 0
        self.drop_rest()

    cdef void drop_rest(self) noexcept:
        """Release the chunk, and drop the records that are in no lane."""
        ahead_free(&self.ahead)
        if self.aggregator != NULL:
            self.plan.aggregators.give_back(self.aggregator)
            self.aggregator = NULL
        if self.compressor is not None:
            give_back_compressor(self.plan, self.compressor)
            self.compressor = None
        if self.reader is not None:
            self.reader.has_record = False
            self.reader.release_chunk()

    cdef void choose_lanes(self, unsigned int max_lanes) noexcept nogil:
        """Set n_lanes: one per full request at most; one for random keys, which have no order."""
        cdef uint64_t n_full
        self.n_lanes = 1
        if max_lanes == 1 or self.plan.shape.n_path == 0:
            return
        if self.aggregator != NULL:
            n_full = <uint64_t> self.reader.chunk.len // self.plan.max_request_bytes
        else:
            n_full = self.reader.count_ahead(max_lanes * MAX_RECORDS_PER_REQUEST)
            n_full //= MAX_RECORDS_PER_REQUEST
        self.n_lanes = <unsigned int> max(1, min(n_full, max_lanes))

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
        cdef Batch* batch = self.lanes[self.lane]
        if batch != NULL and batch.n_entries == MAX_RECORDS_PER_REQUEST:
            return self.close_lane(self.lane)   # there was no memory for that before
        while self.reader.is_open:
            with nogil:
                status = self.fill()
            if status == STATUS_NO_BATCH:
                if self.n_open >= max_open:
                    return None
                self.lanes[self.lane] = self.plan.pool.take(self.is_cbor)
                self.n_open += 1
            elif status == STATUS_FULL or status == STATUS_FULL_NOW:
                return self.close_lane(self.lane)
            elif status == STATUS_END:
                self.drop_rest()
            elif status == STATUS_PACK:
                self.compressor.call_zstd(self.reader, self.aggregator)
            elif self.compressor is not None:
                raise self.compressor.error()
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
        """Make a request of what a lane has collected; after a MemoryError it still has that."""
        cdef Batch* batch = self.lanes[lane]
        cdef Request request = new_request(self.plan.pool, NULL,
                                           lane if self.plan.shape.n_path else ANY_LANE)
        if self.plan.pool.finish(batch) != STATUS_OK:
            raise MemoryError(f"out of memory for a request of {batch.n_records} records")
        batch.random_state = kf_next_random(&self.reader.random_state)
        request.batch, request.is_cbor = batch, batch.is_cbor
        self.lanes[lane] = NULL
        self.n_open -= 1
        self.n_records += request.batch.n_records
        self.packing.entries += request.batch.n_entries
        self.packing.entry_bytes += request.batch.n_bytes
        if self.plan.aggregators is None and self.plan.codec == CODEC_NONE:
            self.packing.record_bytes += request.batch.n_bytes
        return request

    @property
    def n_events(self):
        """Number of events read."""
        return self.reader.n_events

    @property
    def is_exhausted(self):
        """Whether no request is left. False does not promise that there is another record."""
        return (self.n_open == 0 and not self.reader.has_record
                and ahead_n_waiting(&self.ahead) == 0
                and (self.aggregator == NULL or self.aggregator.n_records == 0)
                and (self.compressor is None or self.compressor.n_waiting() == 0)
                and (not self.reader.is_open or self.reader.cursor.pos == self.reader.cursor.end))

    def take_tally(self):
        """Return a Tally of what happened since the last call."""
        cdef Counts counts
        cdef Py_ssize_t malformed_at = -1
        self.enter()
        counts = self.reader.counts
        memset(&self.reader.counts, 0, sizeof(Counts))
        cdef uint64_t n_records = self.n_records
        self.n_records = 0
        self.leave()
        if counts.skipped_malformed:
            malformed_at = <Py_ssize_t> self.reader.malformed_at
        return tuple.__new__(Tally, (
            n_records, counts.skipped_not_map, counts.skipped_too_deep,
            counts.skipped_no_log_key, counts.skipped_bad_key, counts.skipped_malformed,
            malformed_at, counts.group_markers, counts.truncated, counts.bad_times,
            counts.nan_values, counts.random_keys, counts.no_data_keys, counts.resumed))

    def take_packing(self):
        """Return a Packing of the requests since the last call."""
        cdef PackingCounts counts
        self.enter()
        counts = self.packing
        memset(&self.packing, 0, sizeof(PackingCounts))
        self.leave()
        return tuple.__new__(Packing, (
            counts.entries, counts.aggregates, counts.record_bytes, counts.entry_bytes))

    def take_skipped(self):
        """Return the events skipped since the last call: a list of (reason, start, end, time_ns).

        `reason` is the name of a field of Tally, `start` and `end` are offsets in the chunk,
        `time_ns` is nanoseconds since 1970 or -1. The list is empty without `keep_skipped`.
        """
        self.enter()
        try:
            return self.reader.take_skipped()
        finally:
            self.leave()

    def mark_skipped(self, bytearray bits not None):
        """Set the bit of each event read so far that makes no record.

        These are events that were skipped, group markers, and events that were settled before. Bit
        i % 8 of byte i // 8 is event i; `bits` grows where it is too short.
        """
        self.enter()
        try:
            self.reader.mark_skipped(bits)
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
                n += self.lanes[lane].n_records if self.lanes[lane] != NULL else 0
            n += ahead_n_waiting(&self.ahead)
            n += self.aggregator.n_records if self.aggregator != NULL else 0
            n += self.compressor.n_waiting() if self.compressor is not None else 0
            with nogil:
                n += (1 if self.reader.has_record else 0) + self.reader.count_events(ALL)
            self.drop()
            return n
        finally:
            self.leave()

    def close(self):
        """Release the chunk and end the iteration. A second call does nothing."""
        self.enter()
        self.drop()
        self.leave()

    cdef Status fill(self) noexcept nogil:
        """Add records to their lanes until one is full, one lacks a batch, or the chunk ends."""
        if self.aggregator != NULL:
            return self.fill_aggregates()
        if self.plan.codec != CODEC_NONE:
            return self.fill_compressed()
        return self.fill_singles()

    cdef Status fill_singles(self) noexcept nogil:
        """Make an entry of each record."""
        cdef Status status
        while True:
            if not self.reader.has_record:
                status = self.reader.next_record()
                if status != STATUS_OK:
                    return status
                if self.n_lanes > 1:
                    self.lane = self.lane_of_record()
            status = self.put_record(NULL)
            if status != STATUS_OK:
                return status

    cdef Status fill_compressed(self) noexcept nogil:
        """Make an entry of each record, and compress its data before."""
        cdef Status status
        while True:
            if not self.reader.has_record:
                status = self.next_record()
                if status != STATUS_OK:
                    return status
                self.lane = self.lane_of_record()
            status = self.put_record(NULL)
            if status != STATUS_OK:
                return status

    cdef Status next_record(self) noexcept nogil:
        """Let the reader have the next record, compressed if it goes alone; count its bytes."""
        cdef Status status
        if self.plan.codec == CODEC_NONE or self.plan.joins:
            status = self.reader.next_record()
            if status == STATUS_OK:
                self.packing.record_bytes += self.reader.data.n + self.reader.key.n
            return status
        status = self.compressor.next_record(self.reader)
        if status == STATUS_OK:
            self.packing.record_bytes += self.compressor.raw_n + self.reader.key.n
        return status

    cdef Status fill_aggregates(self) noexcept nogil:
        """Add records to aggregates, and make entries of the aggregates that have ended."""
        cdef Status status
        while True:
            status = self.put_aggregates()
            if status != STATUS_OK:
                return status
            if not self.reader.has_record:
                status = self.next_in_slot()
                if status == STATUS_END:
                    status = aggregator_end_some(self.aggregator)
                    if status == STATUS_ENDED:
                        continue
                if status != STATUS_OK:
                    return status
            status = STATUS_ALONE
            if not self.is_alone and not self.is_packed:
                status = aggregator_add(self.aggregator, self.slot, self.data_of_record(),
                                        self.key_of_record(), self.reader.event)
            if status == STATUS_OK:
                self.reader.has_record = False
            elif status == STATUS_ALONE:
                status = self.put_alone()
                if status != STATUS_OK:
                    return status
            elif status != STATUS_ENDED:
                return status

    cdef Status next_in_slot(self) noexcept nogil:
        """Let the reader have the next record for the aggregator, and find its slot."""
        cdef Status status
        if self.plan.shape.n_path == 0:
            self.slot = self.aggregator.rules.n_buckets
            return self.next_record()
        if not self.ahead.is_ready:
            status = self.read_ahead()
            if status != STATUS_OK:
                return status
        self.slot = ahead_take(&self.ahead, self.reader)
        return STATUS_OK

    cdef Status read_ahead(self) noexcept nogil:
        """Read some records and find their slots; after a failure, another call goes on."""
        cdef Status status
        while ahead_has_room(&self.ahead):
            status = self.next_record()
            if status == STATUS_END and ahead_n_waiting(&self.ahead):
                break
            if status != STATUS_OK:
                return status
            ahead_keep(&self.ahead, self.reader)
        ahead_choose_slots(&self.ahead, self.aggregator)
        return STATUS_OK

    cdef Status put_alone(self) noexcept nogil:
        """Make an entry of a record beside the aggregates; compress it as they are."""
        cdef Status status
        if self.plan.codec != CODEC_NONE and self.plan.joins and not self.is_packed:
            status = self.compressor.compress_record(self.reader)
            if status != STATUS_OK:
                return status
            self.is_packed = True
        self.lane = <int> (self.slot % self.n_lanes)
        status = self.put_record(hash_key_of(self.aggregator, self.slot))
        if not self.reader.has_record:
            self.is_packed = False
        return status

    cdef Status put_aggregates(self) noexcept nogil:
        """Make entries of the aggregates that are sealed."""
        cdef NewEntry entry
        cdef Status status
        cdef unsigned int slot
        if self.plan.codec != CODEC_NONE and self.plan.joins:
            status = self.compressor.compress_joined(self.aggregator)
            if status != STATUS_OK:
                return status
        while aggregator_entry(self.aggregator, &entry, &slot):
            self.lane = <int> (slot % self.n_lanes)
            status = self.put(&entry)
            if status == STATUS_OK or status == STATUS_FULL_NOW:
                self.packing.aggregates += entry.n_events > 1
                aggregator_entry_is_put(self.aggregator)
            if status != STATUS_OK:
                return status
        return STATUS_OK

    cdef inline Text data_of_record(self) noexcept nogil:
        return text_at(self.reader.data.data, self.reader.data.n)

    cdef inline Text key_of_record(self) noexcept nogil:
        return text_at(self.reader.key.data, self.reader.key.n)

    cdef Status put_record(self, const Text* hash_key) noexcept nogil:
        """Make an entry of the record alone; `hash_key` may be NULL."""
        cdef Status status
        self.single.data = self.data_of_record()
        self.single.key.n = self.reader.key.n
        self.single.key_kind = KEY_RANDOM if self.reader.key_is_random else KEY_OF_RECORD
        if hash_key != NULL:
            self.single.hash_key = hash_key[0]
        status = self.put(&self.single)
        self.single.hash_key.n = 0
        if status == STATUS_OK or status == STATUS_FULL_NOW:
            self.reader.has_record = False
        return status

    cdef inline Status put(self, const NewEntry* entry) noexcept nogil:
        """Add an entry to the batch of `lane`."""
        cdef Batch* batch = self.lanes[self.lane]
        if batch == NULL:
            return STATUS_NO_BATCH
        if entry.data.n + entry.key.n > self.plan.max_request_bytes - batch.n_bytes:
            return STATUS_FULL
        if batch.append(batch, entry) != STATUS_OK:
            return STATUS_NO_MEMORY
        return STATUS_FULL_NOW if batch.n_entries == MAX_RECORDS_PER_REQUEST else STATUS_OK

    cdef int lane_of_record(self) noexcept nogil:
        """Choose a lane by the hash of the key; a random key stays in an open last lane."""
        if self.reader.key_is_random and self.lanes[self.lane] != NULL:
            return self.lane
        return <int> (kf_hash(self.reader.key.data, self.reader.key.n) % self.n_lanes)
