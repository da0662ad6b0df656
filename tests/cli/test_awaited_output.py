"""An output that is waited for: when the waiting ends."""

from collections import Counter

import pytest

from kinesis_fast.cli import awaited_output
from kinesis_fast.cli.awaited_output import AwaitedOutput
from kinesis_fast.limits import SPOOL_START_SPREAD_S


class Output:
    """Chunks of an earlier run are read, and delivered, while the command waits.

    Args:
        unread: how many wait in the spool at each look, one after the other.
    """

    def __init__(self, *unread: int) -> None:
        self.unread = list(unread)
        self.n_pending = 0

    def unread_chunks(self) -> int:
        if len(self.unread) > 1:
            return self.unread.pop(0)
        return self.unread[0]

    def stats(self) -> Counter[str]:
        return Counter(pending=self.n_pending)


class Clock:
    """Time that passes when the command sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def waited(output: Output, monkeypatch: pytest.MonkeyPatch) -> tuple[AwaitedOutput, float]:
    """Wait for an output; return what was waited with, and for how many seconds."""
    clock = Clock()
    monkeypatch.setattr(awaited_output, "time", clock)
    monkeypatch.setattr(awaited_output, "_quiet_output", lambda _: output)
    awaited = AwaitedOutput(None, 1.0)  # type: ignore[arg-type]
    awaited.wait()
    return awaited, clock.now


def test_it_waits_for_chunks_that_are_in_no_counter_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output(1, 1, 1, 0)
    awaited, _ = waited(output, monkeypatch)
    assert not awaited.is_stuck
    assert output.unread == [0]


def test_patience_begins_when_chunks_of_an_earlier_run_are_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    awaited, seconds = waited(Output(2), monkeypatch)
    assert awaited.is_stuck
    assert seconds == pytest.approx(SPOOL_START_SPREAD_S + 1.0, abs=0.1)


def test_patience_begins_at_once_without_an_earlier_run(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output(0)
    output.n_pending = 1
    awaited, seconds = waited(output, monkeypatch)
    assert awaited.is_stuck
    assert seconds == pytest.approx(1.0, abs=0.1)
