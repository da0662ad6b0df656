"""What happened to the events of a chunk, counted."""

from typing import NamedTuple


class Tally(NamedTuple):
    """Counts of events; `records`, all `skipped_*` and `resumed` together are the records read."""

    records: int  # put into requests
    skipped_not_map: int  # the body of the event is no map
    skipped_too_deep: int  # nested deeper than 128 levels
    skipped_no_log_key: int  # log_key is set and the record has no such key
    skipped_bad_key: int  # a key that JSON has no text for: a map, an array, an unknown ext
    skipped_malformed: int  # 1 if the chunk ends in bytes that are no event
    malformed_at: int  # byte offset of that tail in the chunk, or -1
    group_markers: int  # events that open or close a group; they are no records
    truncated: int  # records cut to the size limit
    bad_times: int  # records that got the current time, their own being unusable
    nan_values: int  # NaN and infinities sent as null
    random_keys: int  # records without the configured partition key
    resumed: int  # records left out because they were settled before

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to tell but the number of records."""
        return self[1:] == _NOTHING_ELSE


_NOTHING_ELSE = (0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0)
