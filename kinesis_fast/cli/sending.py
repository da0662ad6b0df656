"""One run of `send`: read, hand over, wait, and account for every record."""

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO, Final, Self

from kinesis_fast.cli.account import Account
from kinesis_fast.cli.common import EXIT_FAILED, EXIT_OK, EXIT_SIGNAL, complain
from kinesis_fast.cli.progress import Progress
from kinesis_fast.cli.sources import CHUNK_BYTES, FORMATS, InputError, blocks, size_of
from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.logs import LOGGER
from kinesis_fast.output import FlushResult, KinesisOutput

POLL_S: Final = 0.02  # between two looks at deliveries that go on in the background
LATENCY_S: Final = 1.0  # after which the records of a slow pipe are sent, however few there are
CLOSE_TIMEOUT_S: Final = 30.0
MAX_BAD_LINES_SHOWN: Final = 10


class GivenUp(KinesisFastError):
    """Nothing of a chunk could be delivered; the log lines before say why."""


class Interrupts:
    """Notices Ctrl-C and requests to terminate: the first asks to stop, a second one stops."""

    def __init__(self) -> None:
        self.first: int | None = None  # number of the signal

    def __enter__(self) -> Self:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._notice) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _notice(self, number: int, _frame: object) -> None:
        if self.first is not None:
            raise KeyboardInterrupt
        self.first = number


class Sending:
    """The way of one input into a stream.

    Args:
        config: where to send and how; with deliveries in the background, so that what failed is
            sent again without what has arrived.
        file: the input.
        input_format: one of FORMATS.
        clock: gives seconds that never go back.
    """

    def __init__(
        self,
        config: OutputConfig,
        file: BinaryIO,
        input_format: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._clock = clock
        self._encoder = RecordEncoder(config)
        self._output = waiting_output(config)
        self._reader = FORMATS[input_format](self._on_bad_line)
        self._progress = Progress(sys.stderr, size_of(file), clock)
        self._interrupts = Interrupts()
        self._in_hand = b""
        self._handed_over_at = clock()
        self._stats_before = self._output.stats()
        self._is_at_end = False
        self._n_bad_lines = 0

    @property
    def n_delivered(self) -> int:
        """Records that the service has acknowledged."""
        return self._output.stats()["delivered"]

    def run(self) -> int:
        """Send the input, tell what became of it, and return the exit code."""
        LOGGER.addFilter(self._make_room)
        try:
            with self._interrupts:
                self._run_to_the_end()
        finally:
            self._progress.clear()
            LOGGER.removeFilter(self._make_room)
        account = self._account()
        for line in account.lines():
            print(line)
        if self._interrupts.first is not None:
            return EXIT_SIGNAL + self._interrupts.first
        return EXIT_OK if account.is_complete else EXIT_FAILED

    def _run_to_the_end(self) -> None:
        try:
            try:
                self._send_all()
                self._wait_for_deliveries()
                if self._is_interrupted:
                    self._tell(
                        "interrupted: finishing what is in flight; once more to stop at once"
                    )
            except KinesisFastError as error:
                self._tell(str(error))
            self._output.close(CLOSE_TIMEOUT_S)
        except KeyboardInterrupt:
            self._output.close(0.0)

    @property
    def _is_interrupted(self) -> bool:
        return self._interrupts.first is not None

    def _send_all(self) -> None:
        try:
            self._is_at_end = self._read_to_the_end()
        except InputError as error:  # what was read before is sent all the same
            self._tell(str(error))
        self._hand_over_ready()
        if self._reader.broken_at is not None:
            self._tell(f"malformed from byte {self._reader.broken_at:,} on: that cannot be read")

    def _read_to_the_end(self) -> bool:
        """Read as far as there is sense in it, handing over full chunks; False if interrupted."""
        for block in blocks(self._file):
            if self._is_interrupted:
                return False
            self._reader.feed(block)
            if self._is_chunk_due():
                self._hand_over_ready()
            if self._reader.broken_at is not None:
                return True
        self._reader.finish()
        return True

    def _is_chunk_due(self) -> bool:
        is_late = self._clock() - self._handed_over_at > LATENCY_S
        return self._reader.n_bytes >= (1 if is_late else CHUNK_BYTES)

    def _hand_over_ready(self) -> None:
        """Hand over the events that are ready; when interrupted they stay, or stay in hand."""
        if self._is_interrupted or not self._reader.n_bytes:
            return
        tag = f"from byte {self._reader.position}"
        self._in_hand = self._reader.take()
        while not self._is_interrupted:
            self._stop_if_hopeless()
            result = self._output.flush(self._in_hand, tag)
            if result is FlushResult.OK:
                self._in_hand = b""
                self._handed_over_at = self._clock()
                self._stats_before = self._output.stats()
                self._show_progress()
                return
            if result is FlushResult.ERROR:
                raise GivenUp("the output can never take this input; the lines before say why")
            self._poll()

    def _stop_if_hopeless(self) -> None:
        """Raise GivenUp when records were lost lately and not one arrived."""
        before = self._stats_before
        if self._output.stats()["dead"] == before["dead"]:
            return
        self._wait_for_deliveries()
        now = self._output.stats()
        if now["delivered"] == before["delivered"]:
            raise GivenUp("nothing arrives, so sending stops here; the lines before say why")
        self._stats_before = now

    def _wait_for_deliveries(self) -> None:
        while self._output.stats()["pending"] and not self._is_interrupted:
            self._poll()

    def _poll(self) -> None:
        self._show_progress()
        time.sleep(POLL_S)

    def _show_progress(self) -> None:
        self._progress.show(self._reader.position, self.n_delivered)

    def _account(self) -> Account:
        ready = self._reader.take()
        return Account(
            stats=self._output.stats(),
            n_bytes=self._reader.position,
            n_bad_lines=self._n_bad_lines,
            n_unsent=self._encoder.count(self._in_hand) + self._encoder.count(ready),
            unread_from=None if self._is_at_end else self._reader.position,
        )

    def _on_bad_line(self, number: int, reason: str) -> None:
        self._n_bad_lines += 1
        if self._n_bad_lines <= MAX_BAD_LINES_SHOWN:
            self._tell(f"line {number:,}: {reason}")
        elif self._n_bad_lines == MAX_BAD_LINES_SHOWN + 1:
            self._tell("further lines that are no record are counted only")

    def _tell(self, text: str) -> None:
        self._progress.clear()
        complain(text)

    def _make_room(self, _record: logging.LogRecord) -> bool:
        with contextlib.suppress(OSError):
            self._progress.clear()
        return True


def waiting_output(config: OutputConfig) -> KinesisOutput:
    """Return an output whose deliveries in the background somebody waits for.

    Its warning that records in flight are lost when the process ends is not for such a case.
    """
    waiting = replace(config, experimental_concurrency=0)
    unfit = set(config.warnings()) - set(waiting.warnings())

    def is_wanted(record: logging.LogRecord) -> bool:
        return record.levelno != logging.WARNING or record.getMessage() not in unfit

    LOGGER.addFilter(is_wanted)
    try:
        return KinesisOutput(config)
    finally:
        LOGGER.removeFilter(is_wanted)
