"""The buckets of partition keys."""

from libc.stdint cimport uint8_t, uint16_t

from kinesis_fast._core.text cimport Text


cdef enum:
    MAX_KEYS = 8                # in one call
    N_KNOWN_KEYS = 256          # whose bucket is remembered
    KNOWN_KEY_BYTES = 61        # longer keys are not remembered


cdef struct KnownKey:
    uint8_t n                   # 0: none
    uint8_t text[KNOWN_KEY_BYTES]
    uint16_t bucket


cdef struct KnownKeys:
    KnownKey keys[N_KNOWN_KEYS]


cdef void buckets_of(KnownKeys* known, unsigned int n_buckets, const Text* keys, unsigned int n,
                     unsigned int* buckets) noexcept nogil
