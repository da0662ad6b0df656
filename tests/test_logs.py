"""FLB_LOG_LEVEL, Fluent Bit's line layout, and text that cannot forge a line."""

import logging
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast import logs
from kinesis_fast.logs import LOGGER, TRACE, configure, for_instance, printable, to_stderr

LINE = re.compile(
    r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}\] \[( info| warn|error|debug|trace)\] "
    r"\[kinesis:\d+\] .*"
)


@pytest.fixture(autouse=True)
def untouched_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    level, handlers, propagate = LOGGER.level, LOGGER.handlers[:], LOGGER.propagate
    monkeypatch.setattr(logs._Configured, "text", None)
    monkeypatch.setattr(logs._Configured, "level", logging.NOTSET)
    LOGGER.setLevel(logging.NOTSET)
    LOGGER.handlers.clear()
    LOGGER.propagate = True
    yield
    LOGGER.setLevel(level)
    LOGGER.handlers[:] = handlers
    LOGGER.propagate = propagate


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("trace", TRACE),
        ("debug", logging.DEBUG),
        ("info", logging.INFO),
        ("warn", logging.WARNING),
        ("error", logging.ERROR),
        ("", logging.INFO),
    ],
)
def test_levels_in_any_case(text: str, level: int) -> None:
    for variant in (text, text.upper(), text.capitalize()):
        configure({"FLB_LOG_LEVEL": variant})
        assert LOGGER.level == level


def test_off_silences_everything() -> None:
    configure({"FLB_LOG_LEVEL": "Off"})
    assert not LOGGER.isEnabledFor(logging.CRITICAL)


def test_the_default_is_info_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLB_LOG_LEVEL", raising=False)
    configure()
    assert LOGGER.level == logging.INFO
    monkeypatch.setenv("FLB_LOG_LEVEL", "debug")
    configure()
    assert LOGGER.level == logging.DEBUG


def test_without_the_variable_the_level_of_the_program_stays() -> None:
    LOGGER.setLevel(logging.ERROR)
    configure({})
    assert LOGGER.level == logging.ERROR


def test_the_same_value_again_changes_nothing() -> None:
    configure({"FLB_LOG_LEVEL": "debug"})
    LOGGER.setLevel(logging.ERROR)
    configure({"FLB_LOG_LEVEL": "debug"})
    assert LOGGER.level == logging.ERROR


def test_back_to_the_default_when_the_variable_goes() -> None:
    configure({"FLB_LOG_LEVEL": "debug"})
    configure({})
    assert LOGGER.level == logging.INFO


def test_an_unknown_level_is_one_warning_and_info(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        configure({"FLB_LOG_LEVEL": "loud\n\x1b[31m"})

    assert LOGGER.level == logging.INFO
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].getMessage() == (
        "FLB_LOG_LEVEL has the unknown value 'loud\\n\\x1b[31m', using info; "
        "allowed: trace, debug, info, warn, error, off"
    )


def test_configuring_adds_no_handler() -> None:
    configure({"FLB_LOG_LEVEL": "debug"})
    assert LOGGER.handlers == []
    assert LOGGER.propagate


def test_to_stderr_adds_one_handler_and_does_not_repeat_lines_in_the_root(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    configure({})
    to_stderr()
    to_stderr()
    LOGGER.info("hello")

    assert len(LOGGER.handlers) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert caplog.records == []


@pytest.mark.parametrize(
    ("level", "column"),
    [
        (1, "[trace]"),
        (TRACE, "[trace]"),
        (logging.DEBUG, "[debug]"),
        (logging.INFO, "[ info]"),
        (25, "[ info]"),
        (logging.WARNING, "[ warn]"),
        (logging.ERROR, "[error]"),
        (logging.CRITICAL, "[error]"),
    ],
)
def test_layout(
    level: int,
    column: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_795_445_677.123456)
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_445_677_123_456_000)
    LOGGER.setLevel(1)
    to_stderr()
    LOGGER.log(level, "text with %s", "arguments")

    when = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(1_795_445_677))
    assert capsys.readouterr().err == (f"[{when}.123] {column} [kinesis:0] text with arguments\n")


def test_an_output_names_itself(capsys: pytest.CaptureFixture[str]) -> None:
    configure({})
    to_stderr()
    for_instance(7).warning("text")
    line = capsys.readouterr().err.rstrip("\n")
    assert LINE.fullmatch(line)
    assert line.endswith("[ warn] [kinesis:7] text")


def test_one_call_is_one_line_whatever_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure({})
    to_stderr()
    LOGGER.error("a\nb\r\x1b[2J\u2028c\u202e\x85 %s", "d\ne")

    (line,) = capsys.readouterr().err.splitlines()
    assert LINE.fullmatch(line)
    assert line.endswith("a\\nb\\r\\x1b[2J\\u2028c\\u202e\\x85 d\\ne")


def test_a_traceback_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure({})
    to_stderr()
    try:
        raise RuntimeError("bad\nthing")
    except RuntimeError:
        LOGGER.exception("it failed")

    (line,) = capsys.readouterr().err.splitlines()
    assert LINE.fullmatch(line)
    assert "it failed\\nTraceback" in line
    assert line.endswith("RuntimeError: bad\\nthing")


def test_no_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    configure({})
    to_stderr()
    monkeypatch.setattr(sys, "stderr", None)
    LOGGER.error("text")


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        ("plain ключ 🕐 \\n \"'", 50, "plain ключ 🕐 \\n \"'"),
        ("a\tb\nc\rd", 50, "a\\tb\\nc\\rd"),
        ("\x00\x1f\x7f\x80\x9f\xa0", 50, "\\x00\\x1f\\x7f\\x80\\x9f\xa0"),
        ("\u061c\u200e\u202a\u2066\u2069", 50, "\\u061c\\u200e\\u202a\\u2066\\u2069"),
        ("\ud800\udfff", 50, "\\ud800\\udfff"),
        (b"ok \xff\xc3\xa9\n", 50, "ok \\xffé\\n"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc..."),
        ("ab\n\n", 6, "ab\\n\\n"),
        ("ab\x1b\n", 6, "ab..."),
        ("é".encode() * 10, 6, "ééé..."),
        ("🕐".encode() * 6, 6, "🕐" * 6),
        ("🕐".encode() * 7, 6, "🕐" * 3 + "..."),
        ("", 6, ""),
        (b"", 6, ""),
        ("abcd", 3, "..."),
        ("a\n" * 1000, sys.maxsize, "a\\n" * 1000),
        (b"a\n" * 1000, sys.maxsize, "a\\n" * 1000),
    ],
)
def test_printable(value: str | bytes, limit: int, expected: str) -> None:
    assert printable(value, limit) == expected


@given(
    st.text(st.characters(categories=None)) | st.binary(), st.integers(min_value=3, max_value=60)
)
def test_printable_is_short_and_safe(value: str | bytes, limit: int) -> None:
    shown = printable(value, limit)

    assert len(shown) <= limit
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_printable_does_not_read_a_long_value_to_its_end() -> None:
    class Text(str):
        __slots__ = ()

        def __getitem__(self, key: object) -> str:
            assert isinstance(key, slice)
            assert key.stop is not None
            assert key.stop <= 100
            return super().__getitem__(key)

    assert printable(Text("\n" * 1_000_000), 20) == "\\n" * 8 + "..."


def test_importing_adds_no_handler_and_sets_no_level() -> None:
    script = (
        "import logging\n"
        "import kinesis_fast.logs\n"
        "logger = logging.getLogger('kinesis_fast')\n"
        "assert not logger.handlers and not logger.level and logger.propagate\n"
        "assert not logging.getLogger().handlers\n"
    )
    environ = {**os.environ, "FLB_LOG_LEVEL": "debug"}
    subprocess.run([sys.executable, "-P", "-c", script], check=True, env=environ, timeout=60)
