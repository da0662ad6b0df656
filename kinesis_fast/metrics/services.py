"""Where metrics go: an address that is scraped, a file that is read."""

import os
import threading
from typing import Final

from kinesis_fast.config.parsers import address_text
from kinesis_fast.logs import Log
from kinesis_fast.metrics.endpoint import Address, Endpoint
from kinesis_fast.metrics.file import MetricsFile
from kinesis_fast.metrics.pages import Pages
from kinesis_fast.metrics.ticker import Task, shared_ticker

FILE_S: Final = 15.0  # seconds between two writes of metrics_file
LISTEN_AGAIN_S: Final = 30.0  # seconds until a taken port is tried again


class Listening:
    """Serves metrics at an address, as soon as it is free.

    Args:
        address: IP address and port.
        pages: the metrics.
        log: takes a line when that is so, and one when metrics are served.
    """

    def __init__(self, address: Address, pages: Pages, log: Log) -> None:
        self._address = address
        self._pages = pages
        self._log = log
        self._lock = threading.Lock()
        self._endpoint: Endpoint | None = None
        self._is_over = False
        self._task: Task | None = None

    def begin(self) -> None:
        """Listen, or say why that is not possible and try again later."""
        try:
            self._listen()
        except (OSError, RuntimeError) as error:
            self._log.error(
                "cannot serve metrics at %s: %s; the output goes on without, and tries again every "
                "%d seconds, without a further line until it succeeds",
                *(address_text(self._address), _reason(error)),
                LISTEN_AGAIN_S,
            )
            self._task = shared_ticker().add(LISTEN_AGAIN_S, self._try_again)

    def end(self) -> None:
        """Listen no more."""
        if self._task is not None:
            shared_ticker().remove(self._task)
        with self._lock:
            self._is_over = True
            endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close()

    def forget(self) -> None:
        """Close what a forked child has of it."""
        if self._endpoint is not None:
            self._endpoint.forget()

    def _try_again(self) -> bool:
        """Listen if that is possible now. Returns whether it has to be tried again."""
        try:
            self._listen()
        except (OSError, RuntimeError):
            return True
        return False

    def _listen(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._endpoint = Endpoint(self._address, self._pages.page)
            self._log.info("metrics are served at http://%s/metrics", address_text(self._address))


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return str(error) if number is None else os.strerror(number)


class Writing:
    """Writes metrics to a file, now and again.

    Args:
        path: of the file.
        pages: the metrics.
        log: see MetricsFile.
    """

    def __init__(self, path: str, pages: Pages, log: Log) -> None:
        self._file = MetricsFile(path, pages.file, log)
        self._task: Task | None = None

    def begin(self) -> None:
        """Write the file now, and then every FILE_S seconds."""
        self._task = shared_ticker().add(FILE_S, self._file.write, at_once=True)

    def end(self) -> None:
        """Write what there is at the end; the file stays."""
        if self._task is not None:
            shared_ticker().remove(self._task)
        self._file.write()
        self._file.close()

    def forget(self) -> None:
        """Close what a forked child has of it."""
        self._file.forget()
