"""The account as a log line every so many seconds."""

from __future__ import annotations

import gc
import logging
import threading
import weakref

import pytest
from fake_transport import FakeTransport
from outputs import new_output, numbered

from kinesis_fast import FlushResult
from kinesis_fast.metrics import publication
from kinesis_fast.metrics.ticker import Ticker


class Steps:
    """A ticker without a thread, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ticker = Ticker(lambda: self.now)

    def go(self, seconds: int) -> None:
        """Let time pass, second by second."""
        for _ in range(seconds):
            self.now += 1.0
            self.ticker.run_due()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Steps:
    """The ticker of the outputs."""
    caplog.set_level(logging.INFO)
    steps = Steps()
    monkeypatch.setattr(publication, "shared_ticker", lambda: steps.ticker)
    monkeypatch.setattr(
        "kinesis_fast.metrics.ticker.threads.start", lambda *_: threading.current_thread()
    )
    return steps


def accounts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines about the account."""
    return [line for line in caplog.messages if line.startswith("records: ")]


def test_the_account_is_one_line(steps: Steps, caplog: pytest.LogCaptureFixture) -> None:
    with new_output(FakeTransport(), stats_interval="10") as output:
        steps.go(10)
        assert output.flush(numbered([1, 2])) is FlushResult.OK
        steps.go(19)
        text = "records: in={0} delivered={0} skipped=0 dead=0 pending=0 returned=0"
        assert accounts(caplog) == [text.format(0), text.format(2)]
        assert caplog.records[-1].levelno == logging.INFO
    steps.go(20)
    assert len(accounts(caplog)) == 2


def test_each_output_has_its_own_interval(steps: Steps, caplog: pytest.LogCaptureFixture) -> None:
    outputs = [new_output(FakeTransport(), stats_interval=seconds) for seconds in ("3", "5", "0")]
    steps.go(15)
    for output in outputs:
        output.close()
    assert len(accounts(caplog)) == 5 + 3


@pytest.mark.parametrize("options", [{}, {"stats_interval": "0"}])
def test_without_an_interval_there_is_no_line(
    options: dict[str, str], steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    with new_output(FakeTransport(), **options):
        steps.go(100)
    assert accounts(caplog) == []


def test_an_output_that_is_dropped_has_no_line(
    steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    output = new_output(FakeTransport(), stats_interval="1")
    gone = weakref.ref(output)
    del output
    gc.collect()
    assert gone() is None
    steps.go(3)
    assert accounts(caplog) == []
