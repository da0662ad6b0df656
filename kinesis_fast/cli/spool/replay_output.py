"""Sends what `spool replay` takes from the disk, item by item, and tells what became of each."""

import time
from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from kinesis_fast.cli.sending import CLOSE_TIMEOUT_S, POLL_S, GivenUp, waiting_output
from kinesis_fast.config import OutputConfig
from kinesis_fast.output import FlushResult

SHARES: Final = ("in", "delivered", "skipped", "dead", "pending", "returned")


class Resending:
    """An output that sends one item after the other.

    Args:
        config: where to send and how; what it says of spool and dead letters does not count, for
            what cannot be sent stays where it is.
        whole: whether an item is tried as a whole: then nothing of it has arrived when it fails.
            That is for items of one record; what fails of a larger one is sent again without
            what has arrived, experimental_concurrency_retries times.
    """

    def __init__(self, config: OutputConfig, *, whole: bool) -> None:
        self._is_whole = whole
        self._output = waiting_output(
            replace(
                config,
                experimental_concurrency=0 if whole else 1,
                spool_dir=None,
                dead_letter_dir=None,
            )
        )
        self.totals: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._output.close(0.0 if exc_type is KeyboardInterrupt else CLOSE_TIMEOUT_S)

    def send(self, payload: bytes, tag: str) -> dict[str, int]:
        """Send events and return how many records were delivered, skipped, dead and so on.

        Raises:
            GivenUp: nothing arrives; the log lines before say why.
        """
        before = self._output.stats()
        result = self._output.flush(payload, tag)
        while self._output.stats()["pending"]:
            time.sleep(POLL_S)
        after = self._output.stats()
        shares = {name: after[name] - before[name] for name in SHARES}
        self.totals.update(shares)
        is_lost = shares["dead"] > 0 and not self._is_whole
        if not shares["delivered"] and (is_lost or result is not FlushResult.OK):
            raise GivenUp("nothing arrives, so this stops here; the lines before say why")
        return shares
