"""One run of `send`: read the input, send it, and account for every record."""

import contextlib
import logging
import sys
import time
from typing import BinaryIO, Final

from kinesis_fast.cli.account import Account
from kinesis_fast.cli.awaited_output import AwaitedOutput
from kinesis_fast.cli.common import Interrupts, complain
from kinesis_fast.cli.progress import Progress
from kinesis_fast.cli.sources import (
    CHUNK_BYTES,
    FORMATS,
    InputError,
    Remarks,
    blocks,
    malformed,
    size_of,
)
from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.logs import LOGGER

LATENCY_S: Final = 1.0  # the records of a slow pipe are sent after this long, however few they are


class Sending:
    """Sends one input to a stream.

    Args:
        config: where to send and how; with background deliveries (experimental_concurrency), so
            that a retry leaves out the records that have arrived.
        file: the input.
        input_format: one of FORMATS.
        patience_s: seconds without a record that is delivered, after which sending stops.
    """

    def __init__(
        self, config: OutputConfig, file: BinaryIO, input_format: str, patience_s: int
    ) -> None:
        self._file = file
        self._spool_dir = config.spool_dir
        self._patience_s = patience_s
        self._encoder = RecordEncoder(config)
        self._interrupts = Interrupts()
        self._progress = Progress(sys.stderr, size_of(file))
        self._remarks = Remarks(self._tell)
        self._reader = FORMATS[input_format](self._remarks)
        self._output = AwaitedOutput(config, patience_s, self._keep_on)
        self._n_taken = 0  # records of the input that the output took; counted with a spool
        self._in_hand = b""  # taken from the reader, not yet taken by the output
        self._last_sent_at = time.monotonic()
        self._is_at_end = False

    @property
    def n_delivered(self) -> int:
        """Records that the service has acknowledged."""
        return self._output.stats()["delivered"]

    def run(self) -> int:
        """Send the input, print what became of it, and return the exit code."""
        LOGGER.addFilter(self._clear_progress)
        try:
            with self._interrupts, contextlib.suppress(KeyboardInterrupt), self._output:
                self._send_and_wait()
        finally:
            self._progress.clear()
            LOGGER.removeFilter(self._clear_progress)
        if self._output.is_stuck:
            self._tell(self._why_stuck())
        account = self._account()
        print(*account.lines(), sep="\n")
        return self._interrupts.exit_code(is_complete=account.is_complete)

    def _send_and_wait(self) -> None:
        try:
            self._send_all()
            self._output.wait()
            if self._interrupts:
                self._tell(
                    "interrupted: finishing the records in flight; press Ctrl-C again to stop now"
                )
        except KinesisFastError as error:  # SEND_FAILURE_TIMEOUT is over
            self._tell(str(error))

    def _send_all(self) -> None:
        try:
            self._is_at_end = self._read_to_the_end()
        except InputError as error:  # what was read before is still sent
            self._tell(str(error))
        self._send_ready()
        if self._reader.broken_at is not None:
            self._tell(malformed(self._reader.broken_at))

    def _read_to_the_end(self) -> bool:
        """Read and send full chunks until the input ends or is malformed; False if stopped."""
        for block in blocks(self._file):
            if self._is_stopped():
                return False
            self._reader.feed(block)
            if self._is_chunk_due():
                self._send_ready()
            if self._reader.broken_at is not None:
                return True
        self._reader.finish()
        return True

    def _is_chunk_due(self) -> bool:
        is_late = time.monotonic() - self._last_sent_at > LATENCY_S
        return self._reader.n_bytes >= (1 if is_late else CHUNK_BYTES)

    def _send_ready(self) -> None:
        """Send the events that are ready; when sending has stopped they stay unsent."""
        if self._is_stopped() or not self._reader.n_bytes:
            return
        tag = f"from byte {self._reader.position}"
        self._in_hand = self._reader.take()
        if self._output.send(self._in_hand, tag):
            if self._spool_dir:
                self._n_taken += self._encoder.count(self._in_hand)
            self._in_hand = b""
            self._last_sent_at = time.monotonic()

    def _is_stopped(self) -> bool:
        return bool(self._interrupts) or self._output.is_stuck

    def _why_stuck(self) -> str:
        advice = "to outlast an outage, add -p spool_dir=/absolute/path or --patience SECONDS"
        if self._spool_dir:
            advice = "the next start, or `kinesis-fast spool replay`, sends what is in the spool"
        return f"no record was delivered for {self._patience_s} s, so sending stops; {advice}"

    def _keep_on(self) -> bool:
        self._progress.show(self._reader.position, self.n_delivered)
        return not self._interrupts

    def _account(self) -> Account:
        ready, stats = self._reader.take(), self._output.stats()
        n_earlier = stats["in"] - stats["returned"] - self._n_taken
        return Account(
            stats=stats,
            n_bytes=self._reader.position,
            n_bad_lines=self._remarks.n_bad_lines,
            n_unsent=self._encoder.count(self._in_hand) + self._encoder.count(ready),
            unread_from=None if self._is_at_end else self._reader.position,
            changed=self._remarks.changed,
            spool_dir=self._spool_dir,
            n_earlier=n_earlier if self._spool_dir else 0,
            n_unread_chunks=self._output.unread_chunks(),
        )

    def _tell(self, text: str) -> None:
        self._progress.clear()
        complain(text)

    def _clear_progress(self, _record: logging.LogRecord) -> bool:
        with contextlib.suppress(OSError):
            self._progress.clear()
        return True
