"""The counters of an output as numbers of C: a change is never seen half, whatever raises.

A change first reads all that it is given, which may raise, and then adds, which cannot: nothing of
Python runs in between, no signal handler and no other thread.
"""

cimport cython


cdef enum:
    MAX_COUNTERS = 64


cdef struct Change:
    unsigned int index
    long long by


cdef class Book:
    """Counters that change together.

    Args:
        names: of the counters, at most 64. `in` and `pending` are among them, and so are those that
            each request changes: `requests`, `retried`, `delivered`, `bytes_delivered`, and the
            fields of a Packing.
    """

    cdef long long counts[MAX_COUNTERS]
    cdef tuple names
    cdef dict index_of
    cdef unsigned int incoming
    cdef unsigned int pending
    cdef unsigned int requests
    cdef unsigned int retried
    cdef unsigned int acknowledged
    cdef unsigned int acknowledged_bytes
    cdef unsigned int packing[4]

    def __cinit__(self, tuple names not None):
        if len(names) > MAX_COUNTERS:
            raise ValueError(f"{len(names)} counters; allowed: up to {MAX_COUNTERS}")
        self.names = names
        self.index_of = {name: index for index, name in enumerate(names)}
        self.incoming = self.index_of["in"]
        self.pending = self.index_of["pending"]
        self.requests = self.index_of["requests"]
        self.retried = self.index_of["retried"]
        self.acknowledged = self.index_of["delivered"]
        self.acknowledged_bytes = self.index_of["bytes_delivered"]
        for index, name in enumerate(("entries", "aggregates", "record_bytes", "entry_bytes")):
            self.packing[<int> index] = self.index_of[name]

    def values(self):
        """Return a dict of all counters, as they were at one moment."""
        cdef long long counts[MAX_COUNTERS]
        with cython.critical_section(self):
            counts = self.counts
        return {name: counts[<int> index] for index, name in enumerate(self.names)}

    def value(self, str name not None):
        """Return one counter.

        Raises:
            KeyError: there is none of this name.
        """
        cdef unsigned int index = self.index_of[name]
        with cython.critical_section(self):
            return self.counts[index]

    def add(self, dict changes not None, Share share=None):
        """Change counters, and the share that a chunk has in them, in one step.

        Args:
            changes: what to add, by name.
            share: of the chunk; None if it is not about one.

        Raises:
            KeyError: there is no counter of this name.
            ValueError: there are more changes than counters.
        """
        cdef Change read[MAX_COUNTERS]
        cdef unsigned int n = 0
        cdef unsigned int i
        for name, by in changes.items():
            if n == MAX_COUNTERS:  # even if reading a number runs code that changes `changes`
                raise ValueError("more changes than counters")
            read[n].index = self.index_of[name]
            read[n].by = by
            n += 1
        if share is None:
            with cython.critical_section(self):
                for i in range(n):
                    self.counts[read[i].index] += read[i].by
            return
        with cython.critical_section(self, share):
            for i in range(n):
                self.counts[read[i].index] += read[i].by
                if read[i].index == self.incoming:
                    share.n_in += read[i].by
                elif read[i].index == self.pending:
                    share.n_pending += read[i].by


cdef class Share:
    """The share of one chunk in the counters.

    Args:
        book: the counters.

    Attributes:
        n_in: records of the chunk that `in` counts.
        n_pending: records of the chunk that `pending` counts.
        is_taken_over: whether these were counted all at once; otherwise when they are encoded.
    """

    cdef Book book
    cdef public long long n_in
    cdef public long long n_pending
    cdef public bint is_taken_over

    def __cinit__(self, Book book not None):
        self.book = book

    def add(self, dict changes not None):
        """Change counters and this share in one step; see Book.add."""
        self.book.add(changes, self)

    def encoded(self, long long n_records, packing not None=(0, 0, 0, 0)):
        """Count records that the encoder put into requests.

        Args:
            n_records: how many.
            packing: a Packing; nothing by default.
        """
        cdef Book book = self.book
        cdef long long packed[4]
        cdef long long n_new
        cdef int i
        for i in range(4):
            packed[i] = packing[i]
        with cython.critical_section(book, self):
            n_new = 0 if self.is_taken_over else n_records
            book.counts[book.incoming] += n_new
            book.counts[book.pending] += n_new
            self.n_in += n_new
            self.n_pending += n_new
            for i in range(4):
                book.counts[book.packing[i]] += packed[i]

    def attempted(self, long long n_resent):
        """Count a request that goes out, with so many records that were sent before."""
        cdef Book book = self.book
        with cython.critical_section(book):
            book.counts[book.requests] += 1
            book.counts[book.retried] += n_resent

    def delivered(self, long long n_records, long long n_bytes):
        """Count pending records that were acknowledged."""
        cdef Book book = self.book
        with cython.critical_section(book, self):
            book.counts[book.pending] -= n_records
            self.n_pending -= n_records
            book.counts[book.acknowledged] += n_records
            book.counts[book.acknowledged_bytes] += n_bytes
