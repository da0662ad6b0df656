"""An output that sends payload after payload and is waited for, while records are delivered."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Self

from kinesis_fast.config import OutputConfig
from kinesis_fast.limits import SPOOL_START_SPREAD_S
from kinesis_fast.logs import LOGGER
from kinesis_fast.output import FlushResult, KinesisOutput
from kinesis_fast.stats import Stats

POLL_S: Final = 0.02  # between two looks at background deliveries
CLOSE_TIMEOUT_S: Final = 30.0


class AwaitedOutput:
    """A KinesisOutput for a command, which waits until its records are delivered.

    Leaving the `with` block closes the output, without waiting after KeyboardInterrupt.

    Args:
        config: where to send and how.
        patience_s: seconds of sending and waiting in which no record is delivered or skipped.
        keep_on: called between two polls; waiting ends when it returns False.

    Attributes:
        is_stuck: whether patience_s are over; nothing is waited for then.
    """

    def __init__(
        self,
        config: OutputConfig,
        patience_s: float,
        keep_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self.is_stuck = False
        self._keep_on = keep_on
        self._patience_s = patience_s
        self._n_settled = 0
        self._output = _quiet_output(config)
        # Since it changed. Chunks of an earlier run are not due before the spread is over.
        self._waited_s = -SPOOL_START_SPREAD_S if self._output.unread_chunks() else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self._output.close(0.0 if exc_type is KeyboardInterrupt else CLOSE_TIMEOUT_S)

    def stats(self) -> Stats:
        """Return the counters of the output."""
        return self._output.stats()

    def unread_chunks(self) -> int:
        """Return how many chunks of an earlier run wait in the spool, in no counter yet."""
        return self._output.unread_chunks()

    def send(self, payload: bytes, tag: str, *, once: bool = False) -> bool:
        """Send events; while the output takes no more, wait.

        Args:
            payload: the events.
            tag: for log lines.
            once: whether to leave it at one try.

        Returns:
            False when the waiting ended before the output took the payload.
        """
        return self._until(lambda: self._output.flush(payload, tag) is FlushResult.OK, once)

    def wait(self) -> None:
        """Wait until no record is pending, and no chunk of an earlier run waits in the spool."""
        self._until(lambda: not (self.unread_chunks() or self.stats()["pending"]))

    def _until(self, is_done: Callable[[], bool], once: bool = False) -> bool:
        """Repeat a step until it is done; False when keep_on or the patience ends that."""
        while self._keep_on() and not self.is_stuck:
            started = time.monotonic()
            if is_done():
                return True
            time.sleep(POLL_S)
            stats = self.stats()
            n_before, self._n_settled = self._n_settled, stats["delivered"] + stats["skipped"]
            self._waited_s += time.monotonic() - started
            if self._n_settled != n_before:
                self._waited_s = 0.0
            self.is_stuck = self._waited_s > self._patience_s
            if once:
                return False
        return False


def _quiet_output(config: OutputConfig) -> KinesisOutput:
    """Open an output without the warning that records in flight are lost when the process ends.

    A command waits for its records, so the warning does not apply.
    """
    unfit = set(config.warnings())
    unfit.difference_update(replace(config, experimental_concurrency=0).warnings())

    def is_wanted(record: logging.LogRecord) -> bool:
        return record.getMessage() not in unfit

    LOGGER.addFilter(is_wanted)
    try:
        return KinesisOutput(config)
    finally:
        LOGGER.removeFilter(is_wanted)
