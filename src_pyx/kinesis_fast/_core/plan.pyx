"""Checks the arguments of an encoder, and keeps them in the form that the other modules use."""

cimport cython
from libc.stdlib cimport calloc, free

from kinesis_fast._core.aggregate cimport FORMAT_LINES, FORMAT_NONE, Format
from kinesis_fast._core.aggregator cimport MAX_BUCKETS, Aggregation
from kinesis_fast._core.codec cimport CODEC_NONE, CODECS, CodecKind
from kinesis_fast._core.shape cimport finish_shape
from kinesis_fast._core.text cimport text_of
from kinesis_fast._core.times cimport MAX_SUBSECONDS, measure_time

cdef enum:
    SMALLEST_RECORD = 1024      # fits the longest partition key, the suffix and a newline
    MAX_HASH_KEY_DIGITS = 39    # of a number of 128 bits

cdef tuple FORMATS = ("none", "kpl", "lines")   # in the order of Format


@cython.no_gc
cdef class Plan:
    """The arguments of an encoder, checked.

    Args:
        tail: the end of every JSON body, `],"StreamName":"..."}`.
        cbor_tail: the same of a CBOR body, two texts of CBOR.
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
        aggregation: "none"; "kpl" joins records in the format of the Kinesis Producer Library,
            "lines" one after the other. With "lines" each record ends with a newline.
        max_aggregate_bytes: limit for data plus partition key of an aggregate; with aggregation.
        hash_keys: an explicit hash key for each bucket of partition keys, as decimal digits: the
            middle of the bucket. Their number is a power of two up to 1024. () with aggregation
            lets each aggregate have a random partition key.
        codec: "none", "gzip", "zlib", "snappy" or "zstd": what compresses each record, or with
            "lines" the joined ones.
        level: of gzip and zlib, 0 to 9.
        new_zstd: for zstd, returns an object like kinesis_fast.compression.Zstd.
        n_arenas: how many batches to keep for reuse after their requests are released.

    Raises:
        ValueError: a size, the number of hash keys or the time format is out of range.
    """

    def __cinit__(self, *, bytes tail not None, bytes cbor_tail not None,
                  tuple data_keys not None, tuple path not None, bytes log_key, bytes time_key,
                  bytes time_format not None, bytes subsecond_digits not None, bint is_utc,
                  bytes replace_dots, bint append_newline,
                  size_t max_record_bytes, size_t max_request_bytes,
                  str aggregation not None, size_t max_aggregate_bytes, tuple hash_keys not None,
                  str codec not None, int level, new_zstd, unsigned int n_arenas):
        if not SMALLEST_RECORD <= max_record_bytes <= max_request_bytes <= 0x7fffffff:
            raise ValueError(f"limits out of range: {max_record_bytes} bytes per record, "
                             f"{max_request_bytes} bytes per request")
        self.owned = (data_keys, path, log_key, time_key, time_format, subsecond_digits,
                      replace_dots, hash_keys)
        self.pool = BatchPool(n_arenas, tail, cbor_tail)
        self.append_newline = append_newline
        self.max_record_bytes = max_record_bytes
        self.max_request_bytes = max_request_bytes
        self.set_names(data_keys, path, hash_keys)
        self.set_codec(codec, level, new_zstd, aggregation == "lines")
        self.set_aggregation(aggregation, max_aggregate_bytes)
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

    cdef void set_names(self, tuple data_keys, tuple path, tuple hash_keys) except *:
        cdef size_t n = 0
        self.names = <Text*> calloc(len(data_keys) + len(path) + len(hash_keys) + 1, sizeof(Text))
        if self.names == NULL:
            raise MemoryError("out of memory for the names of keys")
        for name in data_keys + path + hash_keys:
            self.names[n] = text_of(name)
            n += 1
        self.shape.data_keys = self.names
        self.shape.n_data_keys = len(data_keys)
        self.shape.path = self.names + len(data_keys)
        self.shape.n_path = len(path)

    cdef void set_codec(self, str codec, int level, new_zstd, bint joins) except *:
        if codec not in CODECS:
            raise ValueError(f"codec is {codec!r}; allowed: {', '.join(CODECS)}")
        if not 0 <= level <= 9:
            raise ValueError(f"level is {level}; allowed: 0 to 9")
        self.codec = <CodecKind> <int> CODECS.index(codec)
        self.joins = joins
        if self.codec != CODEC_NONE:
            self.compression = (codec, level, new_zstd)
            self.compressors = []

    cdef void set_aggregation(self, str aggregation, size_t max_aggregate_bytes) except *:
        cdef Aggregation rules
        cdef tuple hash_keys = self.owned[7]
        if aggregation not in FORMATS:
            raise ValueError(f"aggregation is {aggregation!r}; allowed: {', '.join(FORMATS)}")
        rules.format = <Format> <int> FORMATS.index(aggregation)
        if rules.format == FORMAT_NONE:
            return
        rules.max_bytes = max_aggregate_bytes
        rules.hash_keys = self.shape.path + self.shape.n_path
        rules.n_buckets = len(hash_keys)
        if rules.n_buckets > MAX_BUCKETS or rules.n_buckets & (rules.n_buckets - 1):
            raise ValueError(f"{rules.n_buckets} hash keys; allowed: a power of two up to "
                             f"{MAX_BUCKETS}")
        if any(not key.isdigit() or len(key) > MAX_HASH_KEY_DIGITS for key in hash_keys):
            raise ValueError("a hash key is not a number of 128 bits in decimal digits")
        if not 0 < rules.max_bytes <= self.max_record_bytes:
            raise ValueError(f"{rules.max_bytes} bytes per aggregate, "
                             f"{self.max_record_bytes} bytes per record")
        self.append_newline |= rules.format == FORMAT_LINES
        if self.codec != CODEC_NONE and self.joins:     # what cannot be compressed gets longer
            rules.max_bytes = min(rules.max_bytes, self.max_record_bytes * 31 // 32 - 64)
        self.aggregators = AggregatorPool()
        self.aggregators.rules = rules

    cdef void check_time_format(self) except *:
        digits, marks = self.owned[5], self.owned[4].count(b"\x01")
        if len(digits) > MAX_SUBSECONDS or sum(digits) != marks or max(digits, default=0) > 9:
            raise ValueError("the sub-second digits do not match the time format")
        if not measure_time(&self.time_format):
            raise ValueError("the time format yields an empty or too long text on this system")
