"""An exception at any line of the delivery: when the chunk comes again, everything arrives."""

from __future__ import annotations

import faulthandler
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aggregated import REFUSED, all_numbers
from chunks import output_config
from fake_transport import (
    THROTTLED,
    FakeTime,
    FakeTransport,
    accept,
    error,
    fail,
    fail_with,
    raise_it,
)
from interruptions import AGGREGATING_MODES, ERRORS, MODES, MODULES, Interruption
from outputs import assert_balanced, numbered
from served_steps import ServedSteps

from kinesis_fast import FlushResult, KinesisOutput, Transport, TransportError
from kinesis_fast.transport.client import open_transport

BAD = b"\x92\x92\x00\x80\x07"  # the body is not a map
RECORDS = range(1200)
CHUNK = numbered(RECORDS[:700]) + BAD + numbered(RECORDS[700:]) + b"\xc1"
PATIENCE_S = 20.0
PARTS = 4  # of the lines, so that several processes can share the work
ALL_MODES = MODES | AGGREGATING_MODES
TRANSPORTS = ("fake", "direct", "botocore")

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(autouse=True)
def _end_a_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def steps(mode: str) -> FakeTransport:
    """Some requests fail, partly or as a whole; one of them ends a flush, or a try."""
    denied = error(400, "AccessDeniedException")
    if mode in AGGREGATING_MODES:  # some aggregates are refused, and their records accepted
        some, whole = fail_with({1: REFUSED, 3: THROTTLED}), error(400, REFUSED)
        return FakeTransport(fail(0, 2), some, raise_it(TransportError("reset")), whole, denied)
    return FakeTransport(accept, fail(3, 5), raise_it(TransportError("reset")), fail(0), denied)


class Run:
    """One chunk, brought until it is settled, with one exception on the way.

    Args:
        mode: see ALL_MODES.
        in_flight: max_in_flight.
        directory: is made.
        served: where a real transport sends.
        transport: the real one; None for a fake one.
    """

    def __init__(
        self,
        mode: str,
        in_flight: str,
        directory: Path,
        served: ServedSteps,
        transport: Transport | None = None,
    ) -> None:
        directory.mkdir()
        options = {name: text.format(directory) for name, text in ALL_MODES[mode].items()}
        self._options = {"max_in_flight": in_flight, "dead_letter_dir": f"{directory}/dead"}
        self._options |= options
        self._steps = served.transport = steps(mode)
        self._transport = transport or self._steps

    def interrupted(self, at: int, kind: type[BaseException]) -> Interruption:
        """Deliver the chunk; assert that all of it arrived and that the account is right."""
        timing = FakeTime(chance=0.0).timing()
        output = KinesisOutput(output_config(self._options), self._transport, timing=timing)
        interruption = Interruption(MODULES, at, kind)
        with interruption.active():
            is_settled = self._bring(output)
        for _ in range(5):
            if is_settled:
                break
            is_settled = self._bring(output)
        self._wait(lambda: output.stats()["pending"] == 0, PATIENCE_S)
        started = time.monotonic()
        output.close(PATIENCE_S)
        close_s = time.monotonic() - started
        where = f"{kind.__name__} at {interruption.place} (line {at})"
        assert set(all_numbers(self._steps.kept)) == set(RECORDS), where
        stats: dict[str, int] = output.stats()
        assert stats["pending"] == 0, (where, stats)
        assert stats["dead"] == 0, (where, stats)
        assert_balanced(stats)
        assert close_s < PATIENCE_S / 2, f"{where}: close() waits"
        return interruption

    def _bring(self, output: KinesisOutput) -> bool:
        """Bring the chunk. Returns whether all has arrived; in the background, some time later."""
        try:
            done = output.flush(CHUNK, "app")
        except ERRORS:
            return False
        if done is FlushResult.OK:
            self._wait(self._has_arrived, 2.0)
        return done is FlushResult.OK and self._has_arrived()

    def _has_arrived(self) -> bool:
        return len(set(all_numbers(self._steps.kept))) >= len(RECORDS)

    @staticmethod
    def _wait(condition: Callable[[], bool], bound_s: float) -> None:
        end = time.monotonic() + bound_s
        while not condition() and time.monotonic() < end:
            time.sleep(0.0005)


@pytest.fixture(params=TRANSPORTS)
def new_run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes runs with one of the transports; each run has a directory of its own."""
    directories = (tmp_path / str(number) for number in itertools.count())
    with ServedSteps().serving() as served:
        transport = None
        if request.param != "fake":
            options = {"endpoint": served.url, "transport": request.param, "max_in_flight": "4"}
            transport = open_transport(output_config(options))
        yield lambda mode, in_flight: Run(mode, in_flight, next(directories), served, transport)
        if transport is not None:
            transport.close()


def interrupt_everywhere(new_run: Callable[[], Run], first: int, step: int) -> None:
    n_lines = new_run().interrupted(-1, MemoryError).n_lines
    assert n_lines > 300
    for number in range(first, n_lines, step):
        kind = ERRORS[(number // step + number) % len(ERRORS)]
        new_run().interrupted(number, kind)


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", ["1", "4"])
@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_exception_at_some_lines(new_run: Callable[..., Run], mode: str, in_flight: str) -> None:
    interrupt_everywhere(lambda: new_run(mode, in_flight), 30, 61)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("in_flight", ["1", "4"])
@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_exception_at_every_line(
    new_run: Callable[..., Run], mode: str, in_flight: str, part: int
) -> None:
    interrupt_everywhere(lambda: new_run(mode, in_flight), part, PARTS)
