"""What should be in a stream after flushes, and whether it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from chunks import load_chunk, load_golden
from local_stream import LocalStream
from recording_service import Recorder

from kinesis_fast.cli.expectation import Comparison, Expected, first_events


def golden_chunk(name: str, options: str) -> tuple[bytes, list[Expected]]:
    """Return a captured chunk and what the Go plugin made of it.

    Args:
        name: a chunk whose records this package and the Go plugin agree on.
        options: a key of chunks.GOLDEN_OPTIONS.
    """
    rows = load_golden(name, options).rows
    expected = []
    for row in rows:
        assert row.data is not None
        expected.append(Expected(row.data, _text(row.partition_key)))
    return first_events(load_chunk(name), len(rows)), expected


def assert_holds(stream: LocalStream, expected: Iterable[Expected]) -> None:
    """Assert that a stream holds these records and no other."""
    comparison = Comparison()
    comparison.expect("chunk", expected)
    for record in stream.read():
        comparison.arrive(record.data, record.partition_key)
    assert comparison.is_equal, (list(comparison.missing())[:3], comparison.unexpected[:3])
    assert comparison.expected["chunk"] > 0


def arrived_numbers(recorder: Recorder) -> Counter[int]:
    """Return how often a recorder accepted each number."""
    return Counter(number for request in recorder.accepted for number in request.numbers)


def _text(partition_key: bytes | None) -> str | None:
    return partition_key.decode() if partition_key else None
