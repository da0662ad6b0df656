"""A short run of soak.py; the long run is started by hand."""

import subprocess
import sys
from pathlib import Path

import pytest
from fault_flushes import TRANSPORTS

PROGRAM = Path(__file__).with_name("soak.py")


@pytest.mark.long
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_twenty_seconds(transport: str) -> None:
    command = [sys.executable, "-P", str(PROGRAM), "--seconds", "20", "--every", "2"]
    done = subprocess.run(
        [*command, "--transport", transport], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("no growth, and every record arrived\n")
