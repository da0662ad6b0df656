"""The format of time_key_format: its specifiers, and the places of the sub-second digits."""

import re
import time
from typing import Final

from kinesis_fast.limits import MAX_TIME_FORMAT_LENGTH

SUBSECOND_MARK: Final = "\x01"  # one digit, in the format that split_subseconds returns

# strftime(3): conversions by modifier. POSIX.1-2024 added %Ob, %OB and %Oh.
_CONVERSIONS: Final = {
    "": frozenset("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ"),
    "E": frozenset("cCxXyY"),
    "O": frozenset("bBdehHImMSuUVwWy"),
}
_SUBSECOND_DIGITS: Final = {"%L": 3, "%f": 6, "%N": 9, "%3N": 3, "%6N": 6, "%9N": 9}
_SAME_AS: Final = {"%v": "%e-%b-%Y"}  # as the Go plugin's strftime library
_MAX_WIDTH_DIGITS: Final = 2
_SIGNS_OF_UTC: Final = ("Z", "UTC", "GMT", "+00:00", "+0000")

_SPECIFIER: Final = re.compile(r"%[_\-0^#]*([0-9]*)([EO]?)(.?)", re.DOTALL)


def split_subseconds(time_format: str) -> tuple[str, tuple[int, ...]]:
    r"""Return the format for strftime, and the number of sub-second digits at each place.

    Args:
        time_format: strftime(3) with the modifiers E and O, glibc's flags _ - 0 ^ # and a width of
            one or two digits; also %L (ms), %f (us), %3N %6N %9N, %N (ns) and %v (%e-%b-%Y). At
            most 256 characters.

    Returns:
        The format, in which each sub-second specifier is replaced by one \x01 per digit, and the
        lengths of these runs, in order: "%H.%L" gives ("%H.\x01\x01\x01", (3,)).

    Raises:
        ValueError: a specifier is unknown or incomplete, or the format is too long. The message
            names the position, in characters from 1.
    """
    if len(time_format) > MAX_TIME_FORMAT_LENGTH:
        raise ValueError(f"it is longer than {MAX_TIME_FORMAT_LENGTH} characters")
    for forbidden in ("\x00", SUBSECOND_MARK):
        if forbidden in time_format:
            raise ValueError(f"the character \\x{ord(forbidden):02x} is not allowed")
    digits: list[int] = []

    def rewritten(match: re.Match[str]) -> str:
        specifier = match.group()
        if specifier in _SUBSECOND_DIGITS:
            digits.append(_SUBSECOND_DIGITS[specifier])
            return SUBSECOND_MARK * digits[-1]
        if specifier != "%%" and specifier not in _SAME_AS:
            _check(match)
        return _SAME_AS.get(specifier, specifier)

    return _SPECIFIER.sub(rewritten, time_format), tuple(digits)


def sign_of_utc(time_format: str) -> str:
    """Return the literal sign of UTC at the end of a format, such as Z; empty if there is none."""
    literal = _SPECIFIER.sub("%", time_format).rstrip()
    return next((sign for sign in _SIGNS_OF_UTC if literal.endswith(sign)), "")


def local_time_is_utc() -> bool:
    """Tell whether the local time zone is UTC in summer and in winter."""
    return not time.timezone and not time.daylight


def _check(match: re.Match[str]) -> None:
    width, modifier, conversion = match.groups()
    where = f"at position {match.start() + 1}"
    if not conversion:
        raise ValueError(f"'{match.group()}' {where} is incomplete; write %% for a percent sign")
    if conversion not in _CONVERSIONS[modifier]:
        raise ValueError(f"the specifier '{match.group()}' {where} is unknown")
    if len(width) > _MAX_WIDTH_DIGITS:
        raise ValueError(
            f"the width of '{match.group()}' {where} has more than {_MAX_WIDTH_DIGITS} digits"
        )
