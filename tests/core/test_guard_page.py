"""The encoder reads nothing outside a chunk; guard_page.py explains how a violation shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinesis_fast._core import kernels

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


@pytest.mark.heavy
@pytest.mark.parametrize("level", kernels.levels())
def test_nothing_outside_of_the_chunk_is_read(level: str) -> None:
    done = run("chunks", level)

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 10_000


@pytest.mark.heavy
@pytest.mark.parametrize("level", kernels.levels())
def test_kernels_touch_nothing_outside_of_their_buffers(level: str) -> None:
    done = run("kernels", level)

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 5_000


@pytest.mark.parametrize(
    ("access", "text"), [("over-read", "reading\n"), ("over-write", "writing\n")]
)
def test_an_access_outside_ends_the_process(access: str, text: str) -> None:
    done = run(access)

    assert done.stdout == text
    assert done.returncode != 0
