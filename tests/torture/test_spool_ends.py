"""Processes that end in any way while deliveries from a spool are under way, and the next start."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chunks import output_config
from end_flush_codes import CHILD, EXIT_CODE, N_EVENTS
from loopback_settings import program_environment
from outputs import assert_balanced
from recording_service import Recorder

from kinesis_fast import KinesisOutput
from kinesis_fast.delivery.context import Timing

COMMAND = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("end_flush.py"))]
BOUND_S = 20.0
STATUS = {
    "return": 0,
    "exit": EXIT_CODE,
    "raise": 1,
    "SIGTERM": -signal.SIGTERM,
    "SIGINT": -signal.SIGINT,
    "fork": 0,
}
CRASHES = ("terminate called", "Fatal Python error", "Segmentation")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A service on the loopback."""
    recorder = Recorder()
    with recorder.server:
        yield recorder


def arrived(recorder: Recorder) -> set[int]:
    return {number for request in recorder.accepted for number in request.numbers}


def drain(root: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in program_environment().items():
        monkeypatch.setenv(name, value)
    config = output_config(
        endpoint=recorder.server.url, spool_dir=str(root), experimental_concurrency="3"
    )
    output = KinesisOutput(config, timing=Timing(random=lambda: 0.001))
    deadline = time.monotonic() + BOUND_S
    while any(root.glob("*/*.chunk")):
        assert time.monotonic() < deadline, "the spool does not empty"
        time.sleep(0.01)
    output.close(BOUND_S)
    assert_balanced(output.stats())
    assert not [path for path in root.glob("*/*") if path.is_file()]


@pytest.mark.parametrize(
    ("end", "attempt"),
    [
        *((end, 0) for end in STATUS),
        *(
            pytest.param(end, attempt, marks=pytest.mark.long)
            for end in STATUS
            for attempt in range(1, 10)
        ),
    ],
)
def test_the_next_start_sends_the_rest(
    end: str, attempt: int, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    life_s = random.Random(f"{end} {attempt}").random() * 0.3
    started = time.monotonic()
    done = subprocess.run(
        [*COMMAND, recorder.server.url, str(root), end, str(life_s)],
        capture_output=True,
        text=True,
        env=program_environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == STATUS[end], done.stderr[-3000:]
    assert time.monotonic() - started < BOUND_S
    for text in CRASHES:
        assert text not in done.stderr
    drain(root, recorder, monkeypatch)
    expected = {
        number
        for first in map(int, done.stdout.split())
        for number in range(first, first + N_EVENTS)
    }
    expected |= {CHILD, CHILD + 1} if end == "fork" else set()
    assert expected
    assert not expected - arrived(recorder)
    assert not arrived(recorder) - expected
