"""Limits needed at compile time. limits.py names their sources; a test compares the two files."""

cdef enum:
    MAX_RECORDS_PER_REQUEST = 500
    MAX_NESTING = 128
    MAX_KEY_UNITS = 256             # UTF-16 units of a partition key
    MAX_KEY_BYTES = 3 * MAX_KEY_UNITS
    RANDOM_KEY_LENGTH = 8
    MAX_LANES = 32                  # equals the highest number of requests in flight
    MAX_ARENAS = 2 * MAX_LANES      # batches kept for reuse
