"""The search for the shared library of the running Python."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from kinesis_fast.host import locate

Search = Callable[..., Path | None]


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    """Search with changed properties of this Python; returns what the search finds."""

    def found(prefix: Path, **variables: str) -> Path | None:
        monkeypatch.setattr(sysconfig, "get_config_var", variables.get)
        monkeypatch.setattr("sys.base_prefix", str(prefix))
        return locate.libpython()

    return found


def library(directory: Path, name: str = "libpython3.so.1") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.touch()
    return path


def test_the_configured_directory_comes_first(search: Search, tmp_path: Path) -> None:
    names = {"INSTSONAME": "libpython3.so.1", "LIBDIR": str(tmp_path / "configured")}
    assert search(tmp_path, **names) is None
    moved = library(tmp_path / "lib")
    assert search(tmp_path, **names) == moved
    multiarch = library(tmp_path / "configured" / "cpu-linux")
    assert search(tmp_path, MULTIARCH="cpu-linux", **names) == multiarch
    configured = library(tmp_path / "configured")
    assert search(tmp_path, MULTIARCH="cpu-linux", **names) == configured


def test_a_static_build_may_have_its_library_separately(search: Search, tmp_path: Path) -> None:
    path = library(tmp_path / "lib", "libpython3.99.so.1.0")
    assert search(tmp_path, INSTSONAME="libpython3.99.a", LDVERSION="3.99") == path


def test_a_directory_without_permission_is_skipped(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library(tmp_path / "lib")
    is_file = Path.is_file

    def guarded(candidate: Path) -> bool:
        if candidate.parent.name == "private":
            raise PermissionError(str(candidate))
        return is_file(candidate)

    monkeypatch.setattr(Path, "is_file", guarded)
    private = str(tmp_path / "private")
    assert search(tmp_path, INSTSONAME=path.name, LIBDIR=private) == path


def test_a_python_without_a_gil_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sysconfig.get_config_vars(), "Py_GIL_DISABLED", 1)
    assert locate.main() == 1
    version = sysconfig.get_python_version()
    assert f"environment of python{version} instead of python{version}t" in capsys.readouterr().out
    monkeypatch.setitem(sysconfig.get_config_vars(), "Py_GIL_DISABLED", 0)
    monkeypatch.setattr(locate, "libpython", lambda: Path("/libpython.so"))
    assert locate.main() == 0
    assert capsys.readouterr().out == "libpython=/libpython.so\n"
