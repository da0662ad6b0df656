"""Encodes chunks into requests, with no Python object per record."""

cimport cython
from libc.stdint cimport uint64_t

from kinesis_fast._core.plan cimport Plan
from kinesis_fast._core.record_reader cimport RecordReader
from kinesis_fast._core.request_stream cimport RequestStream


@cython.final
@cython.no_gc
cdef class Encoder(Plan):
    """Encodes chunks with a fixed set of options; any number of threads may share one.

    Its arguments are those of Plan.
    """

    def requests(self, chunk, *, uint64_t now_ns, uint64_t seed, unsigned int max_lanes=1,
                 bytes settled=None, bint keep_skipped=False, bint alone=False,
                 bint as_cbor=False):
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
            alone: whether each record becomes an entry of its own, though the encoder aggregates.
            as_cbor: whether the bodies are CBOR; otherwise they are JSON.

        Raises:
            TypeError: the chunk is not bytes-like.
        """
        return RequestStream.__new__(RequestStream, self, chunk, now_ns, seed, max_lanes, settled,
                                     keep_skipped, alone, as_cbor)

    def count(self, chunk, bytes settled=None):
        """Return the number of records in `chunk` that are not `settled`.

        Every event but a group marker counts as a record; a malformed tail counts as one record.
        """
        cdef RecordReader reader = self.reader_of(chunk, settled)
        cdef uint64_t n
        with nogil:
            n = reader.count_events(<uint64_t> -1)
        reader.release_chunk()
        return n

    def span(self, chunk, Py_ssize_t start):
        """Return the end of the event at offset `start` of `chunk`, and its time in ns or -1.

        Raises ValueError if there is no complete event at that offset.
        """
        return self.reader_of(chunk, None).span(start)

    cdef RecordReader reader_of(self, chunk, bytes settled):
        return RecordReader.__new__(RecordReader, self, chunk, 0, 0, settled, False)
