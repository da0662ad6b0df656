"""The account: in = delivered + skipped + dead + pending + returned, at any moment.

What `Stats.snapshot` counts, all of it since the output was made:

=====================  ============================================================================
in                     records of the chunks; as far as a chunk was read while its flush goes on
delivered              acknowledged by the service
skipped                cannot be sent, by reason:
skipped_not_map        the event's body is no map
skipped_too_deep       nested too deeply
skipped_no_log_key     without the key that log_key names
skipped_bad_key        a map or an array as a key of a map
skipped_malformed      the tail of a chunk that is no msgpack; one record whatever it held
dead                   refused by the service, or given up after experimental_concurrency_retries
pending                encoded and not settled, or taken over by a delivery in the background
returned               given back to the host with RETRY, not acknowledged
truncated              cut to max_record_size
bad_times              got the current time, because their own is impossible
nan_values             NaN and infinities that became null (values, not records)
random_keys            got a random partition key, because the configured one is missing
group_markers          events that are no records and count nowhere else
resumed                not sent again, because they were settled when their chunk came before; these
                       stand in the account of that flush, not in `in` of this one
retried                records sent again; one that is sent again twice counts twice
requests               PutRecords requests, attempts included
throttles              answers that told to slow down, for the whole request or for some entries
bytes_in               bytes of the chunks
bytes_delivered        data and partition keys that were acknowledged, before base64
=====================  ============================================================================
"""

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kinesis_fast._core.tally import Tally

SKIP_REASONS: Final = (
    "skipped_not_map",
    "skipped_too_deep",
    "skipped_no_log_key",
    "skipped_bad_key",
    "skipped_malformed",
)
REMARKS: Final = (
    *("truncated", "bad_times", "nan_values", "random_keys", "group_markers", "resumed"),
)
COUNTERS: Final = (
    *("in", "delivered", "skipped", *SKIP_REASONS, "dead", "pending", "returned"),
    *(*REMARKS, "retried", "requests", "throttles", "bytes_in", "bytes_delivered"),
)


class Stats:
    """Counters that change together or not at all; every method may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters = dict.fromkeys(COUNTERS, 0)

    def snapshot(self) -> dict[str, int]:
        """Return a copy of all counters as they were at one moment."""
        with self._lock:
            return dict(self._counters)

    def chunk(self, n_bytes: int) -> None:
        """A flush call brought a chunk of so many bytes."""
        self._add({"bytes_in": n_bytes})

    def taken_over(self, n_records: int) -> None:
        """A delivery in the background has begun: all its records are pending from now on."""
        self._add({"in": n_records, "pending": n_records})

    def encoded(self, tally: "Tally", *, counted: bool) -> None:
        """The encoder read on in a chunk.

        Args:
            tally: what it found.
            counted: whether these records are pending already (`taken_over`).
        """
        if tally.is_plain:
            if not counted:
                self._add({"in": tally.records, "pending": tally.records})
            return
        changes = {reason: getattr(tally, reason) for reason in SKIP_REASONS}
        skipped = sum(changes.values())
        changes |= {remark: getattr(tally, remark) for remark in REMARKS}
        changes["skipped"] = skipped
        if counted:
            changes["pending"] = -skipped
        else:
            changes["in"] = tally.records + skipped
            changes["pending"] = tally.records
        self._add(changes)

    def attempt(self, n_resent: int) -> None:
        """A request goes out, with so many records that were sent before."""
        self._add({"requests": 1, "retried": n_resent})

    def attempt_not_made(self, n_resent: int) -> None:
        """The request of the last `attempt` did not go out after all."""
        self._add({"requests": -1, "retried": -n_resent})

    def throttled(self) -> None:
        """An answer told to slow down."""
        self._add({"throttles": 1})

    def delivered(self, n_records: int, n_bytes: int) -> None:
        """Pending records were acknowledged."""
        self._add({"pending": -n_records, "delivered": n_records, "bytes_delivered": n_bytes})

    def dead(self, n_records: int) -> None:
        """Pending records are given up."""
        self._add({"pending": -n_records, "dead": n_records})

    def returned(self, n_records: int) -> None:
        """Pending records go back to the host."""
        self._add({"pending": -n_records, "returned": n_records})

    def returned_unread(self, n_records: int) -> None:
        """Records that no one has encoded yet go back to the host."""
        self._add({"in": n_records, "returned": n_records})

    def _add(self, changes: dict[str, int]) -> None:
        with self._lock:
            for name, change in changes.items():
                self._counters[name] += change
