cdef enum Status:
    STATUS_OK
    STATUS_END          # nothing is left to read
    STATUS_TRUNCATED    # the bytes end early or are no msgpack
    STATUS_NOT_MAP      # the body of an event is no map
    STATUS_TOO_DEEP     # nested deeper than MAX_NESTING
    STATUS_BAD_KEY      # a map or an array as a map key, which JSON has no text for
    STATUS_NO_LOG_KEY   # log_key is set and the record has no such key
    STATUS_NO_MEMORY
    STATUS_FULL         # a request takes no further record
    STATUS_NO_BATCH     # a lane collects no records yet
