"""What all deliveries of an output work with."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from kinesis_fast.delivery.concurrency_limit import AdaptiveConcurrency
from kinesis_fast.delivery.protocols import Encoder
from kinesis_fast.delivery.resume import ResumeMemory
from kinesis_fast.delivery.thread_pool import ThreadPool
from kinesis_fast.logs import Log
from kinesis_fast.stats import Counters
from kinesis_fast.transport import Transport
from kinesis_fast.watchdog import Watchdog


@dataclass(frozen=True)
class Timing:
    """Time and chance, so that a test can have its own.

    Attributes:
        clock: gives seconds that never go back.
        sleep: waits so many seconds between two attempts of a request.
        random: gives a float from 0 up to, not including, 1, for the length of the waits.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


REAL_TIME: Final = Timing()


class Letters(Protocol):
    """Keeps records that can never be delivered; see `kinesis_fast.storage.dead_letters`."""

    def add(
        self, reason: str, tag: str, event: bytes, time_ns: int | None = None, detail: str = "", /
    ) -> bool: ...


@dataclass(frozen=True)
class DeliveryContext:
    """What a delivery needs besides its chunk.

    Attributes:
        encoder: makes requests of chunks.
        transport: sends bodies.
        timeout_s: seconds for one request, None for no bound.
        max_in_flight: requests of one chunk that may be under way at a time, at least 1.
        pace: how many there may be just now.
        crew: the threads that send them.
        resume: what was settled of chunks that were given back.
        stats: the account.
        watchdog: hears of progress and of failed attempts.
        timing: clock and waits.
        log: where lines about deliveries go.
        letters: where records go that can never be delivered; None: nowhere.
    """

    encoder: Encoder
    transport: Transport
    timeout_s: float | None
    max_in_flight: int
    pace: AdaptiveConcurrency
    crew: ThreadPool
    resume: ResumeMemory
    stats: Counters
    watchdog: Watchdog
    timing: Timing
    log: Log
    letters: Letters | None = None
