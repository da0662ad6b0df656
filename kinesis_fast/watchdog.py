"""SEND_FAILURE_TIMEOUT: detects that no record was acknowledged for too long."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from kinesis_fast.condition import Condition
from kinesis_fast.config.duration import parse_duration
from kinesis_fast.errors import ConfigError, SendFailureTimeout
from kinesis_fast.logs import LOGGER, Log, printable

VARIABLE: Final = "SEND_FAILURE_TIMEOUT"

_LINE_WAIT_S: Final = 1.0  # a blocked log handler must not keep the process alive


def send_failure_timeout(environ: Mapping[str, str] | None = None) -> float | None:
    """Return SEND_FAILURE_TIMEOUT in seconds; None if it is not set, empty or zero.

    Args:
        environ: the environment variables, os.environ by default.

    Raises:
        ConfigError: the value is negative or not a duration in the syntax of Go.
    """
    text = (os.environ if environ is None else environ).get(VARIABLE, "")
    if not text:
        return None
    try:
        nanoseconds = parse_duration(text)
        if nanoseconds < 0:
            raise ValueError("it is negative")
    except ValueError as error:
        raise ConfigError(
            f"environment variable {VARIABLE} is '{printable(text, 60)}': {error}; allowed: a "
            "duration such as 5m30s, 1.5h or 300ms (units ns, us, ms, s, m, h), or 0 for no timeout"
        ) from None
    return nanoseconds / 1e9 if nanoseconds else None


def exit_process(
    message: str, *, log: Log = LOGGER, exit_now: Callable[[int], object] = os._exit
) -> None:
    """Log one error line and end the process with status 1, without destructors or exit handlers.

    Args:
        message: the reason.
        log: the logger of the line.
        exit_now: called with the status; os._exit by default.
    """
    line = threading.Thread(
        target=log.error, args=("%s; exiting with status 1", message), daemon=True
    )
    line.start()
    line.join(_LINE_WAIT_S)
    exit_now(1)


class Watchdog:
    """Detects that no record was acknowledged for too long while there were records to send.

    The first begin() starts the time, and each progress() restarts it. The time continues while the
    host holds records that were returned to it. If no delivery begins for longer than the timeout,
    the host has dropped these records or was idle, and the next begin() restarts the time. All
    methods may be called from any thread. After a fork the child needs its own Watchdog.

    Args:
        timeout_s: seconds, more than 0; None disables the watchdog.
        clock: returns seconds that never decrease, time.monotonic by default.
        on_expired: called once, with the reason, before check() raises. A daemon thread then also
            watches the time, because a request that hangs never reaches check(). If None, only
            check() acts. A host process passes exit_process.
    """

    def __init__(
        self,
        timeout_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_expired: Callable[[str], object] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._on_expired = on_expired
        self._changed = Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._active: set[object] = set()
        self._host_holds = False
        self._waiting_since: float | None = None  # start of the time without an acknowledgement
        self._active_since = 0.0
        self._idle_since = 0.0
        self._fired = False
        self._closed = False

    def begin(self, key: object) -> None:
        """Start a delivery: until its end() there are records to send.

        Args:
            key: names it; hashable. To begin it again changes nothing.
        """
        if self._timeout_s is None:
            return
        with self._changed:
            now = self._clock()
            if not self._active:
                idle_s = now - self._idle_since
                if self._waiting_since is None or idle_s > self._timeout_s:
                    self._waiting_since = now
                self._active_since = now
                self._host_holds = False
                self._changed.notify_all()
            if self._on_expired is not None and not self._closed:
                self._start_thread()
            self._active.add(key)

    def end(self, key: object, *, returned: bool) -> None:
        """End a delivery; nothing happens if it has not begun, or has ended.

        Args:
            key: as for begin().
            returned: whether it returned records to the host (RETRY), so that the time continues;
                False if all of its records are delivered, skipped or dead.
        """
        if self._timeout_s is None:
            return
        with self._changed:
            if key not in self._active:
                return
            self._active.remove(key)
            self._host_holds |= returned
            if not self._active:
                self._idle_since = self._clock()
                if not self._host_holds:
                    self._waiting_since = None

    def progress(self) -> None:
        """Restart the time: at least one record was acknowledged."""
        if self._timeout_s is None:
            return
        with self._changed:
            self._waiting_since = self._clock()

    def check(self) -> None:
        """Check the time; call it after each failed attempt.

        Raises:
            SendFailureTimeout: the time is over; each call raises it until progress() is called.
        """
        if self._timeout_s is None:
            return
        with self._changed:
            if self._waiting_since is None:
                return
            waited_s = self._clock() - self._waiting_since
        if waited_s >= self._timeout_s:
            message = self._reason(waited_s)
            self._fire(message)
            raise SendFailureTimeout(message)

    def close(self) -> None:
        """Stop the thread if there is one; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._watch, name="kinesis-fast-watchdog", daemon=True
            )
            self._thread.start()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed and not self._fired:
                left_s = self._left_s()
                if left_s is not None and left_s <= 0:
                    break
                self._changed.wait(left_s)
            else:
                return
            assert self._waiting_since is not None
            message = self._reason(self._clock() - self._waiting_since)
        self._fire(message)

    def _left_s(self) -> float | None:
        """Return the seconds until the running delivery has lasted too long; None if none runs.

        A delivery that starts late, after a RETRY, first gets the chance to succeed. If it fails,
        check() looks at the whole time; this thread only looks at the time of the delivery.
        """
        if not self._active or self._waiting_since is None or self._timeout_s is None:
            return None
        return max(self._waiting_since, self._active_since) + self._timeout_s - self._clock()

    def _reason(self, waited_s: float) -> str:
        return (
            f"no record was acknowledged for {waited_s:.1f} s while there were records to send "
            f"({VARIABLE} is {self._timeout_s:g} s)"
        )

    def _fire(self, message: str) -> None:
        with self._changed:
            first = not self._fired and not self._closed
            self._fired = True
        if first and self._on_expired is not None:
            self._on_expired(message)
