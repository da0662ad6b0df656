"""Flushes as Fluent Bit does them, and what must arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from fault_server import Seen
from outputs import assert_balanced

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.context import Timing

TRANSPORTS: Final = ("direct", "botocore")  # every fault is tried with both
MAX_FLUSHES: Final = 30  # of one chunk; after so many the fault is permanent

NewOutput = Callable[..., KinesisOutput]  # makes an output from options

# Short waits between attempts, for short tests.
BRISK: Final = Timing(random=lambda: 0.02)


def bring(
    output: KinesisOutput,
    chunk: bytes,
    tag: str = "app",
    on_retry: Callable[[], object] = lambda: None,
) -> list[FlushResult]:
    """Flush a chunk until it is OK. Returns all results.

    Args:
        output: the output to flush to.
        chunk: msgpack events.
        tag: its tag.
        on_retry: called after each RETRY.
    """
    results: list[FlushResult] = []
    while FlushResult.OK not in results:
        assert len(results) < MAX_FLUSHES, f"still {results[-1]!r} after {MAX_FLUSHES} flushes"
        results.append(output.flush(chunk, tag))
        if results[-1] is FlushResult.RETRY:
            on_retry()
    return results


def assert_arrived(seen: Seen, sent: Iterable[int]) -> None:
    """Assert that exactly these numbers arrived, and twice only where the response was lost.

    Args:
        seen: what the server accepted.
        sent: the numbers that were flushed; a chunk flushed again after RETRY counts once.
    """
    assert seen.violations == []
    wanted = Counter(sent)
    missing = wanted - seen.accepted
    assert not missing, f"{missing.total()} records are lost, {sorted(missing)[:5]} ..."
    too_many = seen.accepted - (wanted + seen.doubtful)
    assert not too_many, f"{too_many.total()} records came too often, {sorted(too_many)[:5]} ..."


def assert_account(output: KinesisOutput, n_accepted: int, n_doubtful: int) -> None:
    """Assert that the stats add up and agree with the server. Nothing may be in flight.

    Args:
        output: the only one that sent to the server.
        n_accepted: records that the server accepted.
        n_doubtful: those of them whose response may have been lost.
    """
    stats = output.stats()
    assert_balanced(stats)
    assert stats["pending"] == 0
    assert n_accepted - n_doubtful <= stats["delivered"] <= n_accepted, stats


def assert_exact(output: KinesisOutput, seen: Seen, sent: Iterable[int]) -> None:
    """Assert that exactly the sent numbers arrived, and that the stats agree."""
    assert_arrived(seen, sent)
    assert_account(output, seen.accepted.total(), seen.doubtful.total())
