"""Compiled modules that are missing or do not load: the ImportError says how to repair it."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kinesis_fast

REINSTALL = "pip install --force-reinstall --no-cache-dir kinesis-fast"
PREFIX = "ImportError: kinesis_fast: "


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the installed package that a test may damage; put its parent on sys.path."""
    copy = tmp_path / "kinesis_fast"
    installed = Path(kinesis_fast.__file__).parent
    shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def import_from(package: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", "import kinesis_fast; print(kinesis_fast.__file__)"],
        env=os.environ | {"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def import_error(package: Path) -> str:
    """The last line that a user sees of an import that must fail."""
    done = import_from(package)
    assert done.returncode == 1, done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith(PREFIX)
    return last


def compiled(package: Path, name: str = "*") -> list[Path]:
    found = sorted(package.rglob(f"{name}.*so"))
    assert found
    return [path for path in found if path.parent.name != "host"]


def test_an_intact_copy_is_what_is_imported(package: Path) -> None:
    assert import_from(package).stdout.strip() == str(package / "__init__.py")


def test_a_missing_module_is_named(package: Path) -> None:
    for path in compiled(package, "encoder"):
        path.unlink()
    message = import_error(package)
    assert f"encoder missing in {package / '_core'}" in message
    assert platform.python_version() in message
    assert REINSTALL in message


def test_a_missing_module_of_another_room_is_named(package: Path) -> None:
    for path in compiled(package, "response_reader"):
        path.unlink()
    message = import_error(package)
    assert f"transport/direct/response_reader missing in {package}" in message
    assert REINSTALL in message


def test_modules_for_another_interpreter_count_as_missing(package: Path) -> None:
    paths = compiled(package)
    modules = {path.relative_to(package).as_posix().partition(".")[0] for path in paths}
    for path in paths:
        path.rename(path.with_name(f"{path.name.partition('.')[0]}.cpython-39-other-machine.so"))
    message = import_error(package)
    missing = message.split(" missing in ")[0].removeprefix(
        "ImportError: kinesis_fast: compiled module "
    )
    assert set(missing.split(", ")) == modules
    assert "which loads *." in message
    assert REINSTALL in message


def test_a_damaged_module_is_named_with_the_reason(package: Path) -> None:
    (path,) = compiled(package, "encoder")
    path.write_bytes(b"\0" * 4096)
    message = import_error(package)
    assert f"encoder in {package / '_core'} does not load" in message
    assert "invalid ELF header" in message
    assert REINSTALL in message


def test_a_source_tree_says_that_it_hides_the_installed_package(package: Path) -> None:
    for path in compiled(package):
        path.unlink()
    (package.parent / "src_pyx").mkdir()
    message = import_error(package)
    assert f"{package.parent} is a source tree" in message
    assert f"pip install {package.parent}" in message


def test_a_stale_build_in_a_source_tree_is_to_be_built_again(package: Path) -> None:
    for path in compiled(package, "encoder"):
        path.unlink()
    (package.parent / "src_pyx").mkdir()
    message = import_error(package)
    assert "encoder missing" in message
    assert f"pip install --force-reinstall --no-deps {package.parent}" in message
