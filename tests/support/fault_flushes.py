"""Chunks brought as Fluent Bit brings them, and what must have arrived then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from fault_server import Seen
from outputs import assert_balanced

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.context import Timing

TRANSPORTS: Final = ("direct", "botocore")  # the ways of sending that every fault is tried with
MAX_FLUSHES: Final = 30  # of one chunk; a fault that outlives them does not heal

NewOutput = Callable[..., KinesisOutput]  # makes one of options

# Short waits between attempts: real ones would only make the tests longer.
BRISK: Final = Timing(random=lambda: 0.02)


def bring(
    output: KinesisOutput,
    chunk: bytes,
    tag: str = "app",
    on_retry: Callable[[], object] = lambda: None,
) -> list[FlushResult]:
    """Flush a chunk until it is OK. Returns all results.

    Args:
        output: where to.
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
    """Assert that all numbers arrived, no others, and twice only where the answer was lost.

    Args:
        seen: what the server took.
        sent: the numbers that were brought; a chunk that came again after a RETRY counts once.
    """
    assert seen.violations == []
    wanted = Counter(sent)
    missing = wanted - seen.accepted
    assert not missing, f"{missing.total()} records are lost, {sorted(missing)[:5]} ..."
    too_many = seen.accepted - (wanted + seen.doubtful)
    assert not too_many, f"{too_many.total()} records came too often, {sorted(too_many)[:5]} ..."


def assert_account(output: KinesisOutput, n_accepted: int, n_doubtful: int) -> None:
    """Assert that the account adds up and says what the server says; nothing is in flight.

    Args:
        output: that sent all that the server took.
        n_accepted: entries that the server took.
        n_doubtful: those of them whose answer may have been lost.
    """
    stats = output.stats()
    assert_balanced(stats)
    assert stats["pending"] == 0
    assert n_accepted - n_doubtful <= stats["delivered"] <= n_accepted, stats


def assert_exact(output: KinesisOutput, seen: Seen, sent: Iterable[int]) -> None:
    """Assert that all that was sent arrived as it must, and that the account says so."""
    assert_arrived(seen, sent)
    assert_account(output, seen.accepted.total(), seen.doubtful.total())
