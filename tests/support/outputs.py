"""Outputs with a fake service, and what must hold of their accounts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from chunks import chunk_of, output_config
from fake_transport import FakeTime, FakeTransport

from kinesis_fast import KinesisOutput

SHARES = ("delivered", "skipped", "dead", "pending", "returned")


def new_output(
    transport: FakeTransport, time: FakeTime | None = None, **options: str
) -> KinesisOutput:
    """Return an output for the stream of the test configuration, by default with one request in
    flight at a time, so that steps of the service and requests have one order."""
    timing = (time or FakeTime()).timing()
    config = output_config({"max_in_flight": "1", **options})
    return KinesisOutput(config, transport, timing=timing)


def numbered(numbers: Iterable[int]) -> bytes:
    """Return a chunk with one event for each number."""
    return chunk_of({"n": number} for number in numbers)


def numbers(records: Iterable[bytes]) -> list[int]:
    """Return the numbers that the events of these records had."""
    return [json.loads(record)["n"] for record in records]


def assert_balanced(stats: dict[str, int]) -> None:
    """Assert that every record is in exactly one place."""
    assert stats["in"] == sum(stats[share] for share in SHARES), stats
    assert all(value >= 0 for value in stats.values()), stats
    reasons = [value for name, value in stats.items() if name.startswith("skipped_")]
    assert stats["skipped"] == sum(reasons), stats


def assert_stats(output: KinesisOutput, **expected: Any) -> None:
    """Assert some counters, and that the account is balanced."""
    stats: dict[str, int] = output.stats()
    assert_balanced(stats)
    assert {name: stats[name.removesuffix("_")] for name in expected} == expected
