"""Packages of npm that the tests use: two more Kineses and a reader of aggregates."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).resolve().parents[2] / ".node"
PACKAGES = ("aws-kinesis-agg@4.2.8", "kinesalite@3.3.3", "kinesis-local@0.6.2")
INSTALL_S = 300


def node() -> str:
    """Return the path of node, with PACKAGES installed in DIRECTORY; skip the test without node."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("needs node and npm on PATH (Debian: apt-get install nodejs npm)")
    DIRECTORY.mkdir(exist_ok=True)
    done = DIRECTORY / "installed"
    with (DIRECTORY / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != " ".join(PACKAGES):
            _install(npm)
            done.write_text(" ".join(PACKAGES))
    return found


def _install(npm: str) -> None:
    command = [npm, "install", "--prefix", str(DIRECTORY), "--ignore-scripts", "--omit=optional"]
    run = subprocess.run(
        [*command, "--no-audit", "--no-fund", *PACKAGES],
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    if run.returncode:
        pytest.fail(f"npm cannot install {', '.join(PACKAGES)}: {run.stderr}")
