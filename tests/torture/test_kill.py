"""What flush said OK for arrives, whenever the process is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LOGGED_ERRORS = ("Traceback", "damaged", "unexpected failure", "cannot be read")


def kill_rounds(root: Path, n_rounds: int) -> str:
    """Kill processes that flush, so many times; returns what the checks have to say."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "BOTO_")) and not name.lower().endswith("_proxy")
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "kill_flush.py"), str(root), str(n_rounds)],
        capture_output=True,
        text=True,
        env={
            **environ,
            "PYTHONPATH": str(HERE.parent / "support"),
            "AWS_ACCESS_KEY_ID": "ENVKEY",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for text in LOGGED_ERRORS:
        assert text not in done.stderr, done.stderr[-3000:]
    return done.stdout


def test_kill_9_while_chunks_are_flushed(tmp_path: Path) -> None:
    assert kill_rounds(tmp_path / "spool", 10).startswith("10 rounds, ")


@pytest.mark.long
def test_kill_9_while_chunks_are_flushed_many_times(tmp_path: Path) -> None:
    found = kill_rounds(tmp_path / "spool", 200)
    assert found.startswith("200 rounds, ")
    print(found)
