"""One wheel supports Python 3.11 and later: it is used with each Python of this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from distributions import ROOT, Built

import kinesis_fast

INSTALLED = Path(kinesis_fast.__file__).parents[1]
CHUNK = ROOT / "tests" / "data" / "chunks" / "typed_0.msgpack"
HAS_GIL = "import sys, sysconfig; sys.exit(bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
ENCODE = """
import hashlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
import kinesis_fast
assert kinesis_fast.__file__.startswith(sys.argv[1]), kinesis_fast.__file__
options = {"region": "us-east-1", "stream": "s", "partition_key": "host", "time_key": "t"}
encoder = kinesis_fast.RecordEncoder(kinesis_fast.OutputConfig.from_options(options))
records = list(encoder.records(pathlib.Path(sys.argv[2]).read_bytes()))
print(len(records), hashlib.sha256(b"".join(record.data for record in records)).hexdigest())
"""


def find_python(version: str) -> str | None:
    """A working CPython of that version with a GIL, on PATH or from pyenv."""
    candidates = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += [str(path) for path in pyenv.glob(f"{version}.*/bin/python{version}")]
    for candidate in filter(None, candidates):
        probe = subprocess.run([candidate, "-I", "-c", HAS_GIL], capture_output=True, check=False)
        if probe.returncode == 0:
            return candidate
    return None


def encode(python: str, site_packages: Path) -> str:
    command = [python, "-I", "-c", ENCODE, str(site_packages), str(CHUNK)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14", "3.15"])
def test_the_wheel_works_on(version: str, built: Built, tmp_path: Path) -> None:
    if "abi3" not in built.wheel.path.name:
        pytest.skip("a wheel of a free-threaded interpreter serves only that one")
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    pip = [sys.executable, "-P", "-m", "pip", "--quiet", "--python", python]
    install = [*pip, "install", "--target", str(tmp_path), str(built.wheel.path)]
    subprocess.run(install, check=True)
    assert encode(python, tmp_path) == encode(sys.executable, INSTALLED)
