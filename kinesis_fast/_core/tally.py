"""Counters of what happened to the events of a chunk."""

from typing import NamedTuple


class Tally(NamedTuple):
    """Counts of events; the sum of `records`, all `skipped_*` and `resumed` is the records read."""

    records: int  # put into requests
    skipped_not_map: int  # the body of the event is not a map
    skipped_too_deep: int  # nested deeper than 128 levels
    skipped_no_log_key: int  # log_key is set and the record does not have that key
    skipped_bad_key: int  # a key that JSON cannot express: a map, an array, an unknown ext
    skipped_malformed: int  # 1 if the chunk ends with bytes that are not an event
    malformed_at: int  # byte offset of that tail in the chunk, or -1
    group_markers: int  # events that open or close a group; they are not records
    truncated: int  # records cut to the size limit
    bad_times: int  # records sent with the current time because their own is unusable
    nan_values: int  # NaN and infinities sent as null
    random_keys: int  # records without the configured partition key
    no_data_keys: int  # records without any of the data_keys
    resumed: int  # records left out because they were settled earlier

    @property
    def is_plain(self) -> bool:
        """Whether all counters but `records` are zero."""
        return self[1:] == _NOTHING_ELSE


_NOTHING_ELSE = (0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0)


class Packing(NamedTuple):
    """What records became on their way into requests."""

    entries: int  # an aggregate is one entry
    aggregates: int  # entries with more than one record
    record_bytes: int  # data and partition keys of the records, as they were encoded
    entry_bytes: int  # data and partition keys of the entries


NOTHING_PACKED = Packing(0, 0, 0, 0)
