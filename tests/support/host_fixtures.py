"""Fixtures for the compiled host program, and for hosts that end with their test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from plugin_host import LIBRARY, PluginHost, compile_host, has_compiler
from pythons import Environment, copy_package, make_environment, running

NewHost = Callable[..., PluginHost]


@pytest.fixture(scope="session")
def host_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled host program."""
    if not has_compiler():
        pytest.skip("no C compiler on PATH to build the host that loads the plugin")
    if running().libpython is None:
        pytest.skip("this Python has no shared library, so a host cannot embed it")
    return compile_host(tmp_path_factory.mktemp("host"))


@pytest.fixture
def new_host(host_program: Path, tmp_path: Path) -> Iterator[NewHost]:
    """Function that starts a host; arguments: library, daemon, and environment variables."""
    numbers = itertools.count(1)
    with ExitStack() as running:

        def start(library: Path = LIBRARY, daemon: bool = False, **environ: str) -> PluginHost:
            directory = tmp_path / f"host{next(numbers)}"
            directory.mkdir()
            return running.enter_context(
                PluginHost(host_program, directory, {"TZ": "UTC", **environ}, library, daemon)
            )

        yield start


@pytest.fixture
def host(new_host: NewHost) -> PluginHost:
    """A host with default settings."""
    return new_host()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The library in a copy of the package outside any Python environment."""
    return copy_package(tmp_path / "elsewhere") / "host" / "out_kinesis.so"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A virtual environment of the running Python."""
    return make_environment(running(), tmp_path / "venv")
