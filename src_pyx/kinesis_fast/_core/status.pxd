cdef enum Status:
    STATUS_OK
    STATUS_END          # nothing is left to read
    STATUS_TRUNCATED    # the bytes end early or are not msgpack
    STATUS_NOT_MAP      # the body of an event is not a map
    STATUS_TOO_DEEP     # nested deeper than MAX_NESTING
    STATUS_BAD_KEY      # a map key that JSON cannot express, such as a map or an array
    STATUS_NO_LOG_KEY   # log_key is set and the record does not have that key
    STATUS_NO_MEMORY
    STATUS_FULL         # the next entry does not fit into this request
    STATUS_FULL_NOW     # the entry was added, and the request takes no other
    STATUS_ALONE        # the record does not fit into an aggregate
    STATUS_ENDED        # aggregates are ready to be put into a request
    STATUS_PACK         # records wait for a call into Python that compresses them
    STATUS_NO_BATCH     # the lane has no batch to collect records in
