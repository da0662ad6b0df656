"""Processes that end during deliveries from a spool, in many ways, and the next start."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from arrivals import arrived_numbers
from chunks import output_config
from end_flush_codes import CHILD, EXIT_CODE, N_EVENTS
from loopback_settings import program_environment
from outputs import assert_balanced
from recording_service import Recorder
from spools import all_files, wait_until_empty

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
SHORT = ("return", "SIGTERM", "SIGINT", "fork")  # exit and raise take the way of return
CRASHES = ("terminate called", "Fatal Python error", "Segmentation")


def drain(root: Path, recorder: Recorder) -> None:
    """Start an output that delivers what is left in the spool."""
    config = output_config(
        endpoint=recorder.server.url, spool_dir=str(root), experimental_concurrency="3"
    )
    output = KinesisOutput(config, timing=Timing(random=lambda: 0.001))
    wait_until_empty(root, BOUND_S)
    output.close(BOUND_S)
    assert_balanced(output.stats())
    assert not all_files(root)


@pytest.mark.parametrize(
    ("end", "attempt"),
    [
        pytest.param(end, attempt, marks=[] if end in SHORT and not attempt else pytest.mark.long)
        for end in STATUS
        for attempt in range(10)
    ],
)
def test_the_next_start_sends_the_rest(
    end: str, attempt: int, tmp_path: Path, recorder: Recorder
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
    drain(root, recorder)
    expected = {
        number
        for first in map(int, done.stdout.split())
        for number in range(first, first + N_EVENTS)
    }
    expected |= {CHILD, CHILD + 1} if end == "fork" else set()
    assert expected
    assert not expected - arrived_numbers(recorder).keys()
    assert not arrived_numbers(recorder).keys() - expected
