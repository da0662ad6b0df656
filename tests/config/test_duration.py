"""Durations in the syntax of Go."""

import re

import pytest

from kinesis_fast.config.duration import parse_duration

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("5s", 5 * SECOND),
        ("+5s", 5 * SECOND),
        ("-5s", -5 * SECOND),
        ("5m30s", 330 * SECOND),
        ("1.5h", 5400 * SECOND),
        ("300ms", 300_000_000),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("10us", 10_000),
        ("10\u00b5s", 10_000),
        ("10\u03bcs", 10_000),
        (".5s", 500_000_000),
        ("5.s", 5 * SECOND),
        ("1s1s", 2 * SECOND),
        ("1ms1h", 3600 * SECOND + 1_000_000),
        ("0.3333333333333333333h", 1_199_999_999_999),
        ("1.9ns", 1),
        ("007m", 420 * SECOND),
        ("9223372036854775807ns", 2**63 - 1),
        ("-9223372036854775808ns", -(2**63)),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it contains no number"),
        ("-", "it contains no number"),
        ("5", "'5' has no unit"),
        ("1h5", "'5' has no unit"),
        ("1.5", "'1.5' has no unit"),
        ("1.5.5s", "'1.5.5s' is not a number with a unit"),
        (".s", "'.s' is not a number with a unit"),
        ("s", "'s' is not a number with a unit"),
        (".", "'.' is not a number with a unit"),
        ("--5s", "'-5s' is not a number with a unit"),
        ("5s-5s", "the unit 's-' is unknown"),
        (" 5s", "' 5s' is not a number with a unit"),
        ("5 s", "the unit ' s' is unknown"),
        ("5s ", "the unit 's ' is unknown"),
        ("5S", "the unit 'S' is unknown"),
        ("5d", "the unit 'd' is unknown"),
        ("5min", "the unit 'min' is unknown"),
        ("1e3s", "the unit 'e' is unknown"),
        ("٣s", "'٣s' is not a number with a unit"),
        ("1_000s", "the unit '_' is unknown"),
        ("5\n", "the unit '\\n' is unknown"),
        ("9223372036854775808ns", "out of range"),
        ("-9223372036854775809ns", "out of range"),
        ("3000000h", "out of range"),
        ("1" * 5000 + "s", "too long"),
    ],
)
def test_texts_that_are_not_durations(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_duration(text)
