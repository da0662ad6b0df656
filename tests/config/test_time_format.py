"""The specifiers of time_key_format."""

import platform
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast.config.time_format import split_subseconds

MARK = "\x01"
CONVERSIONS = list("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ")
MODIFIED = [*("E" + c for c in "cCxXyY"), *("O" + c for c in "deHImMSuUVwWybBh")]
SUBSECONDS = {"%L": 3, "%f": 6, "%3N": 3, "%6N": 6, "%9N": 9, "%N": 9}


@pytest.mark.parametrize(
    ("time_format", "expected"),
    [
        ("%H.%L", ("%H.\x01\x01\x01", (3,))),
        ("%Y-%m-%dT%H:%M:%S", ("%Y-%m-%dT%H:%M:%S", ())),
        ("%L%f%N", (MARK * 18, (3, 6, 9))),
        ("%3N|%6N|%9N", (f"{MARK * 3}|{MARK * 6}|{MARK * 9}", (3, 6, 9))),
        ("%%L %%f %%3N", ("%%L %%f %%3N", ())),
        ("%%%L", (f"%%{MARK * 3}", (3,))),
        ("%v", ("%e-%b-%Y", ())),
        ("%%v", ("%%v", ())),
        ("plain L f N text, ключ 🕐", ("plain L f N text, ключ 🕐", ())),
        ("%-d %_d %0e %^a %#Z %10Y %_5d %^#9b", ("%-d %_d %0e %^a %#Z %10Y %_5d %^#9b", ())),
        ("", ("", ())),
    ],
)
def test_split(time_format: str, expected: tuple[str, tuple[int, ...]]) -> None:
    assert split_subseconds(time_format) == expected


@pytest.mark.parametrize("conversion", CONVERSIONS + MODIFIED)
def test_specifiers_of_strftime(conversion: str) -> None:
    for flags in ("", "-", "_", "0", "^", "#", "9", "_20"):
        specifier = f"%{flags}{conversion}"
        assert split_subseconds(specifier) == (specifier, ())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="describes glibc's strftime")
@pytest.mark.parametrize("conversion", CONVERSIONS + MODIFIED)
def test_strftime_of_this_system_knows_what_we_accept(conversion: str) -> None:
    # glibc writes an unknown specifier as it stands.
    assert time.strftime(f"%{conversion}", time.gmtime(0)) != f"%{conversion}"


@pytest.mark.parametrize(
    ("time_format", "message"),
    [
        ("%Q", "the specifier '%Q' at position 1 is unknown"),
        ("abc %i", "the specifier '%i' at position 5 is unknown"),
        ("%%%q", "the specifier '%q' at position 3 is unknown"),
        ("%é", "the specifier '%é' at position 1 is unknown"),
        ("% d", "the specifier '% ' at position 1 is unknown"),
        ("%+", "the specifier '%+' at position 1 is unknown"),
        ("%\n", "the specifier '%\n' at position 1 is unknown"),
        ("%4N", "the specifier '%4N' at position 1 is unknown"),
        ("%-L", "the specifier '%-L' at position 1 is unknown"),
        ("%03N", "the specifier '%03N' at position 1 is unknown"),
        ("%3L", "the specifier '%3L' at position 1 is unknown"),
        ("%5v", "the specifier '%5v' at position 1 is unknown"),
        ("%5%", "the specifier '%5%' at position 1 is unknown"),
        ("%Ed", "the specifier '%Ed' at position 1 is unknown"),
        ("%OY", "the specifier '%OY' at position 1 is unknown"),
        ("%EOd", "the specifier '%EO' at position 1 is unknown"),
        ("%E5Y", "the specifier '%E5' at position 1 is unknown"),
        ("%Y%", "'%' at position 3 is incomplete"),
        ("%Y%-", "'%-' at position 3 is incomplete"),
        ("%E", "'%E' at position 1 is incomplete"),
        ("%100Y", "the width of '%100Y' at position 1 has more than 2 digits"),
        ("%0100Y", "the width of '%0100Y' at position 1 has more than 2 digits"),
        ("%H\x00", "the character \\x00 is not allowed"),
        ("%H\x01", "the character \\x01 is not allowed"),
        ("x" * 257, "longer than 256 characters"),
    ],
)
def test_refused(time_format: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        split_subseconds(time_format)


def test_the_longest_format() -> None:
    assert split_subseconds("%L" * 128) == (MARK * 384, (3,) * 128)


TOKENS = (
    st.sampled_from([(s, MARK * n, (n,)) for s, n in SUBSECONDS.items()])
    | st.sampled_from([(f"%{c}", f"%{c}", ()) for c in CONVERSIONS + MODIFIED])
    | st.sampled_from([("%%", "%%", ()), ("%v", "%e-%b-%Y", ())])
    | st.text(st.characters(exclude_characters="%\x00\x01"), min_size=1, max_size=3).map(
        lambda text: (text, text, ())
    )
)


@given(st.lists(TOKENS, max_size=60))
def test_any_sequence_of_known_parts(tokens: list[tuple[str, str, tuple[int, ...]]]) -> None:
    time_format = "".join(given for given, _, _ in tokens)
    text = "".join(rewritten for _, rewritten, _ in tokens)
    digits = tuple(n for _, _, count in tokens for n in count)

    assert split_subseconds(time_format) == (text, digits)


@given(st.text(st.sampled_from("%LfN369vEOYd_-0^# x"), max_size=30))
def test_any_text_is_split_or_refused(time_format: str) -> None:
    try:
        text, digits = split_subseconds(time_format)
    except ValueError:
        return
    assert text.count(MARK) == sum(digits)
