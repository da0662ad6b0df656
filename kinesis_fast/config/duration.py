"""Durations in the syntax of Go, for values that a Fluent Bit user already writes that way."""

import re
from typing import Final

from kinesis_fast.logs import printable

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
_MAX_DURATION_LENGTH: Final = 100  # characters; any duration that fits into 63 bits is shorter
_PART: Final = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration in the syntax of Go's time.ParseDuration.

    Args:
        text: an optional sign, then numbers, each with an optional fraction and a unit; or "0".
            Units are ns, us, ms, s, m and h.

    Raises:
        ValueError: what is wrong with the text.
    """
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if digits == "0":
        return 0
    if not digits:
        raise ValueError("it contains no number")
    if len(digits) > _MAX_DURATION_LENGTH:
        raise ValueError("it is too long")
    negative = text.startswith("-")
    total = position = 0
    while position < len(digits):
        part = _PART.match(digits, position)
        if part is None:
            raise ValueError(_reason(digits[position:]))
        total += _part_ns(*part.groups(default=""))
        position = part.end()
    # As in Go, the range includes -2**63, which has no positive counterpart.
    if total > _MAX_NS + negative:
        raise ValueError("it is out of range (about 292 years)")
    return -total if negative else total


def _part_ns(whole: str, fraction: str, unit: str) -> int:
    scale = _UNITS_NS.get(unit)
    if scale is None:
        raise ValueError(f"the unit '{printable(unit, 20)}' is unknown")
    denominator = int("1" + "0" * len(fraction))
    return int(whole or "0") * scale + int(fraction or "0") * scale // denominator


def _reason(rest: str) -> str:
    if re.fullmatch(r"(?=\.?[0-9])[0-9]*\.?[0-9]*", rest):
        return f"'{rest}' has no unit"
    return f"'{printable(rest, 20)}' is not a number with a unit"
