"""Which Python the library uses, and that it works with every Python on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from arrivals import assert_holds, golden_chunk
from chunks import GOLDEN_OPTIONS
from host_fixtures import NewHost
from local_stream import LocalStream
from plugin_host import PluginHost, assert_clean_end, assert_ok
from pythons import Environment, Python, make_environment, others, running

pytestmark = pytest.mark.slow  # each starts an interpreter or makes an environment

OPTIONS = "timekey_f"


def assert_delivers(
    host: PluginHost, stream: LocalStream, environment: Environment, **options: str
) -> None:
    """Assert that an output in this environment delivers and logs neither errors nor warnings."""
    chunk, expected = golden_chunk("typed_0", OPTIONS)
    assert host.init("a", {**stream.target, **GOLDEN_OPTIONS[OPTIONS], **options}) == 1
    assert_ok(host.flush("a", chunk))
    host.start(1, "a", chunk)
    assert_ok(host.join(1))
    assert str(environment.package / "_core") in host.maps()
    opened = host.libpython()
    assert_clean_end(host, "a")
    assert opened == str(environment.base.libpython)
    assert_holds(stream, expected * 2)


def test_a_library_in_an_environment_finds_its_python(
    new_host: NewHost, stream: LocalStream, environment: Environment
) -> None:
    host = new_host(environment.library)
    assert_delivers(host, stream, environment)


def test_no_child_process_looks_for_the_shared_library(
    new_host: NewHost, stream: LocalStream, environment: Environment
) -> None:
    """It lies where it should; the script that an interpreter would run fails."""
    if running().path.resolve().name != "python{}.{}".format(*running().version[:2]):
        pytest.skip("the interpreter does not have the usual name")
    (environment.package / "host" / "locate.py").write_text("raise SystemExit(1)")
    host = new_host(environment.library)
    assert_delivers(host, stream, environment)


@pytest.mark.parametrize("source", ["", "not a library"])
def test_a_library_that_cannot_be_used_is_not_taken(
    new_host: NewHost,
    stream: LocalStream,
    environment: Environment,
    elsewhere: Path,
    tmp_path: Path,
    source: str,
) -> None:
    """Beside the interpreter there is something else; so the interpreter is asked."""
    name = "python{}.{}".format(*running().version[:2])
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / f"lib{name}.so.1.0").write_text(source)
    python = tmp_path / "bin" / name
    python.write_text(f'#!/bin/sh\nexec {environment.python} "$@"\n')
    python.chmod(0o755)
    host = new_host(elsewhere, PYTHONPATH=str(environment.package.parent))
    assert host.init("a", {**stream.target, "python": str(python)}) == 1
    assert host.libpython() == str(environment.base.libpython)


@pytest.mark.parametrize(
    ("variable", "option"),
    [("{python}", ""), ("", "{python}"), ("/no/such/python", "{python}")],
)
def test_the_option_python(
    new_host: NewHost,
    stream: LocalStream,
    environment: Environment,
    elsewhere: Path,
    variable: str,
    option: str,
) -> None:
    python = str(environment.python)
    host = new_host(elsewhere, KINESIS_FAST_PYTHON=variable.format(python=python))
    assert_delivers(host, stream, environment, python=option.format(python=python))


def test_the_option_libpython(
    new_host: NewHost, stream: LocalStream, environment: Environment, tmp_path: Path
) -> None:
    link = tmp_path / "libpython-by-another-name.so"
    libpython = running().libpython
    assert libpython is not None
    link.symlink_to(libpython)
    host = new_host(environment.library)
    assert_delivers(host, stream, environment, libpython=str(link))


@pytest.mark.parametrize("python", others(), ids=str)
def test_another_python(
    new_host: NewHost, stream: LocalStream, python: Python, tmp_path: Path
) -> None:
    if python.libpython is None:
        pytest.skip(f"Python {python} has no shared library")
    environment = make_environment(python, tmp_path / "venv")
    host = new_host(environment.library, PYTHONPYCACHEPREFIX=str(tmp_path / "cache"))
    assert_delivers(host, stream, environment)
