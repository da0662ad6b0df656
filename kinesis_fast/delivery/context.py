"""What all deliveries of an output work with."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kinesis_fast.delivery.concurrency_limit import AdaptiveConcurrency
from kinesis_fast.delivery.protocols import DeadLetters, Encoder
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
    wait: Callable[[threading.Condition, float], object] = threading.Condition.wait
    random: Callable[[], float] = random.random


REAL_TIME: Final = Timing()


@dataclass(frozen=True)
class DeliveryContext:
    """What a delivery needs besides its chunk; all deliveries of an output share one.

    Attributes:
        encoder: makes requests of chunks.
        transport: sends bodies.
        timeout_s: seconds for one request, None for no bound.
        max_in_flight: requests of one chunk that may be in flight at a time, at least 1.
        concurrency: how many may be in flight just now.
        threads: run the deliveries, and help them.
        resume: what was settled of chunks that went back to the host.
        stats: the counters.
        watchdog: measures how long nothing has been acknowledged.
        timing: clock and waits.
        log: takes the lines about deliveries.
        missing_keys: by counter, what to say about records that lack a key, and a hint.
        dead_letters: keep records that can never be delivered; None: they are only counted.
    """

    encoder: Encoder
    transport: Transport
    timeout_s: float | None
    max_in_flight: int
    concurrency: AdaptiveConcurrency
    threads: ThreadPool
    resume: ResumeMemory
    stats: Counters
    watchdog: Watchdog
    timing: Timing
    log: Log
    missing_keys: dict[str, tuple[str, str]]
    dead_letters: DeadLetters | None = None
