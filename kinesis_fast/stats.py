"""The account of an output: in = delivered + skipped + dead + pending + returned, at any moment."""

import threading
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from kinesis_fast._core.tally import Tally

SkipReason = Literal[
    "skipped_not_map",
    "skipped_too_deep",
    "skipped_no_log_key",
    "skipped_bad_key",
    "skipped_malformed",
]
Remark = Literal[
    "truncated", "bad_times", "nan_values", "random_keys", "group_markers", "resumed"
]  # fmt: skip
CounterName = Literal[
    "in", "delivered", "skipped", SkipReason, "dead", "pending", "returned",
    Remark, "retried", "requests", "throttles", "bytes_in", "bytes_delivered",
]  # fmt: skip
SKIP_REASONS: Final[tuple[SkipReason, ...]] = get_args(SkipReason)
REMARKS: Final[tuple[Remark, ...]] = get_args(Remark)
COUNTERS: Final[tuple[CounterName, ...]] = get_args(CounterName)


class Stats(dict[str, int]):
    """The counters of an output since it was made, as they were at one moment.

    Counters:
        in: records of the chunks; while a flush runs, the records read so far.
        delivered: records that the service acknowledged.
        skipped: records that cannot be sent, the sum of the five reasons below.
        skipped_not_map: the body of the event is not a map.
        skipped_too_deep: the record is nested too deeply.
        skipped_no_log_key: the record lacks the key that log_key names.
        skipped_bad_key: a map or an array is the key of a map.
        skipped_malformed: the end of a chunk is not msgpack; it counts as one record.
        dead: records that the service refused, or that were given up after
            experimental_concurrency_retries.
        pending: records that are encoded and not settled, or taken over by a delivery in the
            background.
        returned: records that went back to the host with RETRY, not acknowledged.
        truncated: records that were cut to max_record_size.
        bad_times: records that got the current time because their own time is impossible.
        nan_values: NaN and infinities that became null; values, not records.
        random_keys: records that got a random partition key because they lack the configured one.
        group_markers: events that are not records; no other counter includes them.
        resumed: records that were not sent again because they were settled when their chunk came
            before; `in` counts them in that earlier flush, not in this one.
        retried: records that were sent again; one that was sent again twice counts twice.
        requests: PutRecords requests, retries included.
        throttles: responses that asked to slow down, for the request or for some of its entries.
        bytes_in: bytes of the chunks.
        bytes_delivered: bytes of data and partition keys that were acknowledged, before base64.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # a misspelt counter is a type error, and Stats still is a dict[str, int]

        def __getitem__(self, name: CounterName, /) -> int: ...  # type: ignore[override]


class Counters:
    """Counts for Stats; changes that belong together happen together, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    def snapshot(self) -> Stats:
        """Return a copy of all counters as they were at one moment."""
        with self._lock:
            return Stats(self._counters)

    def chunk(self, n_bytes: int) -> None:
        """Count a chunk of n_bytes bytes that a flush call brought."""
        self._add({"bytes_in": n_bytes})

    def taken_over(self, n_records: int) -> None:
        """Count records as pending: a delivery in the background took them over."""
        self._add({"in": n_records, "pending": n_records})

    def encoded(self, tally: "Tally", *, counted: bool) -> None:
        """Count what the encoder found in the next part of a chunk.

        Args:
            tally: what it found.
            counted: whether `taken_over` has already counted these records as pending.
        """
        if tally.is_plain:
            if not counted:
                self._add({"in": tally.records, "pending": tally.records})
            return
        changes: dict[str, int] = {reason: getattr(tally, reason) for reason in SKIP_REASONS}
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
        """Count a request that goes out, and n_resent records in it that were sent before."""
        self._add({"requests": 1, "retried": n_resent})

    def attempt_not_made(self, n_resent: int) -> None:
        """Undo the last `attempt`: its request did not go out."""
        self._add({"requests": -1, "retried": -n_resent})

    def throttled(self) -> None:
        """Count a response that asked to slow down."""
        self._add({"throttles": 1})

    def delivered(self, n_records: int, n_bytes: int) -> None:
        """Count pending records that were acknowledged."""
        self._add({"pending": -n_records, "delivered": n_records, "bytes_delivered": n_bytes})

    def dead(self, n_records: int) -> None:
        """Count pending records that are given up."""
        self._add({"pending": -n_records, "dead": n_records})

    def returned(self, n_records: int) -> None:
        """Count pending records that go back to the host."""
        self._add({"pending": -n_records, "returned": n_records})

    def returned_unread(self, n_records: int) -> None:
        """Count records that go back to the host before they were encoded."""
        self._add({"in": n_records, "returned": n_records})

    def _add(self, changes: dict[str, int]) -> None:
        with self._lock:
            for name, change in changes.items():
                self._counters[name] += change
