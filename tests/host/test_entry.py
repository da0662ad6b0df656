"""The functions that the plugin's library calls, with an output that the test controls."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from kinesis_fast import logs
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.host import entry
from kinesis_fast.stats import ACCOUNT
from kinesis_fast.transport import secrets

OPTIONS = {"region": "us-east-1", "stream": "logs"}
ERROR, OK, RETRY = 0, 1, 2


class FakeOutput:
    """Raises or returns what `result` says; counts the calls of close()."""

    result: Any = OK
    close_error: Exception | None = None
    n_closed = 0

    def __init__(self, config: Any, **more: Any) -> None:
        self.config = config

    def flush(self, chunk: memoryview, tag: str) -> int:
        if isinstance(self.result, Exception):
            raise self.result
        return int(self.result)

    def close(self) -> None:
        FakeOutput.n_closed += 1
        if self.close_error is not None:
            raise self.close_error

    def stats(self) -> dict[str, int]:
        return dict.fromkeys(ACCOUNT, 7)


@pytest.fixture(autouse=True)
def fake_output(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let init() make FakeOutputs, and let pytest keep seeing the log."""
    monkeypatch.setattr(entry, "KinesisOutput", FakeOutput)
    monkeypatch.setattr(logs, "to_stderr", lambda: None)
    monkeypatch.setattr(FakeOutput, "n_closed", 0)
    yield
    entry._instances.clear()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def test_flush_returns_what_the_output_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = entry.init(OPTIONS)
    assert handle >= 1
    for code in (ERROR, OK, RETRY):
        monkeypatch.setattr(FakeOutput, "result", code)
        assert entry.flush(handle, memoryview(b""), "tag") == code


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KinesisFastError("a known error"), "a known error; returning the chunk"),
        (MemoryError(), "out of memory; returning the chunk"),
        (ZeroDivisionError(), "unexpected error; returning the chunk"),
    ],
)
def test_a_flush_that_raises_returns_the_chunk(
    error: Exception,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle = entry.init(OPTIONS)
    monkeypatch.setattr(FakeOutput, "result", error)
    assert entry.flush(handle, memoryview(b""), "tag") == RETRY
    (line,) = errors(caplog)
    assert line.startswith(message)


@pytest.mark.parametrize("close_error", [None, OSError("cannot close")])
def test_exit_closes_the_output_and_forgets_it(
    close_error: Exception | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(FakeOutput, "close_error", close_error)
    caplog.set_level(logging.INFO, logs.LOGGER.name)
    handle = entry.init(OPTIONS)
    assert entry.exit(handle) == OK
    assert FakeOutput.n_closed == 1
    assert caplog.records[-1].getMessage().startswith("records: in=7 delivered=7 ")
    assert entry.exit(handle) == ERROR
    assert entry.flush(handle, memoryview(b""), "tag") == ERROR
    assert FakeOutput.n_closed == 1
    assert errors(caplog)[-2:] == [
        f"exit called with unknown handle {handle}",
        f"flush called with unknown handle {handle}",
    ]


def test_init_reports_wrong_options_and_a_broken_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert entry.init({**OPTIONS, "append_newline": "maybe"}) == 0
    monkeypatch.delattr(entry, "KinesisOutput")
    assert entry.init(OPTIONS) == 0
    option_error, other_error = errors(caplog)
    assert "append_newline" in option_error
    assert other_error.startswith("cannot create the output\nTraceback")


def test_no_traceback_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of a library's exception may be the cause of ours."""
    monkeypatch.setattr(secrets, "_lasting", ["a/secret+key"])
    error = ZeroDivisionError("https://user:password@host")
    error.__cause__ = ValueError("refused: a/secret+key")
    handle = entry.init(OPTIONS)
    monkeypatch.setattr(FakeOutput, "result", error)
    monkeypatch.setattr(FakeOutput, "close_error", error)
    assert entry.flush(handle, memoryview(b""), "tag") == RETRY
    assert entry.exit(handle) == OK

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(entry, "KinesisOutput", refuse)
    assert entry.init(OPTIONS) == 0
    assert len(errors(caplog)) == 3
    for line in errors(caplog):
        assert "ValueError: refused: ***" in line
        assert "ZeroDivisionError: https://***@host" in line
    formatted = "".join(map(logs.FluentBitFormatter().format, caplog.records))
    for text in (caplog.text, formatted):
        assert "secret+key" not in text
        assert "password" not in text


def test_each_output_has_its_own_handle() -> None:
    first, second = entry.init(OPTIONS), entry.init(OPTIONS)
    assert first != second
    assert entry.exit(first) == OK
    assert entry.flush(second, memoryview(b""), "tag") == OK
