"""The text of time_key: time zones, locales, sub-second digits and unusable times."""

from __future__ import annotations

import locale
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wire
from chunks import event, event_time, old_event, output_config
from encoded import NOW_S, drain
from oracle_text import format_time
from zones import SetZone

from kinesis_fast import RecordEncoder

SECOND = 1_700_000_000  # 2023-11-14T22:13:20Z

# New York changes its clocks on 8 March 2026 07:00 UTC and on 1 November 2026 06:00 UTC.
SPRING = 1_772_953_200
AUTUMN = 1_793_512_800


@pytest.fixture
def utc(set_zone: SetZone) -> None:
    set_zone("UTC")


def times_of(
    chunk: bytes, time_key_format: str = "%Y-%m-%dT%H:%M:%S", time_zone: str = "local"
) -> list[str]:
    """Return the time in each record of a chunk."""
    options = {"time_key": "t", "log_key": "t", "time_key_format": time_key_format}
    options["time_zone"] = time_zone
    return [entry.data.decode() for entry in drain(chunk, output_config(options)).entries]


def at(*moments: Any) -> bytes:
    return b"".join(event({}, moment) for moment in moments)


# --- time zones ---------------------------------------------------------------------------------


def test_new_york_when_the_clocks_go_forward(set_zone: SetZone) -> None:
    set_zone("America/New_York")

    assert times_of(at(SPRING - 1, SPRING, SPRING - 1), "%F %T %z %Z") == [
        "2026-03-08 01:59:59 -0500 EST",
        "2026-03-08 03:00:00 -0400 EDT",
        "2026-03-08 01:59:59 -0500 EST",
    ]


def test_new_york_when_the_clocks_go_back(set_zone: SetZone) -> None:
    set_zone("America/New_York")

    assert times_of(at(AUTUMN - 3600, AUTUMN - 1, AUTUMN, AUTUMN + 3600), "%F %T %z %Z") == [
        "2026-11-01 01:00:00 -0400 EDT",
        "2026-11-01 01:59:59 -0400 EDT",
        "2026-11-01 01:00:00 -0500 EST",
        "2026-11-01 02:00:00 -0500 EST",
    ]


def test_kolkata(set_zone: SetZone) -> None:
    set_zone("Asia/Kolkata")

    assert times_of(at(SECOND, event_time(SECOND, 5)), "%FT%T.%9N%z %Z") == [
        "2023-11-15T03:43:20.000000000+0530 IST",
        "2023-11-15T03:43:20.000000005+0530 IST",
    ]


def test_the_zone_may_change_while_the_process_runs(set_zone: SetZone) -> None:
    shown = []
    for zone in ("UTC", "America/New_York", "Asia/Kolkata", "<-01>1", "UTC"):
        set_zone(zone)
        shown.append(times_of(at(SECOND), "%H:%M %z"))

    assert shown == [["22:13 +0000"], ["17:13 -0500"], ["03:43 +0530"], ["21:13 -0100"], shown[0]]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_moments_of_many_years(set_zone: SetZone, zone: str) -> None:
    set_zone(zone)
    layout = "%Y-%m-%dT%H:%M:%S%z %Z %j %a %b %s"
    moments = range(0, 2**32, 30 * 60 * 997)

    assert times_of(at(*moments), layout) == [format_time(layout, m, 0) for m in moments]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_utc_in_any_local_zone(set_zone: SetZone, zone: str) -> None:
    set_zone(zone)
    layout = "%Y-%m-%dT%H:%M:%S.%LZ %z %Z %j %a %s %%s"
    moments = [0, 1, SECOND, SPRING - 1, SPRING, AUTUMN - 3600, AUTUMN, 2**32 - 1]

    found = times_of(at(*moments), layout, "utc")

    assert found == [format_time(layout, moment, 0, "utc") for moment in moments]
    assert found[2] == "2023-11-14T22:13:20.000Z +0000 UTC 318 Tue 1700000000 %s"


@pytest.mark.parametrize(
    ("specifier", "expected"),
    [
        ("%s", "5"),
        ("%4s", "   5"),
        ("%04s", "0005"),
        ("%_0#4s", "0005"),
        ("%0_^4s", "   5"),
        ("%-4s", "   5"),
        ("%2s%03s", " 5005"),
    ],
)
def test_flags_and_width_of_the_second(set_zone: SetZone, specifier: str, expected: str) -> None:
    """In UTC they are not left to strftime; the results are those of glibc."""
    set_zone("Asia/Kolkata")
    (text,) = times_of(at(5), f"<{specifier}|%%s|%H>", "utc")
    assert text == f"<{expected}|%s|00>"


def test_the_longest_format_in_utc() -> None:
    assert times_of(at(SECOND), "%s" * 128, "utc") == [str(SECOND) * 128]
    (text,) = times_of(at(5), "%99s" * 64, "utc")
    assert text == f"{5:99}" * 64


# --- locales ------------------------------------------------------------------------------------

LC_TIME = """
LC_TIME
abday "xa";"xb";"xc";"xd";"xe";"xf";"xg"
day "xsun";"xmon";"xtue";"xwed";"xthu";"xfri";"xsat"
abmon "y1";"y2";"y3";"y4";"y5";"y6";"y7";"y8";"y9";"y10";"y11";"y12"
mon "z1";"z2";"z3";"z4";"z5";"z6";"z7";"z8";"z9";"z10";"z11";"z12"
am_pm "vor";"nach"
d_t_fmt "%d-%m-%Y"
d_fmt "%d#%m"
t_fmt "%H#%M"
t_fmt_ampm "%I#%M %p"
END LC_TIME
"""
OTHER_CATEGORIES = ("CTYPE", "COLLATE", "MONETARY", "NUMERIC", "MESSAGES")


@pytest.fixture(scope="module")
def locale_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a made-up locale that localedef compiled."""
    if shutil.which("localedef") is None:
        pytest.skip("no localedef to compile a locale")
    directory = tmp_path_factory.mktemp("locales")
    source = directory / "source"
    others = "".join(f'LC_{name}\ncopy "POSIX"\nEND LC_{name}\n' for name in OTHER_CATEGORIES)
    source.write_text(others + LC_TIME, encoding="ascii")
    # Without -c, localedef fails after its warnings about missing categories.
    done = subprocess.run(
        ["localedef", "-c", "-i", source, "-f", "UTF-8", directory / "xx_XX.UTF-8"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (directory / "xx_XX.UTF-8" / "LC_TIME").exists():
        pytest.skip(f"localedef failed: {done.stderr.strip()[-200:]}")
    return directory


@pytest.fixture
def other_locale(locale_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = locale.setlocale(locale.LC_ALL)
    monkeypatch.setenv("LOCPATH", os.fspath(locale_directory))
    locale.setlocale(locale.LC_TIME, "xx_XX.UTF-8")
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.usefixtures("utc", "other_locale")
def test_the_locale_of_the_process_changes_nothing() -> None:
    assert time.strftime("%A %p", time.gmtime(SECOND)) == "xtue nach"

    assert times_of(at(SECOND), "%a %A %b %B %h %p|%c|%x|%X|%r") == [
        "Tue Tuesday Nov November Nov PM|Tue Nov 14 22:13:20 2023|11/14/23|22:13:20|10:13:20 PM"
    ]
    decimal = drain(event({"a": 1.5, "b": 1e21}), output_config()).entries[0].data
    assert decimal == b'{"a":1.5,"b":1e+21}'


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("%Y-%m-%dT%H:%M:%S", "2023-11-14T22:13:20"),
        ("%L|%f|%3N|%6N|%9N|%N", "012|012345|012|012345|012345678|012345678"),
        ("%L%L%f", "012012012345"),
        ("%%L%%%L%%%%f", "%L%012%%f"),
        ("%s.%L", "1700000000.012"),
        ("%D %e %I %y %C %G %g %V %u %w %U %W", "11/14/23 14 10 23 20 2023 23 46 2 2 46 46"),
        ("%n%t|", "\n\t|"),
        ("plain text", "plain text"),
        ("é %H 世", "é 22 世"),
        ("%-d %_H %^a %5Y", "14 22 TUE 02023"),
        ("%v", "14-Nov-2023"),
        ("%R %T %F %P %l %k", "22:13 22:13:20 2023-11-14 pm 10 22"),
    ],
)
def test_formats(layout: str, text: str) -> None:
    assert times_of(at(event_time(SECOND, 12_345_678)), layout) == [text]


@pytest.mark.usefixtures("utc")
def test_subseconds_are_cut_not_rounded() -> None:
    chunk = at(*(event_time(SECOND, n) for n in (0, 999_999_999, 1, 999_999, 1_000_000)))

    assert times_of(chunk, "%S.%L %S.%f %9N") == [
        "20.000 20.000000 000000000",
        "20.999 20.999999 999999999",
        "20.000 20.000000 000000001",
        "20.000 20.000999 000999999",
        "20.001 20.001000 001000000",
    ]


@pytest.mark.usefixtures("utc")
def test_many_events_in_few_seconds() -> None:
    """Within a second only the sub-second digits change; the seconds come in any order."""
    moments = [(SECOND + i * 7 % 5, i * 977 % 1000 * 1_000_000 + i) for i in range(3000)]
    chunk = at(*(event_time(*moment) for moment in moments))
    layout = "%H:%M:%S.%L %f %9N"

    assert times_of(chunk, layout) == [format_time(layout, *moment) for moment in moments]


@pytest.mark.usefixtures("utc")
def test_seconds_that_share_a_place_in_the_cache() -> None:
    """The cache has a place for each second modulo 64."""
    seconds = [SECOND, SECOND + 64, SECOND, SECOND + 128]

    assert times_of(at(*seconds), "%s") == [str(second) for second in seconds]


# --- the time of an event -----------------------------------------------------------------------


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000"),
        (SECOND, "2023-11-14T22:13:20.000000000"),
        (2**31, "2038-01-19T03:14:08.000000000"),
        (2**32, "2106-02-07T06:28:16.000000000"),
        (253_402_300_799, "9999-12-31T23:59:59.000000000"),
        (0.0, "1970-01-01T00:00:00.000000000"),
        (-0.0, "1970-01-01T00:00:00.000000000"),
        (SECOND + 0.25, "2023-11-14T22:13:20.250000000"),
        (SECOND + 0.123456, "2023-11-14T22:13:20.123456000"),
        (SECOND + 0.9999999, "2023-11-14T22:13:21.000000000"),
        (0.5, "1970-01-01T00:00:00.500000000"),
        (253_402_300_799.5, "9999-12-31T23:59:59.500000000"),
        (event_time(0), "1970-01-01T00:00:00.000000000"),
        (event_time(SECOND, 999_999_999), "2023-11-14T22:13:20.999999999"),
        (event_time(2**31 - 1, 1), "2038-01-19T03:14:07.000000001"),
    ],
)
def test_times_of_every_kind(moment: Any, text: str) -> None:
    layout = "%Y-%m-%dT%H:%M:%S.%9N"

    assert times_of(event({}, moment), layout) == times_of(old_event({}, moment), layout) == [text]
    assert "bad_times" not in drain(event({}, moment), output_config({"time_key": "t"})).tally


BAD_TIMES = [
    -1,
    -(2**63),
    253_402_300_800,
    2**64 - 1,
    -0.001,
    -1e-38,
    -1.0,
    253_402_300_800.0,
    1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
    event_time(-3),
    event_time(-(2**31)),
    event_time(SECOND, 1_000_000_000),
    event_time(SECOND, 2**32 - 1),
    None,
    True,
    "1700000000",
    b"1700000000",
    {},
]


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize("moment", BAD_TIMES)
def test_an_unusable_time_is_replaced_by_the_current_time_and_counted(moment: Any) -> None:
    options = {"time_key": "t", "time_key_format": "%s.%9N"}
    chunk = event({}, moment) + event({}, SECOND) + old_event({}, moment)
    now, then = f'{{"t":"{NOW_S}.000000000"}}', f'{{"t":"{SECOND}.000000000"}}'

    drained = drain(chunk, output_config(options))

    assert [entry.data.decode() for entry in drained.entries] == [now, then, now]
    assert drained.tally == {"records": 3, "bad_times": 2}


@pytest.mark.usefixtures("utc")
def test_an_extension_other_than_event_time_is_not_a_time() -> None:
    for moment in (wire.ext(0, bytes(7)), wire.ext(-1, bytes(4)), wire.ext(5, bytes(8))):
        body = wire.mapping([])
        for form in (moment, wire.array([moment, body])):
            drained = drain(wire.array([form, body]), output_config({"time_key": "t"}))
            assert drained.tally == {"records": 1, "bad_times": 1}


def test_the_current_time_is_counted_only_where_it_is_sent() -> None:
    chunk = event({"a": 1}, -5) + event("no map", -5)

    assert "bad_times" not in drain(chunk, output_config()).tally
    assert drain(chunk, output_config({"time_key": "t"})).tally["bad_times"] == 1


def test_the_current_time_comes_from_the_system_clock() -> None:
    encoder = RecordEncoder(output_config({"time_key": "t", "time_key_format": "%s.%9N"}))

    before = time.time()
    (record,) = encoder.records(event({}, -5))
    after = time.time()

    assert before - 0.001 <= float(record.data[6:-2]) <= after + 0.001
