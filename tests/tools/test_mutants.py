"""The runner of the faults: what it calls killed, survived and invalid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mutants
import pytest
from mutant_faults import TREE
from mutant_trials import replace_libraries

pytestmark = pytest.mark.slow

FILE = "kinesis_fast/limits.py"
OLD = "MAX_RECORDS_PER_REQUEST: Final = 500"
NEW = "MAX_RECORDS_PER_REQUEST: Final = 499"
IMPORT = "from kinesis_fast.limits import MAX_RECORDS_PER_REQUEST\n"
NOTICES = f"{IMPORT}def test_limit(): assert MAX_RECORDS_PER_REQUEST == 500\n"
NOTICES_IN_A_CHILD = """
import subprocess, sys
def test_limit():
    program = "from kinesis_fast.limits import *; assert MAX_RECORDS_PER_REQUEST == 500"
    subprocess.run([sys.executable, "-P", "-c", program], check=True)
"""
LOGS_AN_ERROR = f"{IMPORT}import logging\n" + NOTICES.removeprefix(IMPORT).replace(
    "assert", "logging.error('500?'); assert"
)
IGNORES = f"{IMPORT}def test_limit(): assert MAX_RECORDS_PER_REQUEST > 0\n"
HANGS = f"{IMPORT}import time\ndef test_limit(): time.sleep(60 * (500 - MAX_RECORDS_PER_REQUEST))\n"
CRASHES = f"{IMPORT}import os\ndef test_limit(): MAX_RECORDS_PER_REQUEST == 500 or os.abort()\n"
FAILS = "def test_nothing(): assert False\n"

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program with one fault; returns the exit status and all that it wrote."""

    def run_with(test: str, *arguments: str, old: str = OLD, new: str = NEW) -> tuple[int, str]:
        test_file = tmp_path / "test_it.py"
        test_file.write_text(test)
        (tmp_path / "room.toml").write_text(
            f"[[fault]]\nname = 'one record less'\nfile = '{FILE}'\nold = '{old}'\n"
            f"new = '{new}'\ntests = ['{test_file}']\n"
        )
        status = mutants.main(["--lists", str(tmp_path), *arguments])
        written = capsys.readouterr()
        return status, written.out + written.err

    return run_with


@pytest.mark.parametrize("test", [NOTICES, NOTICES_IN_A_CHILD, LOGS_AN_ERROR])
def test_a_fault_that_a_test_notices(run: Run, test: str) -> None:
    status, output = run(test)
    assert status == 0
    assert "(::test_limit)" in output
    assert "1 faults: 1 killed (0 of them by time limit), 0 survived, 0 invalid" in output


def test_a_survivor_is_reported_with_what_to_do(run: Run) -> None:
    status, output = run(IGNORES)
    assert status == 1
    text = (TREE / FILE).read_text().splitlines()
    (line,) = (number for number, line in enumerate(text, 1) if OLD in line)
    assert "SURVIVED one record less (tests/mutants/room.toml)" in output
    assert f"{FILE}:{line}\n    - {OLD}\n    + {NEW}\n" in output
    assert "add a test that fails" in output
    assert "0 killed (0 of them by time limit), 1 survived" in output


def test_a_hang_is_ended_and_called_so(run: Run) -> None:
    status, output = run(HANGS, "--time-limit", "3")
    assert status == 0
    assert "killed by time limit" in output
    assert "1 killed (1 of them by time limit)" in output
    assert "doubtful, as only time ran out: room: one record less" in output


def test_a_crash_is_called_so(run: Run) -> None:
    status, output = run(CRASHES)
    assert status == 0
    assert "killed by a crash" in output
    assert "SIGABRT" in output


@pytest.mark.parametrize(
    ("test", "change", "reason"),
    [
        (NOTICES, {"old": "stale text"}, f"`old` occurs 0 times in {FILE}"),
        (NOTICES, {"old": "Final = "}, "it must occur once"),
        (NOTICES, {"new": OLD}, "`new` equals `old`"),
        (NOTICES, {"new": "="}, "has a syntax error then"),
        (FAILS, {}, "without a fault"),
        ("", {}, "no tests ran"),
        (NOTICES, {"new": "OTHER_NAME = 500"}, "its tests cannot be run"),
    ],
)
def test_a_fault_that_cannot_be_tried(
    run: Run, test: str, change: dict[str, str], reason: str
) -> None:
    status, output = run(test, **change)
    assert status == 1
    assert reason in output
    assert "0 survived, 1 invalid" in output


def test_no_fault_is_an_error(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(NOTICES, "--only", "another") == (1, "mutants: there is no fault to try\n")
    (tmp_path / "room.toml").unlink()
    assert mutants.main(["--lists", str(tmp_path)]) == 1
    assert "there is no fault to try" in capsys.readouterr().err


def test_a_part_of_the_name_selects(run: Run) -> None:
    assert run(NOTICES, "--only", "record less")[0] == 0
    assert run(NOTICES, "--only", "room")[0] == 0


def test_the_tree_and_the_installed_package_stay_as_they_are(run: Run) -> None:
    before = (TREE / FILE).read_bytes()
    run(NOTICES)
    assert (TREE / FILE).read_bytes() == before
    assert mutants.stale_modules() == []


def test_compiled_modules_of_each_room_are_replaced(tmp_path: Path) -> None:
    package, built = tmp_path / "package", tmp_path / "lib" / "kinesis_fast"
    places = ["module.so", "delivery/module.so", "transport/direct/module.so"]
    for root, text in ((package, "old"), (built, "new")):
        for place in places:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_text(text)
    replace_libraries(package, built)
    assert [(package / place).read_text() for place in places] == ["new"] * 3
