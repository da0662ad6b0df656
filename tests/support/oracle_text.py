"""How the oracle writes times, numbers and JSON, with one simple function each."""

from __future__ import annotations

import base64
import codecs
import math
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

MAX_TIME_S: Final = 253_402_300_799  # 9999-12-31T23:59:59Z
MIN_RFC3339_S: Final = -62_167_219_200  # 0000-01-01T00:00:00Z
CYCLE_S: Final = 12_622_780_800  # seconds in 400 years, after which the calendar repeats


class Ext(NamedTuple):
    """A msgpack extension value."""

    type: int
    data: bytes


class Pairs(list[tuple[Any, Any]]):
    """A map as its pairs in order, duplicate keys included."""


class Unwritable(NamedTuple):
    """Placeholder for a value that JSON cannot express; a record that contains it is skipped."""

    reason: str


class Skipped(Exception):
    """The record cannot be sent; the message is the name of the reason in Tally."""


# --- times --------------------------------------------------------------------------------------


def is_event_time(value: Any) -> bool:
    """Return whether a value is Fluent Bit's EventTime: 4 bytes seconds, 4 bytes nanoseconds."""
    return isinstance(value, Ext) and value.type == 0 and len(value.data) == 8


def is_group_marker(moment: Any) -> bool:
    """Return whether the time of an event marks the start (-1) or end (-2) of a group."""
    return is_event_time(moment) and int.from_bytes(moment.data[:4], "big", signed=True) in (-1, -2)


def seconds_and_nanoseconds(moment: Any) -> tuple[int, int] | None:
    """Return the time of an event, or None if it is not a time or out of range."""
    nanoseconds = 0
    if is_event_time(moment):
        seconds = int.from_bytes(moment.data[:4], "big", signed=True)
        nanoseconds = int.from_bytes(moment.data[4:], "big")
    elif isinstance(moment, float) and math.isfinite(moment) and moment >= 0:
        microseconds = math.floor((moment - math.floor(moment)) * 1e6 + 0.5)
        seconds = math.floor(moment) + microseconds // 10**6
        nanoseconds = microseconds % 10**6 * 1000
    elif isinstance(moment, int) and not isinstance(moment, bool):
        seconds = moment
    else:
        return None
    if not 0 <= seconds <= MAX_TIME_S or nanoseconds >= 10**9:
        return None
    return seconds, nanoseconds


def format_time(layout: str, seconds: int, nanoseconds: int, zone: str = "local") -> str:
    """Format a time with strftime, and fill in the sub-second specifiers."""
    fractions = {
        "%L": f"{nanoseconds // 10**6:03}",
        "%f": f"{nanoseconds // 10**3:06}",
        "%3N": f"{nanoseconds // 10**6:03}",
        "%6N": f"{nanoseconds // 10**3:06}",
        "%9N": f"{nanoseconds:09}",
        "%N": f"{nanoseconds:09}",
    }
    if zone == "utc":
        fractions |= {"%s": str(seconds), "%Z": "UTC"}  # of UTC, strftime knows neither
    filled = re.sub("%%|%[369]?N|%[LfsZ]", lambda match: fractions.get(match[0], match[0]), layout)
    fields = time.gmtime(seconds) if zone == "utc" else time.localtime(seconds)
    return time.strftime(filled, fields)


def rfc3339(ext: Ext) -> str | None:
    """Return the text of an extension that is a time, or None."""
    number = int.from_bytes(ext.data, "big")
    match ext.type, len(ext.data):
        case (0, 8):
            seconds, nanoseconds = number >> 32, number & 0xFFFF_FFFF
        case (-1, 4):
            seconds, nanoseconds = number, 0
        case (-1, 8):
            seconds, nanoseconds = number & ((1 << 34) - 1), number >> 34
        case (-1, 12):
            seconds = int.from_bytes(ext.data[4:], "big", signed=True)
            nanoseconds = int.from_bytes(ext.data[:4], "big")
        case _:
            return None
    seconds, nanoseconds = seconds + nanoseconds // 10**9, nanoseconds % 10**9
    if not MIN_RFC3339_S <= seconds <= MAX_TIME_S:
        return None
    n_cycles = 1 if seconds < 0 else 0  # datetime does not support year 0
    moved = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds + n_cycles * CYCLE_S)
    fraction = f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""
    return f"{moved.year - 400 * n_cycles:04}-{moved:%m-%dT%H:%M:%S}{fraction}Z"


# --- text ---------------------------------------------------------------------------------------

codecs.register_error("one_by_one", lambda error: ("\ufffd", getattr(error, "start", 0) + 1))

ESCAPES: Final = {i: f"\\u{i:04x}" for i in range(0x20)} | {
    ord(char): "\\" + letter for char, letter in zip('"\\\b\t\n\f\r', '"\\btnfr', strict=True)
}


def text_of(raw: bytes) -> str:
    """Decode bytes, with U+FFFD for each byte that is not UTF-8."""
    return raw.decode("utf-8", "one_by_one")


def json_string(text: str) -> str:
    """Return a JSON string with only the escapes that JSON requires."""
    return '"' + text.translate(ESCAPES) + '"'


def go_float(value: float) -> str:
    """Return the shortest digits that read back as the finite value, in Go's layout."""
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return sign + "0"
    _, digit_tuple, exponent = Decimal(repr(abs(value))).as_tuple()
    assert isinstance(exponent, int)
    exponent += len(digit_tuple) - 1  # of the first digit, which is not 0
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    if not 1e-6 <= abs(value) < 1e21:
        rest = "." + digits[1:] if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{rest}e{exponent:+03}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def scalar_text(value: Any) -> str:
    """Return the text of a string, boolean or number as a map key or a partition key."""
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return go_float(value)
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]


def key_text(key: Any, dot: str | None) -> str:
    """Return the text of a map key; dots are replaced only in strings."""
    if key is None:
        return "null"
    moment = rfc3339(key) if isinstance(key, Ext) else None
    if moment is not None:
        return moment
    if isinstance(key, Ext | Unwritable):
        raise Skipped("skipped_bad_key")
    if isinstance(key, bytes) and dot is not None:
        key = key.replace(b".", dot.encode())
    return scalar_text(key)


def to_json(value: Any, dot: str | None, nans: Counter[str]) -> str:
    """Return the compact JSON of a value; count NaN and infinities, which become null."""
    if isinstance(value, Unwritable):
        raise Skipped(value.reason)
    if isinstance(value, Pairs):
        members = (json_string(key_text(k, dot)) + ":" + to_json(v, dot, nans) for k, v in value)
        return "{" + ",".join(members) + "}"
    if isinstance(value, Ext):
        moment = rfc3339(value)
        data = base64.b64encode(value.data).decode()
        return f'{{"type":{value.type},"data":"{data}"}}' if moment is None else json_string(moment)
    if isinstance(value, list):
        return "[" + ",".join(to_json(item, dot, nans) for item in value) + "]"
    if isinstance(value, bytes):
        return json_string(text_of(value))
    if isinstance(value, float) and not math.isfinite(value):
        nans["nan_values"] += 1
        return "null"
    return "null" if value is None else scalar_text(value)
