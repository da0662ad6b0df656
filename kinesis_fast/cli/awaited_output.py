"""An output that sends payload after payload, is waited for, and tells what became of each."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Self

from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.logs import LOGGER
from kinesis_fast.output import FlushResult, KinesisOutput

POLL_S: Final = 0.02  # between two looks at background deliveries
CLOSE_TIMEOUT_S: Final = 30.0


class GivenUp(KinesisFastError):
    """Records were not delivered, and retrying would not help; log lines give the reason."""


class AwaitedOutput:
    """A KinesisOutput for a command, which waits until its records are delivered.

    With experimental_concurrency, deliveries run in the background: a failed payload is retried
    without the records that have arrived. Without it, a payload is delivered within send() and
    fails as a whole, which suits payloads of one record.

    Leaving the `with` block closes the output, without waiting after KeyboardInterrupt.

    Args:
        config: where to send and how.
        keep_on: called between two polls; waiting ends when it returns False.
    """

    def __init__(self, config: OutputConfig, keep_on: Callable[[], bool] = lambda: True) -> None:
        self._keep_on = keep_on
        self._is_background = config.experimental_concurrency > 0
        self._output = _quiet_output(config)
        self._before = self.stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self._output.close(0.0 if exc_type is KeyboardInterrupt else CLOSE_TIMEOUT_S)

    def stats(self) -> dict[str, int]:
        """Return the counters of the output."""
        return self._output.stats()

    def send(self, payload: bytes, tag: str) -> bool:
        """Send events; while the output takes no more, wait.

        Returns:
            False when keep_on ended the waiting: the output has not taken the payload.

        Raises:
            GivenUp: records were lost since the last payload was taken, and none arrived.
        """
        while self._keep_on():
            self._check_progress()
            before = self.stats()
            result = self._output.flush(payload, tag)
            if result is FlushResult.OK or not self._is_background:
                self._before = before
                return True
            time.sleep(POLL_S)
        return False

    def wait(self) -> None:
        """Wait until no record is pending."""
        while self.stats()["pending"] and self._keep_on():
            time.sleep(POLL_S)

    def outcome(self) -> Counter[str]:
        """Return by how much each counter has grown since the last payload was sent."""
        now = Counter(self.stats())
        now.subtract(self._before)
        return now

    def raise_if_nothing_arrives(self) -> None:
        """Raise GivenUp when the last payload lost records and none of it was delivered."""
        outcome = self.outcome()
        if outcome["dead" if self._is_background else "returned"] and not outcome["delivered"]:
            raise GivenUp("no record was delivered, so sending stops; the lines above say why")

    def _check_progress(self) -> None:
        if self._is_background and self.outcome()["dead"]:
            self.wait()
            self.raise_if_nothing_arrives()
            self._before = self.stats()


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
