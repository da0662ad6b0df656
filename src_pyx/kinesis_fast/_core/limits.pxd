"""What the compiled code must know at compile time; limits.py has the sources, a test compares."""

cdef enum:
    MAX_RECORDS_PER_REQUEST = 500
    MAX_NESTING = 128
    MAX_KEY_UNITS = 256             # UTF-16 units of a partition key
    MAX_KEY_BYTES = 3 * MAX_KEY_UNITS
    RANDOM_KEY_LENGTH = 8
    MAX_LANES = 32                  # as many as there may be requests in flight
    MAX_ARENAS = 2 * MAX_LANES      # that wait to be used again, at most
