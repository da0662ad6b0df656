"""The account of `send`: what became of every record of the input."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kinesis_fast.cli.common import counted, megabytes, reason_counts
from kinesis_fast.stats import SKIP_REASONS


@dataclass(frozen=True)
class Account:
    """in = delivered + skipped + bad lines + dead + unknown + not sent.

    Attributes:
        stats: the counters of the output, after it was closed.
        n_bytes: bytes of the input that were read.
        n_bad_lines: lines of the input that are not records.
        n_unsent: records that were read but not taken by the output.
        unread_from: byte of the input where reading stopped, None when all of it was read.
        changed: by sentence, how often something in a line was changed.
        spool_dir: the option: what is pending is kept there.
    """

    stats: Mapping[str, int]
    n_bytes: int
    n_bad_lines: int
    n_unsent: int
    unread_from: int | None
    changed: Mapping[str, int] = field(default_factory=dict)
    spool_dir: str | None = None

    @property
    def n_records(self) -> int:
        """Records that were read; those that the output returned were taken again later."""
        taken = self.stats["in"] - self.stats["returned"]
        return taken + self.n_bad_lines + self.n_unsent

    @property
    def is_complete(self) -> bool:
        """Whether all of the input was delivered, except records that the options leave out."""
        lost = self.stats["dead"] + self.stats["pending"] + self.stats["skipped_malformed"]
        return not (lost or self.n_bad_lines or self.n_unsent or self.unread_from is not None)

    def lines(self) -> Iterator[str]:
        """Yield the account line by line; rows of zero are left out."""
        stats = self.stats
        yield _row("in", self.n_records, f"{megabytes(self.n_bytes)} read")
        yield _row("delivered", stats["delivered"], self._about_delivery())
        rows = (
            ("skipped", stats["skipped"], reason_counts({n: stats[n] for n in SKIP_REASONS})),
            ("bad lines", self.n_bad_lines, "not sent"),
            ("dead", stats["dead"], "refused by the service, or given up after retries"),
            self._about_pending(),
            ("not sent", self.n_unsent, "read, but not handed to the service"),
        )
        yield from (_row(*row) for row in rows if row[1])
        if stats["truncated"]:
            yield f"cut to max_record_size: {counted(stats['truncated'], 'record')}"
        if stats["nan_values"]:
            n_nulls = counted(stats["nan_values"], "number")
            yield f"became null, as no finite double holds it: {n_nulls}"
        for what, number in self.changed.items():
            if number:
                yield f"{what}: {number:,}"
        if self.unread_from is not None:
            yield f"the input was not read from byte {self.unread_from:,} on"
        yield f"delivered {stats['delivered']} of {self.n_records}"

    def _about_pending(self) -> tuple[str, int, str]:
        n_pending = self.stats["pending"]
        if self.spool_dir:
            return "spooled", n_pending, f"kept in {self.spool_dir}; the next start sends them"
        return "unknown", n_pending, "not acknowledged by the end; they may have arrived"

    def _about_delivery(self) -> str:
        stats = self.stats
        text = f"{megabytes(stats['bytes_delivered'])}, {counted(stats['requests'], 'request')}"
        if stats["retried"]:
            text += f", {stats['retried']:,} sent again"
        if stats["throttles"]:
            text += f", {counted(stats['throttles'], 'throttling response')}"
        return text


def _row(name: str, number: int, remark: str) -> str:
    return f"{name:<10}{number:>12,}   {remark}"
