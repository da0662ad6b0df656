"""The log lines about the records of a chunk: sums at its end, never a line per record."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from kinesis_fast.limits import MAX_NESTING
from kinesis_fast.logs import Log, printable
from kinesis_fast.stats import REMARKS, SKIP_REASONS

if TYPE_CHECKING:
    from kinesis_fast._core.tally import Tally
    from kinesis_fast.delivery.retry import Verdict

MAX_DEAD_LINES: Final = 10  # error lines about refused records of a chunk; the rest is a sum
MAX_REASON: Final = 500  # characters in a log line

TEXTS: Final = {
    "skipped_not_map": ("skipped because the body of the event is not a map", ""),
    "skipped_too_deep": (f"skipped because they nest deeper than {MAX_NESTING} levels", ""),
    "skipped_bad_key": ("skipped because a key in them is a map or an array", ""),
    "truncated": ("cut to max_record_size", ""),
}


class ChunkReport:
    """Collects what happened to the records of one chunk.

    Args:
        log: takes the lines.
        tag: names the chunk in them; printable.
        missing_keys: by counter, what to say about records that lack a key, and a hint.

    Attributes:
        name_event: returns how to call the event of a number.
        n_records: that were encoded.
    """

    def __init__(self, log: Log, tag: str, missing_keys: dict[str, tuple[str, str]]) -> None:
        self._log = log
        self._tag = tag
        self._missing_keys = missing_keys
        self.name_event: Callable[[int], str] = lambda event: f"event {event} of chunk '{tag}'"
        self.n_records = 0
        self._counts: Counter[str] = Counter()
        self._malformed_at = -1
        self._n_refused = self._n_failing = 0

    def found(self, tally: "Tally") -> None:
        """Take in what the encoder found besides plain records when it read on in the chunk."""
        for name in (*SKIP_REASONS, *REMARKS):
            self._counts[name] += getattr(tally, name)
        if tally.skipped_malformed:
            self._malformed_at = tally.malformed_at

    def refused(self, event: int, n_bytes: int, reason: str) -> None:
        """Take in a record that the service refuses for good; the first few have a line each."""
        self._n_refused += 1
        if self._n_refused <= MAX_DEAD_LINES:
            self._log.error(
                "%s (%d bytes) was refused by the service and is lost: %s",
                *(self.name_event(event), n_bytes, printable(reason, MAX_REASON)),
            )

    def fails(self, event: int, n_bytes: int, reason: str) -> None:
        """Take in a record that fails alone; the first few have a line each."""
        self._n_failing += 1
        if self._n_failing <= MAX_DEAD_LINES:
            self._log.warning(
                "%s (%d bytes) fails alone, while other records are accepted; it will be tried "
                "again: %s",
                *(self.name_event(event), n_bytes, printable(reason, MAX_REASON)),
            )

    def write(self) -> None:
        """Log the sums, if there are any."""
        if not self._counts and not self._n_refused and not self._n_failing:
            return
        remarks = list(self._describe())
        if remarks:
            self._log.warning("chunk '%s': %s", self._tag, "; ".join(remarks))

    def _describe(self) -> Iterator[str]:
        yield from remarks(TEXTS | self._missing_keys, self._counts, self.n_records)
        if self._malformed_at >= 0:
            yield f"malformed or cut off at byte {self._malformed_at}; the rest is skipped"
        if self._n_refused > MAX_DEAD_LINES:
            yield f"records refused by the service and lost: {self._n_refused}"
        if self._n_failing > MAX_DEAD_LINES:
            yield f"records that fail alone, to be tried again: {self._n_failing}"


def remarks(
    texts: Mapping[str, tuple[str, str]], counts: Mapping[str, int], n_records: int
) -> Iterator[str]:
    """Yield a remark for each counter that is not 0.

    Args:
        texts: by counter, what became of these records, and a hint for the case that there are no
            others, which may be empty.
        counts: the counters.
        n_records: records that were not skipped.
    """
    for name, (text, hint) in texts.items():
        if count := counts[name]:
            n_others = n_records - (0 if name in SKIP_REASONS else count)
            yield f"records {text}: {count}" + (f" ({hint})" if hint and n_others <= 0 else "")


def described(verdict: "Verdict", attempts: int) -> str:
    """Return what to say about a request that failed in so many attempts."""
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    hint = f" ({verdict.hint})" if verdict.hint else ""
    return f"PutRecords failed after {times}: {printable(verdict.reason, MAX_REASON)}{hint}"
