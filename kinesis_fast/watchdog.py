"""SEND_FAILURE_TIMEOUT: what happens when nothing arrives for too long."""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from kinesis_fast.errors import ConfigError, SendFailureTimeout
from kinesis_fast.logs import LOGGER, Log, printable

VARIABLE: Final = "SEND_FAILURE_TIMEOUT"

_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_NS: Final = 2**63 - 1
_MAX_DURATION_LENGTH: Final = 100  # characters, far beyond any duration that fits into 63 bits
_PART: Final = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_LINE_WAIT_S: Final = 1.0  # a log handler that is stuck must not keep the process alive


def send_failure_timeout(environ: Mapping[str, str] | None = None) -> float | None:
    """Return SEND_FAILURE_TIMEOUT in seconds, None when it is not set, empty or zero.

    Args:
        environ: where to look the variable up, os.environ by default.

    Raises:
        ConfigError: the value is no duration as Go writes them, or negative.
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
            f"environment variable {VARIABLE} is '{printable(text, 60)}': {error}; allowed is a "
            "duration such as 5m30s, 1.5h or 300ms (units ns, us, ms, s, m, h), 0 switches it off"
        ) from None
    return nanoseconds / 1e9 if nanoseconds else None


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration in the syntax of Go's time.ParseDuration.

    Args:
        text: an optional sign, then numbers with optional fractions, each with a unit; or "0".

    Raises:
        ValueError: what is wrong with the text.
    """
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if digits == "0":
        return 0
    if not digits:
        raise ValueError("there is no number")
    if len(digits) > _MAX_DURATION_LENGTH:
        raise ValueError("it is too long")
    negative = text.startswith("-")
    total = position = 0
    while position < len(digits):
        part = _PART.match(digits, position)
        if part is None:
            raise ValueError(_what_is_wrong(digits[position:]))
        total += _part_ns(*part.groups(default=""))
        position = part.end()
    # As in Go the one value below -_MAX_NS exists with a minus sign only.
    if total > _MAX_NS + negative:
        raise ValueError("it is out of range (about 292 years)")
    return -total if negative else total


def _part_ns(whole: str, fraction: str, unit: str) -> int:
    scale = _UNITS_NS.get(unit)
    if scale is None:
        raise ValueError(f"the unit '{printable(unit, 20)}' is unknown")
    denominator = int("1" + "0" * len(fraction))
    return int(whole or "0") * scale + int(fraction or "0") * scale // denominator


def _what_is_wrong(rest: str) -> str:
    if re.fullmatch(r"(?=\.?[0-9])[0-9]*\.?[0-9]*", rest):
        return f"'{rest}' has no unit"
    return f"'{printable(rest, 20)}' is no number with a unit"


def exit_process(
    message: str, *, log: Log = LOGGER, exit_now: Callable[[int], object] = os._exit
) -> None:
    """Log one error line and end the process with status 1, without destructors or exit handlers.

    Args:
        message: why.
        log: where the line goes.
        exit_now: takes the status; os._exit by default.
    """
    line = threading.Thread(
        target=log.error, args=("%s; the process ends now with status 1", message), daemon=True
    )
    line.start()
    line.join(_LINE_WAIT_S)
    exit_now(1)


class Watchdog:
    """Notices that no record was acknowledged for too long while there was something to send.

    The time starts with the first begin(), and anew with every progress(). It goes on while the
    host holds records that were returned to it, but not when the host came back with nothing for
    longer than the time-out: then it has dropped them, or has been idle. All methods may be called
    from any thread. After a fork the child needs a Watchdog of its own.

    Args:
        timeout_s: seconds, more than 0; None switches everything off.
        clock: seconds that never go back, time.monotonic by default.
        on_expired: called once, with the reason, before check() raises. With it a daemon thread
            watches as well, because a request that hangs never comes to check(). None: only check()
            acts. exit_process is what a host process wants.
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
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._active = 0
        self._host_holds = False
        self._waiting_since: float | None = None  # since when an acknowledgement is overdue
        self._active_since = 0.0
        self._idle_since = 0.0
        self._fired = False
        self._closed = False

    def begin(self) -> None:
        """Say that a delivery starts: there is something to send until its end()."""
        if self._timeout_s is None:
            return
        with self._changed:
            now = self._clock()
            if self._active == 0:
                idle_s = now - self._idle_since
                if self._waiting_since is None or idle_s > self._timeout_s:
                    self._waiting_since = now
                self._active_since = now
                self._host_holds = False
                self._changed.notify_all()
            if self._on_expired is not None and not self._closed:
                self._start_thread()
            self._active += 1

    def end(self, *, returned: bool) -> None:
        """Say that a delivery is over.

        Args:
            returned: whether it gave records back to the host (RETRY), which keeps the time
                running; False when all of its records are delivered, skipped or dead.
        """
        if self._timeout_s is None:
            return
        with self._changed:
            if self._active == 0:
                raise RuntimeError("Watchdog.end() without begin()")
            self._active -= 1
            self._host_holds |= returned
            if self._active == 0:
                self._idle_since = self._clock()
                if not self._host_holds:
                    self._waiting_since = None

    def progress(self) -> None:
        """Say that at least one record was acknowledged: the time starts anew."""
        if self._timeout_s is None:
            return
        with self._changed:
            self._waiting_since = self._clock()

    def check(self) -> None:
        """Look at the time; to be called after each attempt that failed.

        Raises:
            SendFailureTimeout: the time is up, and stays so until progress().
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
        """End the thread, if there is one; idempotent."""
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
        """Return the seconds until a delivery under way counts as stuck, None when there is none.

        A delivery that begins late, after a RETRY, is first left to fail or to succeed: check()
        judges the failure, this thread only a delivery that itself has lasted too long.
        """
        if self._active == 0 or self._waiting_since is None or self._timeout_s is None:
            return None
        return max(self._waiting_since, self._active_since) + self._timeout_s - self._clock()

    def _reason(self, waited_s: float) -> str:
        return (
            f"no record was acknowledged for {waited_s:.1f} s while there was something to send "
            f"({VARIABLE} allows {self._timeout_s:g} s)"
        )

    def _fire(self, message: str) -> None:
        with self._changed:
            first = not self._fired and not self._closed
            self._fired = True
        if first and self._on_expired is not None:
            self._on_expired(message)
