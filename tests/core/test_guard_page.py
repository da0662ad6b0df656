"""The encoder reads nothing outside of a chunk; see guard_page.py for how that is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent.parent / "support"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-P", SUPPORT / "guard_page.py", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_nothing_outside_of_the_chunk_is_read() -> None:
    done = run()

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 10_000


def test_an_over_read_would_be_noticed() -> None:
    done = run("over-read")

    assert done.stdout == "reading\n"
    assert done.returncode != 0
