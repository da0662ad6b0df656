"""Errors at Init: Init logs one clear line and fails, and the host continues to run."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from chunks import chunk_of
from host_fixtures import NewHost
from local_stream import LocalStream
from plugin_host import LIBRARY, PluginHost, assert_clean_end, assert_ok, compile_c
from pythons import Environment, too_old

OPTIONS = {"region": "us-east-1", "stream": "s"}
LIBRARY_SOURCES = Path(__file__).resolve().parents[2] / "src_pyx" / "host"

# A libpython without a GIL that ends the process if more is called than may be called before
# Python is initialised. With RUNS it looks as if the host had initialised it.
FREE_THREADED_LIBRARY = """
#include "python_api.h"
#include <stdlib.h>
#define Py_GetVersion not_the_version
#define Py_IsInitialized not_the_state
#define STUB(result, name, arguments) void name(void); void name(void) { abort(); }
KF_PYTHON_FUNCTIONS(STUB)
#undef Py_GetVersion
#undef Py_IsInitialized
const char *Py_GetVersion(void);
const char *Py_GetVersion(void) { return "3.13.0 experimental free-threading build (main) [GCC]"; }
int Py_IsInitialized(void);
int Py_IsInitialized(void) { return RUNS; }
"""

# A Python that reports changed properties of itself.
PRETENDER = """#!/bin/sh
exec {python} -c '
import runpy, sys, sysconfig
variables = sysconfig.get_config_vars()
{change}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""
AS_OLD = "sys.version_info = (3, 10, 13); sysconfig.get_python_version = lambda: '3.10'"
WITHOUT_LIBRARY = "variables['LIBDIR'] = sys.base_prefix = '/nowhere'"
FREE_THREADED = "variables['Py_GIL_DISABLED'] = 1; sysconfig.get_python_version = lambda: '3.14'"
STATIC = f"variables['INSTSONAME'] = 'libpython3.11.a'; {WITHOUT_LIBRARY}"


def failure(host: PluginHost, **options: str) -> str:
    """Let Init fail with these options; return the text of the error."""
    assert host.init("wrong", {**OPTIONS, **options}) == 0
    (line,) = host.log("error", "warn")
    assert line.level == "error"
    assert host.log()[-1] == line
    assert host.quit() == 0
    assert len(host.log()) == len(host.log("info")) + 1
    return line.text


def script(path: Path, source: str) -> str:
    """Write a program and return its path."""
    path.write_text(source)
    path.chmod(0o755)
    return str(path)


def pretender(path: Path, change: str) -> str:
    """Write a program that runs this Python with changed properties."""
    change = change.replace("'", '"')
    return script(path, PRETENDER.format(python=sys.executable, change=change))


def test_no_python_above_the_library(new_host: NewHost, elsewhere: Path) -> None:
    text = failure(new_host(elsewhere))
    assert text.startswith(f"no bin/python3 above {elsewhere.parents[2]}; ")
    assert "option python" in text
    assert "KINESIS_FAST_PYTHON" in text


@pytest.mark.parametrize("named_by", ["option", "variable"])
def test_a_python_that_does_not_exist(new_host: NewHost, named_by: str) -> None:
    if named_by == "option":
        text = failure(new_host(), python="/no/such/python")
    else:
        text = failure(new_host(KINESIS_FAST_PYTHON="/no/such/python"))
    assert text.startswith("cannot run the interpreter /no/such/python, ")
    assert "option python" in text
    assert "KINESIS_FAST_PYTHON" in text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("#!/bin/sh\nexit 0\n", "cannot start the interpreter"),
        ("#!/bin/sh\necho nonsense\n", "nonsense"),
        ("#!/bin/sh\necho one; echo 'the last line counts' >&2; exit 1\n", "the last line counts"),
        ("#!/bin/sh\necho libpython=/x; kill -KILL $$\n", "libpython=/x"),
        ("#!/bin/sh\nhead -c 9000000 /dev/zero | tr '\\0' x\n", "x"),
        ("not a program", "cannot start the interpreter"),
    ],
)
def test_a_program_that_is_not_python(
    new_host: NewHost, tmp_path: Path, source: str, said: str
) -> None:
    python = script(tmp_path / "python", source)
    assert failure(new_host(), python=python).startswith(f"{python}: {said}")


def test_the_error_of_a_script_stays_one_line(new_host: NewHost, tmp_path: Path) -> None:
    python = script(tmp_path / "python", "#!/bin/sh\nprintf 'one\\033two\\rthree\\n'; exit 1\n")
    assert failure(new_host(), python=python) == f"{python}: one two three"


@pytest.mark.parametrize("change", [WITHOUT_LIBRARY, STATIC])
def test_a_python_without_shared_library(new_host: NewHost, tmp_path: Path, change: str) -> None:
    text = failure(new_host(), python=pretender(tmp_path / "python", change))
    assert "has no shared library here (looked for /nowhere/" in text
    assert "apt-get install libpython3." in text
    assert "option libpython" in text


def test_a_python_that_is_too_old(new_host: NewHost, tmp_path: Path) -> None:
    python = pretender(tmp_path / "python", AS_OLD)
    message = "Python 3.10 is too old: 3.11 or later is required"
    assert failure(new_host(), python=python) == f"{python}: {message}"


def test_a_real_python_that_is_too_old(new_host: NewHost) -> None:
    python = too_old()
    if python is None:
        pytest.skip("no Python before 3.11 on this machine")
    version = f"{python.version[0]}.{python.version[1]}"
    message = f"Python {version} is too old: 3.11 or later is required"
    assert failure(new_host(), python=str(python.path)) == f"{python.path}: {message}"


def test_a_libpython_that_is_too_old(new_host: NewHost) -> None:
    python = too_old()
    if python is None or python.libpython is None:
        pytest.skip("no shared library of a Python before 3.11 on this machine")
    text = failure(new_host(), libpython=str(python.libpython))
    assert "3.11 or later" in text


def test_a_python_without_a_gil(new_host: NewHost, tmp_path: Path) -> None:
    python = pretender(tmp_path / "python", FREE_THREADED)
    text = failure(new_host(), python=python)
    assert text.startswith(f"{python}: Python 3.14 is free-threaded here")
    assert text.endswith(" environment of python3.14 instead of python3.14t")


def free_threaded_library(directory: Path, runs: bool) -> str:
    source, library = directory / "python.c", directory / "libpython3.13t.so.1.0"
    source.write_text(FREE_THREADED_LIBRARY)
    flags = ("-shared", "-fPIC", f"-I{LIBRARY_SOURCES}", f"-DRUNS={int(runs)}")
    compile_c(library, [source], flags)
    return str(library)


def test_a_libpython_without_a_gil(host: PluginHost, stream: LocalStream, tmp_path: Path) -> None:
    """It is closed again, so that its symbols do not hide those of the next libpython."""
    library = free_threaded_library(tmp_path, runs=False)
    assert host.init("wrong", {**OPTIONS, "libpython": library}) == 0
    (line,) = host.log("error")
    assert line.text == (
        f"{library} is a free-threaded Python 3.13, and this library requires one with a GIL: "
        "libpython3.13 instead of libpython3.13t"
    )
    assert library not in host.maps()
    assert host.init("good", stream.target) == 1
    assert_ok(host.flush("good", chunk_of([{"n": 1}])))
    assert host.exit("good") == 1
    assert host.quit() == 0


def test_a_host_whose_own_python_has_no_gil(new_host: NewHost, tmp_path: Path) -> None:
    library = free_threaded_library(tmp_path, runs=True)
    # A sanitizer, if there is one, has to come first.
    preloaded = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), library)))
    text = failure(new_host(LD_PRELOAD=preloaded))
    assert text.startswith("the Python in this process is a free-threaded Python 3.13, and this ")


def test_a_libpython_that_does_not_exist(new_host: NewHost) -> None:
    text = failure(new_host(), libpython="/no/such/libpython.so")
    assert text.startswith("cannot open libpython: /no/such/libpython.so: ")


def test_a_libpython_that_is_another_library(new_host: NewHost) -> None:
    library = ctypes.util.find_library("m")
    if library is None:
        pytest.skip("there is no libm to name instead of a libpython")
    assert failure(new_host(), libpython=library).startswith(f"{library} is not Python 3.11 ")


def test_a_package_without_its_compiled_modules(
    new_host: NewHost, environment: Environment
) -> None:
    (encoder,) = (environment.package / "_core").glob("encoder.*so")
    encoder.unlink()
    text = failure(new_host(environment.library))
    assert text.startswith("cannot import kinesis_fast: kinesis_fast: compiled module encoder")
    assert "pip install --force-reinstall" in text


def test_a_package_whose_dependency_is_missing(new_host: NewHost, environment: Environment) -> None:
    (environment.package.parent / "dependencies.pth").unlink()
    text = failure(new_host(environment.library))
    assert text.startswith("cannot import kinesis_fast: No module named 'boto")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"append_newline": "maybe"}, "append_newline"),
        ({"compression": "lz4"}, "compression"),
        ({"stream": "no good name"}, "stream"),
        ({"region": ""}, "region"),
        ({"stream": "\udcff"}, "stream"),
        ({"time_key_format": "%Q\rsecond line"}, "time_key_format"),
    ],
)
def test_a_wrong_option(new_host: NewHost, options: dict[str, str], said: str) -> None:
    assert said in failure(new_host(), **options)


def test_a_wrong_send_failure_timeout(new_host: NewHost) -> None:
    assert "SEND_FAILURE_TIMEOUT" in failure(new_host(SEND_FAILURE_TIMEOUT="soon"))


def test_init_can_be_tried_again_after_each_failure(host: PluginHost, stream: LocalStream) -> None:
    assert host.init("1", {**stream.target, "python": "/no/such/python"}) == 0
    assert host.init("2", {**stream.target, "libpython": "/no/such/libpython"}) == 0
    assert host.init("3", {**stream.target, "append_newline": "maybe"}) == 0
    n_complaints = len(host.log("error"))
    assert n_complaints == 3
    assert host.init("4", stream.target) == 1
    assert_ok(host.flush("4", chunk_of([{"n": 1}])))
    assert host.exit("4") == 1
    assert host.quit() == 0
    assert len(host.log("error")) == n_complaints


def test_a_failure_beside_a_running_output_does_not_disturb_it(
    host: PluginHost, stream: LocalStream
) -> None:
    assert host.init("good", stream.target) == 1
    assert host.init("wrong", {**stream.target, "append_newline": "maybe"}) == 0
    assert_ok(host.flush("good", chunk_of([{"n": 1}])))
    assert host.exit("good") == 1
    assert host.quit() == 0
    assert len(host.log("error")) == 1


def test_another_copy_of_the_library(
    new_host: NewHost, stream: LocalStream, tmp_path: Path
) -> None:
    copy = tmp_path / "out_kinesis.so"
    shutil.copy(LIBRARY, copy)
    host = new_host()
    assert host.init("a", stream.target) == 1
    assert host.call("load", str(copy)) == "loaded"
    host.register()
    assert host.init("b", stream.target) == 0
    (line,) = host.log("error")
    assert f"another copy of the library, {LIBRARY}" in line.text
    assert host.quit() == 0


def test_a_host_that_ignores_its_children(new_host: NewHost, stream: LocalStream) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        host = new_host()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert host.init("a", stream.target) == 1
    assert_clean_end(host, "a")
