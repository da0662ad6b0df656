"""Outputs with a fake transport, ways to wait for them, and what must hold of their accounts."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import pytest
from chunks import chunk_of, output_config
from fake_transport import FakeTime, FakeTransport, Reply, Step, accept

from kinesis_fast import KinesisOutput
from kinesis_fast.logs import LOGGER

PATIENCE_S: Final = 10.0  # for what is certain to happen; a test that passes never waits so long
SHARES = ("delivered", "skipped", "dead", "pending", "returned")


def new_output(
    transport: FakeTransport, clock: FakeTime | None = None, /, **options: str
) -> KinesisOutput:
    """Return an output for the stream of the test configuration.

    By default one request is in flight at a time, so that the requests have one order.
    """
    timing = (clock or FakeTime()).timing()
    config = output_config({"max_in_flight": "1", **options})
    return KinesisOutput(config, transport, timing=timing)


def numbered(numbers: Iterable[int]) -> bytes:
    """Return a chunk with one event for each number."""
    return _numbered(tuple(numbers))


@lru_cache(100)
def _numbered(numbers: tuple[int, ...]) -> bytes:
    return chunk_of({"n": number} for number in numbers)


def numbers(records: Iterable[bytes]) -> list[int]:
    """Return the numbers that the events of these records had."""
    return [record["n"] for record in json.loads(b"[%b]" % b",".join(records))]


def assert_balanced(stats: dict[str, int]) -> None:
    """Assert that every record is in exactly one place."""
    assert stats["in"] == sum(stats[share] for share in SHARES), stats
    assert all(value >= 0 for value in stats.values()), stats
    reasons = [value for name, value in stats.items() if name.startswith("skipped_")]
    assert stats["skipped"] == sum(reasons), stats


def assert_stats(output: KinesisOutput, **expected: Any) -> None:
    """Assert some counters (a name may end in `_`), and that the account is balanced."""
    stats: dict[str, int] = output.stats()
    assert_balanced(stats)
    assert {name: stats[name.removesuffix("_")] for name in expected} == expected


def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; it has to come true within PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.001)


class _RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName == "kinesis-fast-delivery":
            raise RuntimeError("the disk for the log is full")


@contextmanager
def raising_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each log line of a thread of an output raise an exception inside the `with`."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    handler = _RaisingHandler()
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


class Gate:
    """A step that holds requests until it is opened.

    Args:
        then: the step that follows.
    """

    def __init__(self, then: Step = accept) -> None:
        self._then = then
        self._open = threading.Event()
        self._arrived = threading.Semaphore(0)

    def __call__(self, records: list[bytes]) -> Reply:
        self._arrived.release()
        assert self._open.wait(PATIENCE_S), "the gate stays closed"
        return self._then(records)

    def wait_for_arrivals(self, n: int) -> None:
        """Wait until so many more requests have arrived."""
        for _ in range(n):
            assert self._arrived.acquire(timeout=PATIENCE_S), "a request is missing"

    def open(self) -> None:
        """Let all requests go on, those that come later too."""
        self._open.set()
