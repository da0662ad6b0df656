"""The buckets of partition keys: the first bits of the MD5 with which the service hashes keys."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from kinesis_fast._core.kernels cimport kernels, kf_md5_message


cdef extern from "kernels/bytes.hpp" nogil:
    uint32_t kf_load_u32(const uint8_t* p)


cdef extern from "kernels/hash.hpp" nogil:
    uint64_t kf_hash(const uint8_t* text, size_t n)


cdef inline KnownKey* place_of(KnownKeys* known, Text key) noexcept nogil:
    """Return where a key is remembered, if it is."""
    return &known.keys[kf_hash(key.data, key.n) % N_KNOWN_KEYS]


cdef void buckets_of(KnownKeys* known, unsigned int n_buckets, const Text* keys, unsigned int n,
                     unsigned int* buckets) noexcept nogil:
    """Tell the bucket of each of up to MAX_KEYS keys; what it tells of an empty one means nothing.

    The known keys must have been told with the same `n_buckets`, a power of two.
    """
    cdef kf_md5_message messages[MAX_KEYS]
    cdef uint8_t digests[MAX_KEYS][16]
    cdef KnownKey* places[MAX_KEYS]
    cdef unsigned int missing[MAX_KEYS]
    cdef unsigned int i, k, n_missing = 0
    for i in range(n):
        places[i] = place_of(known, keys[i])
        if places[i].n == keys[i].n and memcmp(places[i].text, keys[i].data, keys[i].n) == 0:
            buckets[i] = places[i].bucket
        elif keys[i].n:
            messages[n_missing].data = keys[i].data
            messages[n_missing].n = keys[i].n
            messages[n_missing].digest = digests[n_missing]
            missing[n_missing] = i
            n_missing += 1
    kernels.md5(messages, n_missing)
    for k in range(n_missing):
        i = missing[k]
        buckets[i] = <unsigned int> (<uint64_t> kf_load_u32(digests[k]) * n_buckets >> 32)
        if keys[i].n <= KNOWN_KEY_BYTES:
            memcpy(places[i].text, keys[i].data, keys[i].n)
            places[i].n = <uint8_t> keys[i].n
            places[i].bucket = <uint16_t> buckets[i]
