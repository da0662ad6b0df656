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
        n_earlier: records that an earlier run left in the spool, and that were read from there.
        n_unread_chunks: chunks that an earlier run left in the spool, and that were not read.
    """

    stats: Mapping[str, int]
    n_bytes: int
    n_bad_lines: int
    n_unsent: int
    unread_from: int | None
    changed: Mapping[str, int] = field(default_factory=dict)
    spool_dir: str | None = None
    n_earlier: int = 0
    n_unread_chunks: int = 0

    @property
    def n_records(self) -> int:
        """Records of the input and the spool; those that the output returned came again later."""
        taken = self.stats["in"] - self.stats["returned"]
        return taken + self.n_bad_lines + self.n_unsent

    @property
    def is_complete(self) -> bool:
        """Whether all was delivered, except records that the options leave out.

        All of the input, and what an earlier run left in the spool.
        """
        lost = self.stats["dead"] + self.stats["pending"] + self.stats["skipped_malformed"]
        unsent = self.n_bad_lines + self.n_unsent + self.n_unread_chunks
        return not (lost or unsent or self.unread_from is not None)

    def lines(self) -> Iterator[str]:
        """Yield the account line by line; rows of zero are left out."""
        stats = self.stats
        earlier = f", and {counted(self.n_earlier, 'record')} of an earlier run in the spool"
        read = f"{megabytes(self.n_bytes)} read"
        yield _row("in", self.n_records, read + (earlier if self.n_earlier else ""))
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
        if self.n_unread_chunks:
            yield (
                f"kept in {self.spool_dir}: {counted(self.n_unread_chunks, 'chunk')} of an earlier "
                "run; the next start sends them"
            )
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
