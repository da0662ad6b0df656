"""The Pythons of this machine, and virtual environments with the installed package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import kinesis_fast

PACKAGE = Path(kinesis_fast.__file__).parent
OLD = [f"3.{minor}" for minor in range(6, 11)]
SERVED = [f"3.{minor}" for minor in range(11, 17)]
PROBE = """
import json, os, sys, sysconfig
directory, name, no_gil = sysconfig.get_config_vars("LIBDIR", "INSTSONAME", "Py_GIL_DISABLED")
shared = os.path.join(directory or "", name or "")
has_library = ".so" in shared and os.path.isfile(shared)
print(json.dumps([sys.executable, sys.version_info[:3], bool(no_gil), sys.base_prefix,
                  os.path.realpath(shared) if has_library else None]))
"""


class Python(NamedTuple):
    """A working CPython; libpython is None where its shared library is not installed."""

    path: Path
    version: tuple[int, ...]
    free_threaded: bool
    prefix: Path
    libpython: Path | None

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.version))} in {self.prefix}"


class Environment(NamedTuple):
    """A virtual environment with a copy of the installed package."""

    base: Python
    python: Path
    package: Path

    @property
    def library(self) -> Path:
        """The plugin's library in this environment."""
        return self.package / "host" / "out_kinesis.so"


def probe(path: Path) -> Python | None:
    """Return a Python's description of itself, None when it does not run."""
    command = [str(path), "-I", "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    executable, version, free_threaded, prefix, libpython = json.loads(done.stdout)
    return Python(
        Path(executable),
        tuple(version),
        free_threaded,
        Path(prefix).resolve(),
        Path(libpython) if libpython else None,
    )


def running() -> Python:
    """Return the running Python, not its virtual environment."""
    python = probe(Path(sys.executable).resolve())
    assert python is not None
    return python


def find_pythons(versions: list[str]) -> list[Python]:
    """Return each Python on PATH, in /usr/bin and from pyenv once, oldest first."""
    found: dict[tuple[object, ...], Python] = {}
    for path in _candidates(versions):
        python = probe(path)
        if python is not None:
            found.setdefault((python.version, python.prefix), python)
    return sorted(found.values(), key=lambda python: python.version)


def others() -> list[Python]:
    """Return the other Pythons that the installed package supports."""
    if not any(PACKAGE.glob("_core/*.abi3.so")):
        return []
    this = running()
    return [
        python
        for python in find_pythons(SERVED)
        if not python.free_threaded
        and (python.version, python.prefix) != (this.version, this.prefix)
    ]


def too_old() -> Python | None:
    """Return the newest installed Python that the package does not support."""
    return next(reversed(find_pythons(OLD)), None)


def make_environment(base: Python, directory: Path) -> Environment:
    """Create a virtual environment that uses the dependencies of the running Python."""
    command = [str(base.path), "-m", "venv", "--without-pip", str(directory)]
    subprocess.run(command, check=True, capture_output=True)
    (site_packages,) = directory.glob("lib/python3.*/site-packages")
    (site_packages / "dependencies.pth").write_text(f"{PACKAGE.parent}\n")
    return Environment(base, directory / "bin" / "python3", copy_package(site_packages))


def copy_package(directory: Path) -> Path:
    """Copy the installed package into a directory and return where it is."""
    copy = directory / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _candidates(versions: list[str]) -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in versions:
        on_path = shutil.which(f"python{version}")
        if on_path is not None:
            yield Path(on_path)
        yield from Path("/usr/bin").glob(f"python{version}")
        yield from sorted(pyenv.glob(f"{version}.*/bin/python{version}"))
