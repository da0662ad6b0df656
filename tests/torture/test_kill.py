"""A chunk whose flush returned OK arrives, whenever the process is killed."""

import subprocess
import sys
from pathlib import Path

import pytest
from loopback_settings import program_environment

HERE = Path(__file__).parent
LOGGED_ERRORS = ("Traceback", "damaged", "unexpected failure", "cannot be read")


def kill_rounds(root: Path, n_rounds: int, *options: str) -> str:
    """Kill n_rounds processes that flush. Returns the output of the program."""
    program = [sys.executable, "-W", "ignore", str(HERE / "kill_flush.py")]
    done = subprocess.run(
        [*program, str(root), str(n_rounds), *options],
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


AGGREGATIONS = pytest.mark.parametrize(
    "options",
    [
        ("aggregation=true", "aggregation_max_size=2048"),
        ("simple_aggregation=true", "compression=gzip"),
    ],
    ids=["kpl", "joined"],
)


@AGGREGATIONS
def test_kill_9_while_records_are_aggregated(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert kill_rounds(tmp_path / "spool", 4, *options).startswith("4 rounds, ")


@pytest.mark.long
@AGGREGATIONS
def test_kill_9_while_records_are_aggregated_many_times(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    print(kill_rounds(tmp_path / "spool", 70, *options))


@pytest.mark.long
def test_kill_9_while_chunks_are_flushed_many_times(tmp_path: Path) -> None:
    found = kill_rounds(tmp_path / "spool", 200)
    assert found.startswith("200 rounds, ")
    print(found)
