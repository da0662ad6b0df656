"""The wheel and the sdist of this source tree, built the way a user's pip builds them."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
NOT_SOURCES = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "*.so")


class Distribution(NamedTuple):
    """A wheel or an sdist, and the names of the files in it."""

    path: Path
    names: frozenset[str]


class Built(NamedTuple):
    """Both distributions, and the clean copy of the sources they were built from."""

    source_tree: Path
    sdist: Distribution
    wheel: Distribution

    def compiled_modules(self) -> set[str]:
        """The modules that have sources, by their path in the package, without an ending."""
        root = self.source_tree / "src_pyx/kinesis_fast"
        return {path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.pyx")}


def build(directory: Path) -> Built:
    """Build the sdist, then the wheel from the sdist, in isolation and from a clean copy."""
    source_tree = directory / "source"
    shutil.copytree(ROOT, source_tree, ignore=shutil.ignore_patterns(*NOT_SOURCES, "*.egg-info"))
    output = directory / "dist"
    command = [sys.executable, "-P", "-m", "build", "--outdir", str(output), str(source_tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (sdist,) = output.glob("*.tar.gz")
    (wheel,) = output.glob("*.whl")
    return Built(
        source_tree, Distribution(sdist, _in_sdist(sdist)), Distribution(wheel, _in_wheel(wheel))
    )


def _in_sdist(path: Path) -> frozenset[str]:
    top = path.name.removesuffix(".tar.gz") + "/"
    with tarfile.open(path) as archive:
        files = [entry.name for entry in archive.getmembers() if entry.isfile()]
    return frozenset(name.removeprefix(top) for name in files)


def _in_wheel(path: Path) -> frozenset[str]:
    with zipfile.ZipFile(path) as archive:
        return frozenset(archive.namelist())
