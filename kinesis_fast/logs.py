"""The logger "kinesis_fast": its level from FLB_LOG_LEVEL, Fluent Bit's line layout, safe text.

The program that imports this package decides where log lines go: only to_stderr() adds a handler.
TRACE is level 5, which the logging module does not define.
"""

import logging
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

LOGGER: Final = logging.getLogger("kinesis_fast")
TRACE: Final = 5
QUIET_S: Final = 60.0  # at least this long between two lines about the same kind of failure

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_VARIABLE = "FLB_LOG_LEVEL"
_LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}

# C0, DEL and C1; bidirectional controls; line and paragraph separators; lone surrogates.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CUT_MARK: Final = "..."
_MAX_UTF8_BYTES: Final = 4


class _Configured:
    """What configure() did last, so that it does not repeat itself or override the program."""

    text: str | None = None
    level: int = logging.NOTSET


def configure(environ: Mapping[str, str] | None = None) -> None:
    """Set the logger's level from FLB_LOG_LEVEL; a second call with the same value does nothing.

    Without the variable the level is info, unless the program has set a level. An unknown value
    logs one warning and sets info.

    Args:
        environ: the environment variables, os.environ by default.
    """
    text = (os.environ if environ is None else environ).get(_VARIABLE, "")
    if not text:
        if LOGGER.level in (logging.NOTSET, _Configured.level):
            _apply("", logging.INFO)
    elif text != _Configured.text:
        level = _LEVELS.get(text.lower())
        _apply(text, logging.INFO if level is None else level)
        if level is None:
            LOGGER.warning(
                "%s has the unknown value '%s', using info; allowed: %s",
                _VARIABLE,
                printable(text, 40),
                ", ".join(_LEVELS),
            )


def _apply(text: str, level: int) -> None:
    _Configured.text = text
    _Configured.level = level
    LOGGER.setLevel(level)


def for_instance(number: int) -> logging.LoggerAdapter[logging.Logger]:
    """Return the logger of one of several outputs in a process; its lines say [kinesis:number]."""
    return logging.LoggerAdapter(LOGGER, {"instance": number})


def to_stderr() -> None:
    """Write the log to stderr in Fluent Bit's layout, one line a call; for our own programs.

    Idempotent. Lines no longer reach the handlers of the root logger, which could repeat them.
    """
    if not any(isinstance(handler, _StderrHandler) for handler in LOGGER.handlers):
        handler = _StderrHandler()
        handler.setFormatter(FluentBitFormatter())
        LOGGER.addHandler(handler)
    LOGGER.propagate = False


class LogLimit:
    """Lets a line through once a minute; any thread may call it.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next_at = -math.inf
        self._n_held_back = 0

    def count(self, n_events: int = 1) -> int:
        """Count what a line is to tell of.

        Returns:
            How many events there were since the last line; 0: no line is due yet.
        """
        with self._lock:
            now = self._clock()
            self._n_held_back += n_events
            if now < self._next_at:
                return 0
            self._next_at = now + QUIET_S
            n_events, self._n_held_back = self._n_held_back, 0
            return n_events


def printable(value: str | bytes, limit: int) -> str:
    r"""Return text that is safe in a log line or error: control characters escaped, long text cut.

    Args:
        value: text or bytes; bytes that are not UTF-8 appear as \xNN.
        limit: characters of the result, at least 3; a cut result ends with "...".
    """
    text = value[: limit + 1] if isinstance(value, str) else _decoded(value, limit)
    whole = _escaped(text)
    if len(whole) <= limit:
        return whole
    kept, room = [], limit - len(_CUT_MARK)
    for piece in map(_escaped, text):
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + _CUT_MARK


def _decoded(value: bytes, limit: int) -> str:
    # The last character may be incomplete; the result has no room for it anyway.
    return value[: (limit + 1) * _MAX_UTF8_BYTES].decode("utf-8", "backslashreplace")


def _escaped(text: str) -> str:
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    return f"\\x{ord(character):02x}" if character <= "\xff" else f"\\u{ord(character):04x}"


class FluentBitFormatter(logging.Formatter):
    """Fluent Bit's layout: [2026/11/23 14:54:37.123] [ info] [kinesis:0] text.

    Everything in the text is escaped, including tracebacks, so each call writes one line. Several
    outputs in a process use for_instance() for their number.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its newline."""
        seconds, milliseconds = divmod(int(record.created * 1000), 1000)
        when = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(seconds))
        extra: dict[str, Any] = record.__dict__
        head = (
            f"[{when}.{milliseconds:03d}] [{_level_name(record.levelno):>5}] "
            f"[kinesis:{extra.get('instance', 0)}] "
        )
        return head + _escaped(super().format(record))


def _level_name(number: int) -> str:
    bounded = min(max(number, TRACE), logging.ERROR)
    return [name for name, level in _LEVELS.items() if level <= bounded][-1]


def counted(number: int, noun: str, form: str = "") -> str:
    """Return a number and what it counts, such as "1 record" or "2 records"."""
    return f"{number:{form}} {noun}{'s' * (number != 1)}"


class _StderrHandler(logging.Handler):
    """Writes each line at once to the current sys.stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if sys.stderr is not None:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
        except Exception:
            self.handleError(record)
