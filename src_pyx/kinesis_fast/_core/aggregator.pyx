"""Distributes records over aggregates, and hands over those that are ready for a request.

A record belongs to a slot: the bucket of its partition key, or the slot for random keys. A bucket
is a range of the hash keys of the stream. Its records, aggregated or alone, go out with the middle
of that range as their ExplicitHashKey. So all producers send a key to the same shard, and every
reader finds the records of an aggregate in the shard that they hash to.

An aggregate of a slot is open until the next record does not fit. It then ends, and waits until
N_ENDED of them can be sealed together: the MD5s of several aggregates take little longer than one.
Aggregates of a slot end, and are handed over, in the order of their records.
"""

cimport cython
from libc.stdlib cimport calloc, free

from kinesis_fast._core.aggregate cimport (
    Addition, aggregate_add, aggregate_entry, aggregate_free, aggregate_measure,
    aggregate_new, aggregate_open, aggregate_seal,
)
from kinesis_fast._core.buckets cimport buckets_of
from kinesis_fast._core.kernels cimport kernels, kf_md5_message
from kinesis_fast._core.status cimport (
    STATUS_ALONE, STATUS_END, STATUS_ENDED, STATUS_NO_MEMORY, STATUS_OK,
)


cdef enum:
    MAX_OPEN_BYTES = 4194304    # above that the largest open aggregate ends
    MAX_SPARE_BYTES = 8388608   # that an aggregator keeps when it is not in use


@cython.final
@cython.no_gc
cdef class AggregatorPool:
    """Keeps a few aggregators for reuse, because fresh memory costs page faults."""

    def __dealloc__(self):
        while self.n_kept:
            self.n_kept -= 1
            aggregator_free(self.kept[self.n_kept])

    cdef Aggregator* take(self) except NULL:
        """Return an empty aggregator, reused or new; raises MemoryError."""
        cdef Aggregator* aggregator = NULL
        with cython.critical_section(self):
            if self.n_kept:
                self.n_kept -= 1
                aggregator = self.kept[self.n_kept]
        if aggregator == NULL:
            aggregator = <Aggregator*> calloc(1, sizeof(Aggregator))
        if aggregator == NULL:
            raise MemoryError("out of memory for aggregates")
        aggregator.rules = self.rules
        return aggregator

    cdef void give_back(self, Aggregator* aggregator) noexcept:
        """Take ownership of an aggregator, and drop its records; NULL is allowed."""
        if aggregator == NULL:
            return
        clear(aggregator)
        with cython.critical_section(self):
            if self.n_kept < MAX_KEPT:
                self.kept[self.n_kept] = aggregator
                self.n_kept += 1
                aggregator = NULL
        aggregator_free(aggregator)


cdef void aggregator_free(Aggregator* aggregator) noexcept nogil:
    """Free an aggregator without open or ended aggregates; NULL is allowed."""
    if aggregator != NULL:
        free_spare(aggregator, 0)
        free(aggregator)


cdef void free_spare(Aggregator* aggregator, size_t most) noexcept nogil:
    """Free spare aggregates until the rest has at most `most` bytes."""
    cdef Aggregate** link = &aggregator.spare
    cdef Aggregate* aggregate
    cdef size_t n_bytes = 0
    while link[0] != NULL:
        aggregate = link[0]
        n_bytes += (sizeof(Aggregate) + aggregate.body.capacity + aggregate.keys.capacity
                    + aggregate.events.capacity)
        if n_bytes <= most:
            link = &aggregate.next
        else:
            link[0] = aggregate.next
            aggregate_free(aggregate)


cdef void set_aside(Aggregator* aggregator, Aggregate* aggregate) noexcept nogil:
    aggregate.next = aggregator.spare
    aggregator.spare = aggregate


cdef void clear(Aggregator* aggregator) noexcept nogil:
    """Drop all records; much memory is given back."""
    cdef unsigned int i
    for i in range(aggregator.n_put, aggregator.n_ended):
        set_aside(aggregator, aggregator.ended[i])
    for i in range(aggregator.rules.n_buckets + 1):
        if aggregator.opened[i] != NULL:
            set_aside(aggregator, aggregator.opened[i])
            aggregator.opened[i] = NULL
    aggregator.n_ended = aggregator.n_put = aggregator.n_compressed = 0
    aggregator.is_sealed = False
    aggregator.n_open_bytes = 0
    aggregator.n_records = 0
    free_spare(aggregator, MAX_SPARE_BYTES)


cdef void slots_of(Aggregator* aggregator, const Text* keys, unsigned int n,
                   unsigned int* slots) noexcept nogil:
    """Tell the slots for records with these partition keys; an empty one stands for a random key.

    At most MAX_KEYS at a time.
    """
    cdef unsigned int i, n_buckets = aggregator.rules.n_buckets
    if n_buckets:
        buckets_of(&aggregator.known, n_buckets, keys, n, slots)
    for i in range(n):
        if n_buckets == 0 or keys[i].n == 0:
            slots[i] = n_buckets


cdef const Text* hash_key_of(const Aggregator* aggregator, unsigned int slot) noexcept nogil:
    """Return the explicit hash key of a slot, NULL if its keys are random."""
    if slot < aggregator.rules.n_buckets:
        return &aggregator.rules.hash_keys[slot]
    return NULL


cdef Aggregate* opened_at(Aggregator* aggregator, unsigned int slot) noexcept nogil:
    """Return the open aggregate of a slot, a new one if there is none, or NULL."""
    cdef Aggregate* aggregate = aggregator.opened[slot]
    cdef const Text* hash_key = hash_key_of(aggregator, slot)
    if aggregate != NULL:
        return aggregate
    aggregate = aggregator.spare
    if aggregate != NULL:
        aggregator.spare = aggregate.next
    else:
        aggregate = aggregate_new()
        if aggregate == NULL:
            return NULL
    aggregate_open(aggregate, aggregator.rules.format, slot, hash_key)
    aggregator.opened[slot] = aggregate
    aggregator.n_open_bytes += aggregate.n_bytes
    return aggregate


cdef void end_slot(Aggregator* aggregator, unsigned int slot) noexcept nogil:
    """Let the open aggregate of a slot end, for which there must be room."""
    cdef Aggregate* aggregate = aggregator.opened[slot]
    aggregator.opened[slot] = NULL
    aggregator.n_open_bytes -= aggregate.n_bytes
    if aggregate.n_records == 0:
        set_aside(aggregator, aggregate)
        return
    aggregator.ended[aggregator.n_ended] = aggregate
    aggregator.n_ended += 1


cdef bint has_ended(const Aggregator* aggregator, unsigned int slot) noexcept nogil:
    """Tell whether an aggregate of a slot waits to be sealed."""
    cdef unsigned int i
    for i in range(aggregator.n_ended):
        if aggregator.ended[i].slot == slot:
            return True
    return False


cdef void end_largest(Aggregator* aggregator) noexcept nogil:
    cdef unsigned int slot, largest = 0
    cdef size_t n_bytes = 0
    for slot in range(aggregator.rules.n_buckets + 1):
        if aggregator.opened[slot] != NULL and aggregator.opened[slot].n_bytes > n_bytes:
            n_bytes = aggregator.opened[slot].n_bytes
            largest = slot
    if n_bytes:
        end_slot(aggregator, largest)


cdef void seal(Aggregator* aggregator) noexcept nogil:
    """Make the ended aggregates ready for a request."""
    cdef kf_md5_message digests[N_ENDED]
    cdef unsigned int i, n = 0
    for i in range(aggregator.n_ended):
        n += aggregate_seal(aggregator.ended[i], &digests[n])
    kernels.md5(digests, n)
    aggregator.is_sealed = True


cdef Status aggregator_add(Aggregator* aggregator, unsigned int slot, Text data, Text key,
                           EventRef event) noexcept nogil:
    """Add a record to the aggregate of its slot; no aggregate may be sealed.

    STATUS_ENDED: nothing was added; put what is sealed, then add the record again. STATUS_ALONE:
    the record is larger than an aggregate, and nothing of its slot is left before it.
    """
    cdef Aggregate* aggregate = opened_at(aggregator, slot)
    cdef Addition addition
    if aggregate == NULL:
        return STATUS_NO_MEMORY
    aggregate_measure(aggregate, data, key, &addition)
    if aggregate.n_records and aggregate.n_bytes + addition.n_bytes > aggregator.rules.max_bytes:
        end_slot(aggregator, slot)
        if aggregator.n_ended < N_ENDED:
            return aggregator_add(aggregator, slot, data, key, event)
        seal(aggregator)
        return STATUS_ENDED
    if aggregate.n_bytes + addition.n_bytes > aggregator.rules.max_bytes:
        end_slot(aggregator, slot)
        if not has_ended(aggregator, slot):
            return STATUS_ALONE
        seal(aggregator)
        return STATUS_ENDED
    if aggregate_add(aggregate, data, key, event, &addition) != STATUS_OK:
        return STATUS_NO_MEMORY
    aggregator.n_records += 1
    aggregator.n_open_bytes += addition.n_bytes
    if aggregator.n_open_bytes > MAX_OPEN_BYTES:
        end_largest(aggregator)
    if aggregator.n_ended == N_ENDED:
        seal(aggregator)
    return STATUS_OK


cdef Status aggregator_end_some(Aggregator* aggregator) noexcept nogil:
    """Let the next few aggregates end; STATUS_ENDED: put what is sealed; STATUS_END: none is left.

    For the end of a chunk. No aggregate may be sealed.
    """
    cdef unsigned int slot
    for slot in range(aggregator.rules.n_buckets + 1):
        if aggregator.opened[slot] != NULL and aggregator.n_ended < N_ENDED:
            end_slot(aggregator, slot)
    if aggregator.n_ended == 0:
        return STATUS_END
    seal(aggregator)
    return STATUS_ENDED


cdef bint aggregator_entry(Aggregator* aggregator, NewEntry* entry,
                           unsigned int* slot) noexcept nogil:
    """Describe the next sealed aggregate; returns whether there is one."""
    cdef Aggregate* aggregate
    if not aggregator.is_sealed:
        return False
    aggregate = aggregator.ended[aggregator.n_put]
    aggregate_entry(aggregate, entry)
    slot[0] = aggregate.slot
    return True


cdef void aggregator_entry_is_put(Aggregator* aggregator) noexcept nogil:
    """Drop the aggregate that `aggregator_entry` described: it is in a request."""
    cdef Aggregate* aggregate = aggregator.ended[aggregator.n_put]
    aggregator.n_records -= aggregate.n_records
    set_aside(aggregator, aggregate)
    aggregator.n_put += 1
    if aggregator.n_put == aggregator.n_ended:
        aggregator.n_ended = aggregator.n_put = aggregator.n_compressed = 0
        aggregator.is_sealed = False
