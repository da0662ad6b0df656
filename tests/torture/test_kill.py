"""A chunk whose flush returned OK arrives, whenever the process is killed."""

import subprocess
import sys
from pathlib import Path

import pytest
from loopback_settings import program_environment

HERE = Path(__file__).parent
LOGGED_ERRORS = ("Traceback", "damaged", "unexpected failure", "cannot be read")


def kill_rounds(root: Path, n_rounds: int) -> str:
    """Kill n_rounds processes that flush. Returns the output of the program."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "kill_flush.py"), str(root), str(n_rounds)],
        capture_output=True,
        text=True,
        env=program_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for text in LOGGED_ERRORS:
        assert text not in done.stderr, done.stderr[-3000:]
    return done.stdout


def test_kill_9_while_chunks_are_flushed(tmp_path: Path) -> None:
    assert kill_rounds(tmp_path / "spool", 7).startswith("7 rounds, ")


@pytest.mark.long
def test_kill_9_while_chunks_are_flushed_many_times(tmp_path: Path) -> None:
    found = kill_rounds(tmp_path / "spool", 200)
    assert found.startswith("200 rounds, ")
    print(found)
