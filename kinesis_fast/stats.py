"""The account of an output: in = delivered + skipped + dead + pending + returned, at any moment."""

from typing import TYPE_CHECKING, Final, Literal, Self, get_args

from kinesis_fast._core.booking import Book, Share
from kinesis_fast._core.tally import NOTHING_PACKED, Packing, Tally

SkipReason = Literal[
    "skipped_not_map",
    "skipped_too_deep",
    "skipped_no_log_key",
    "skipped_bad_key",
    "skipped_malformed",
]
Remark = Literal[
    "truncated", "bad_times", "nan_values", "random_keys", "no_data_keys", "group_markers",
    "resumed"
]  # fmt: skip
Packed = Literal["entries", "aggregates", "record_bytes", "entry_bytes"]
CounterName = Literal[
    "in", "delivered", "skipped", SkipReason, "dead", "pending", "returned",
    Remark, "retried", "requests", "throttles", Packed, "bytes_in", "bytes_delivered",
]  # fmt: skip
SKIP_REASONS: Final[tuple[SkipReason, ...]] = get_args(SkipReason)
REMARKS: Final[tuple[Remark, ...]] = get_args(Remark)
COUNTERS: Final[tuple[CounterName, ...]] = get_args(CounterName)
ACCOUNT: Final[tuple[CounterName, ...]] = (
    "in", "delivered", "skipped", "dead", "pending", "returned"
)  # fmt: skip


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
        no_data_keys: records that have none of the keys in data_keys, so nothing of them is sent.
        group_markers: events that are not records; no other counter includes them.
        resumed: records that were not sent again because they were settled when their chunk came
            before; `in` counts them in that earlier flush, not in this one.
        retried: records that were sent again; one that was sent again twice counts twice.
        requests: PutRecords requests, retries included.
        throttles: responses that asked to slow down, for the request or for some of its entries.
        entries: entries that records were encoded into; an aggregate is one entry. A chunk that
            comes again counts again, as in the three counters that follow.
        aggregates: those of them that stand for more than one record.
        record_bytes: data and partition keys of these records, before aggregation and compression.
        entry_bytes: data and partition keys of the entries.
        bytes_in: bytes of the chunks.
        bytes_delivered: bytes of data and partition keys that were acknowledged, before base64.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # a misspelt counter is a type error, and Stats still is a dict[str, int]

        def __getitem__(self, name: CounterName, /) -> int: ...  # type: ignore[override]


def account_text(stats: Stats) -> str:
    """Return the account as the text of a log line."""
    return "records: " + " ".join(f"{name}={stats[name]}" for name in ACCOUNT)


class Counters(Book):
    """Counts for Stats; changes that belong together happen together, from any thread."""

    def __new__(cls) -> Self:
        """Make counters that are all 0."""
        return super().__new__(cls, COUNTERS)

    def snapshot(self) -> Stats:
        """Return a copy of all counters as they were at one moment."""
        return Stats(self.values())

    def n_delivered(self) -> int:
        """Return how many records were acknowledged so far."""
        return self.value("delivered")

    def chunk(self, n_bytes: int) -> None:
        """Count the bytes of a chunk that a flush call brought."""
        self.add({"bytes_in": n_bytes})


class ChunkAccount(Share):
    """The share of one chunk in the counters, from the first record until it is closed.

    See `Share` for its attributes, and for what each request changes.

    Args:
        counters: of the output.
    """

    _is_closed = False

    def taken_over(self, n_records: int) -> None:
        """Count all records of a chunk at once; otherwise they count when they are encoded."""
        self.is_taken_over = True
        self.add({"in": n_records, "pending": n_records})

    def adopt(self, n_pending: int) -> None:
        """Take over records that the counters hold as pending already."""
        self.is_taken_over = True
        self.n_in = self.n_pending = n_pending

    def resumed(self, n_records: int) -> None:
        """Count records that need no sending, because they were settled before."""
        self.add({"resumed": n_records})

    def skipped(self, tally: Tally, packing: Packing = NOTHING_PACKED) -> None:
        """Count all that the encoder found where it skipped or changed records."""
        names = (*SKIP_REASONS, *REMARKS)
        changes: dict[str, int] = {name: getattr(tally, name) for name in names}
        changes |= packing._asdict()
        del changes["resumed"]  # `resumed` counts them
        skipped = sum(changes[reason] for reason in SKIP_REASONS)
        if self.is_taken_over:
            changes |= {"pending": -skipped}
        else:
            changes |= {"in": tally.records + skipped, "pending": tally.records}
        self.add(changes | {"skipped": skipped})

    def not_attempted(self, n_resent: int) -> None:
        """Take back the last `attempted`: the request did not go out after all."""
        self.add({"requests": -1, "retried": -n_resent})

    def throttled(self) -> None:
        """Count an answer that told to slow down."""
        self.add({"throttles": 1})

    def dead(self, n_records: int) -> None:
        """Count pending records that are given up."""
        self.add({"pending": -n_records, "dead": n_records})

    def correct(self, n_left: int, n_brought: int) -> None:
        """Count what was not read, and what an exception kept from being counted.

        Args:
            n_left: records of the chunk that are not settled.
            n_brought: those that were not settled when the delivery began.
        """
        n_missing = 0 if self.is_taken_over else n_brought - self.n_in
        n_uncounted = max(0, self.n_pending + n_missing - n_left)
        self.add({"in": n_missing, "pending": n_missing - n_uncounted, "delivered": n_uncounted})

    def close(self, counter: str = "returned") -> None:
        """Move what is pending to another counter, `returned` or `dead`; a second call is idle."""
        if not self._is_closed:
            if self.n_pending:
                self.add({"pending": -self.n_pending, counter: self.n_pending})
            self._is_closed = True
