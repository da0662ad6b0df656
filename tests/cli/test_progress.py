"""The progress bar, drawn on a fake terminal."""

import io

import pytest

from kinesis_fast.cli.progress import CLEAR_LINE, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setenv("COLUMNS", "200")
    return Clock()


def test_nothing_is_drawn_when_it_is_no_terminal(clock: Clock) -> None:
    file = io.StringIO()
    progress = Progress(file, 100, clock)
    progress.show(50, 1)
    progress.clear()
    assert file.getvalue() == ""


def test_a_known_size_gives_a_bar(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(terminal, 8_000_000, clock)
    clock.now += 2
    progress.show(2_000_000, 1234)
    assert terminal.getvalue() == (
        f"{CLEAR_LINE}[######..................]  25%  2.0 MB  1,234 records  1.0 MB/s  6 s left"
    )


def test_an_unknown_size_gives_figures_only(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(terminal, None, clock)
    clock.now += 4
    progress.show(1_000_000, 5)
    assert terminal.getvalue() == f"{CLEAR_LINE}1.0 MB  5 records  0.2 MB/s"


def test_it_is_drawn_at_most_ten_times_a_second(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(terminal, 1000, clock)
    for step in range(100):
        clock.now += 0.01
        progress.show(step, step)
    assert 9 <= terminal.getvalue().count(CLEAR_LINE) <= 11


def test_it_is_cleared_once(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(terminal, 1000, clock)
    progress.clear()
    assert terminal.getvalue() == ""
    progress.show(0, 0)
    progress.clear()
    progress.clear()
    assert terminal.getvalue().count(CLEAR_LINE) == 2
    assert terminal.getvalue().endswith(CLEAR_LINE)


def test_it_does_not_break_the_line(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    Progress(terminal, 1000, clock).show(1, 1)
    assert len(terminal.getvalue()) == len(CLEAR_LINE) + 19
