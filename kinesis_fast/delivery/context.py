"""What all deliveries of an output work with."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kinesis_fast.condition import Condition
from kinesis_fast.delivery.concurrency_limit import AdaptiveConcurrency
from kinesis_fast.delivery.protocol_in_use import ProtocolInUse
from kinesis_fast.delivery.protocols import DeadLetters, Encoder, ErrorCounts
from kinesis_fast.delivery.refusals import Refusals
from kinesis_fast.delivery.resume import ResumeMemory
from kinesis_fast.delivery.thread_pool import ThreadPool
from kinesis_fast.logs import Log
from kinesis_fast.stats import Counters
from kinesis_fast.transport import Transport
from kinesis_fast.watchdog import Watchdog


@dataclass(frozen=True)
class Timing:
    """Clock, waits and random numbers; a test brings its own.

    Attributes:
        clock: returns seconds that never go back.
        wait: waits on a condition, whose lock is held, for so many seconds at most.
        random: returns a float from 0 up to, not including, 1; it sets the length of waits.
    """

    clock: Callable[[], float] = time.monotonic
    wait: Callable[[Condition, float], object] = Condition.wait
    random: Callable[[], float] = random.random


REAL_TIME: Final = Timing()


class Pauses:
    """The pauses of deliveries between two attempts, which close() ends; for any thread.

    Args:
        timing: how to wait.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._conditions: list[Condition] = []  # one for each thread that waits
        self._is_over = False

    def wait(self, condition: Condition, seconds: float) -> bool:
        """Wait until the time is up, or until the condition, whose lock is held, is notified.

        Returns:
            False when `end` has ended the wait, or was called before.
        """
        self._conditions.append(condition)
        try:
            if not self._is_over:
                self._timing.wait(condition, seconds)
        finally:
            self._conditions.remove(condition)
        return not self._is_over

    def end(self) -> None:
        """End all waits, those that come later too; the caller holds no lock of a delivery."""
        # A wait that does not see this stands in the list, with its lock held until it waits.
        self._is_over = True
        for condition in list(self._conditions):
            with condition:
                condition.notify_all()


@dataclass(frozen=True)
class DeliveryContext:
    """What a delivery needs besides its chunk; all deliveries of an output share one.

    Attributes:
        encoder: makes requests of chunks.
        transport: sends bodies; a CborTransport if `protocol` says so.
        protocol: whether bodies are CBOR.
        timeout_s: seconds for one request, None for no bound.
        max_in_flight: requests of one chunk that may be in flight at a time, at least 1.
        concurrency: how many may be in flight just now.
        threads: run the deliveries, and help them.
        resume: what was settled of chunks that went back to the host.
        refusals: which records the service has refused.
        stats: the counters.
        watchdog: measures how long nothing has been acknowledged.
        timing: clock and waits.
        pauses: the waits of a delivery between two attempts.
        log: takes the lines about deliveries.
        missing_keys: by counter, what to say about records that lack a key, and a hint.
        dead_letters: keep records that can never be delivered; None: they are only counted.
        errors: count what failed, by code; None: metrics are not wanted.
        is_last_try: whether records that a delivery does not settle may be given up after it.
    """

    encoder: Encoder
    transport: Transport
    protocol: ProtocolInUse
    timeout_s: float | None
    max_in_flight: int
    concurrency: AdaptiveConcurrency
    threads: ThreadPool
    resume: ResumeMemory
    refusals: Refusals
    stats: Counters
    watchdog: Watchdog
    timing: Timing
    pauses: Pauses
    log: Log
    missing_keys: dict[str, tuple[str, str]]
    dead_letters: DeadLetters | None = None
    errors: ErrorCounts | None = None
    is_last_try: bool = False
