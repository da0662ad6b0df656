"""Tries a fault in a copy of the installed package: builds it, runs its tests, gives a verdict."""

from __future__ import annotations

import enum
import importlib.util
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

from mutant_faults import PACKAGE, TREE, Fault, InvalidError

TOOLS = str(TREE / "tools")
BUILD_KIND = "unoptimized"
NEEDED_TO_BUILD = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
# What most tests import, and nothing that imports kinesis_fast.
PRELOADED = ("pytest", "hypothesis.strategies", "boto3", "botocore.session", "msgpack", "httptools")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)  # a log line has more spaces
TESTS_FAILED = 1  # pytest's exit status; 2 to 5 mean that the tests could not be run
SHORTEST_LIMIT_S = 30.0
LIMIT_PER_BASELINE = 10.0  # a run with a fault may take so many times the run without it
BASELINE_LIMIT_S = BUILD_LIMIT_S = 600.0


class Verdict(enum.Enum):
    """What became of a fault."""

    KILLED = "killed"
    CRASHED = "killed by a crash"
    TIME_LIMIT = "killed by time limit"
    SURVIVED = "SURVIVED"
    INVALID = "INVALID"


class Result(NamedTuple):
    """The verdict on a fault, with the test that noticed it or the reason why it is invalid."""

    fault: Fault
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        what = f"{self.fault.room}: {self.fault.name}{detail}"
        return f"{self.verdict.value:<20} {self.seconds:5.1f} s  {what}"


class Done(NamedTuple):
    """A finished process; status is None when it was ended at the time limit."""

    status: int | None
    output: str
    seconds: float


class Processes:
    """Starts processes in groups of their own, so that each can be ended with its children."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[ForkServerProcess] = set()
        self._stopped = False
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))

    def run(self, what: Callable[[], int], log: Path, limit_s: float) -> Done:
        """Run a function in a process; returns its exit status and what it wrote to both streams.

        The function is pickled. It gets no signals that this process gets from a terminal.
        """
        begin = time.monotonic()
        process = self._start(what, log)
        process.join(limit_s)
        status = process.exitcode
        _end_group(process)
        process.join()
        with self._lock:
            self._running.discard(process)
        output = log.read_text(errors="replace") if log.exists() else ""
        return Done(status, output, time.monotonic() - begin)

    def stop(self) -> None:
        """End all of them, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _end_group(process)

    def _start(self, what: Callable[[], int], log: Path) -> ForkServerProcess:
        with self._lock:
            if self._stopped:
                raise InvalidError("interrupted")
            process = self._context.Process(target=_child, args=(what, log), daemon=False)
            process.start()
            self._running.add(process)
            return process


@dataclass(frozen=True)
class Tests:
    """Runs tests in this process as if the Python of another environment had been started."""

    python: Path
    tests: tuple[str, ...]
    directory: Path

    def __call__(self) -> int:
        """Run them, with nothing kept for or known from another run; returns pytest's status."""
        import pytest  # noqa: PLC0415 - only the processes that run tests need these
        from hypothesis import Phase, settings  # noqa: PLC0415

        site, copy = str(site_packages()), str(installed_package(self.python).parent)
        sys.path[:] = [copy if entry == site else entry for entry in sys.path if entry != TOOLS]
        sys.executable = str(self.python)
        sys.prefix = sys.exec_prefix = str(self.python.parent.parent)
        sys.dont_write_bytecode = False
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(self.directory / "hypothesis")
        for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
            os.environ.pop(name, None)
        # The first example that fails is enough.
        settings.register_profile("faults", phases=[Phase.explicit, Phase.generate])
        settings.load_profile("faults")
        importlib.invalidate_caches()
        options = (
            f"-c {TREE / 'pyproject.toml'} -x -q --tb=short -p no:cacheprovider --assert=plain"
        )
        temporary = f"--basetemp={self.directory / 'tmp'}"
        return int(pytest.main([*options.split(), "--hypothesis-seed=0", temporary, *self.tests]))


@dataclass(frozen=True)
class Build:
    """Compiles a tree."""

    tree: Path

    def __call__(self) -> int:
        """Run setup.py; returns its exit status."""
        environ = {**os.environ, "KINESIS_FAST_BUILD": BUILD_KIND}
        command = [sys.executable, "setup.py", "--quiet", "build_ext"]
        return subprocess.run(command, cwd=self.tree, env=environ, check=False).returncode


class Trial:
    """Tries faults in copies below a directory, which the caller removes."""

    def __init__(self, directory: Path, limit_s: float | None) -> None:
        self._directory = directory
        self._limit_s = limit_s
        self._processes = Processes()
        self._baselines: dict[str, float] = {}  # seconds that each test, or its file, takes
        self._failures: dict[str, str] = {}
        self._environment = make_environment(directory / "baseline")

    def stop(self) -> None:
        """End what runs."""
        self._processes.stop()

    def build_base(self) -> None:
        """Build the tree without a fault, for the builds with one to start from."""
        base = self._directory / "tree"
        for name in ("src_pyx", PACKAGE):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(TREE / name, base / name, ignore=ignored)
        for name in NEEDED_TO_BUILD:
            shutil.copy2(TREE / name, base / name)
        self._build(base)

    def run_baseline(self, tests: Sequence[str]) -> None:
        """Run tests without a fault, in one process unless one of them fails."""
        directory = Path(tempfile.mkdtemp(prefix="baseline-", dir=self._directory))
        done = self._pytest(self._environment, tests, directory, BASELINE_LIMIT_S)
        if done.status == 0:
            self._baselines |= dict.fromkeys(tests, done.seconds)
        elif len(tests) > 1:
            for test in tests:
                self.run_baseline([test])
        else:
            self._failures[tests[0]] = f"without a fault {tests[0]} fails:\n{_tail(done.output)}"

    def run(self, fault: Fault, number: int) -> Result:
        """Try one fault."""
        directory = self._directory / str(number)
        try:
            return self._run(fault, directory)
        except InvalidError as error:
            return Result(fault, Verdict.INVALID, str(error))
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _run(self, fault: Fault, directory: Path) -> Result:
        failures = [self._failures[test] for test in fault.tests if test in self._failures]
        if failures:
            raise InvalidError("; ".join(failures))
        changed = fault.changed_text()
        python = make_environment(directory / "environment")
        package = installed_package(python)
        if fault.is_compiled:
            tree = directory / "tree"
            shutil.copytree(self._directory / "tree", tree)
            (tree / fault.file).write_text(changed)
            self._build(tree)
            for built in tree.glob(f"build/{BUILD_KIND}/lib.*/{PACKAGE}"):
                replace_libraries(package, built)
        else:
            replace_module(package.parent / fault.file, changed)
        baseline = sum(self._baselines[test] for test in fault.tests)
        limit_s = self._limit_s or SHORTEST_LIMIT_S + LIMIT_PER_BASELINE * baseline
        done = self._pytest(python, fault.tests, directory, limit_s)
        return Result(fault, *judge(done, limit_s), done.seconds)

    def _pytest(self, python: Path, tests: Iterable[str], directory: Path, limit_s: float) -> Done:
        run_tests = Tests(python, tuple(tests), directory)
        return self._processes.run(run_tests, directory / "pytest.log", limit_s)

    def _build(self, tree: Path) -> None:
        done = self._processes.run(Build(tree), tree / "build.log", BUILD_LIMIT_S)
        if done.status != 0:
            raise InvalidError(f"it does not compile:\n{_tail(done.output)}")


def judge(done: Done, limit_s: float) -> tuple[Verdict, str]:
    """Return the verdict on a run with a fault, and what to tell of it."""
    if done.status is None:
        return Verdict.TIME_LIMIT, f"{limit_s:.0f} s"
    if done.status < 0:
        return Verdict.CRASHED, signal.Signals(-done.status).name
    if done.status == 0:
        return Verdict.SURVIVED, ""
    failed = FAILED.search(done.output)
    if done.status == TESTS_FAILED and failed is not None:
        return Verdict.KILLED, failed[1]
    return Verdict.INVALID, f"its tests cannot be run:\n{_tail(done.output)}"


def make_environment(directory: Path) -> Path:
    """Make a copy of the running virtual environment with a package that may be changed.

    All other packages are links. Returns the path of its Python.
    """
    site = site_packages()
    copy = directory / site.relative_to(sys.prefix)
    copy.mkdir(parents=True)
    for entry in site.iterdir():
        if entry.name != PACKAGE:
            (copy / entry.name).symlink_to(entry)
    shutil.copytree(site / PACKAGE, copy / PACKAGE)
    shutil.copy2(Path(sys.prefix, "pyvenv.cfg"), directory)
    programs = directory / "bin"
    programs.mkdir()
    python = Path(os.path.realpath(sys.executable))
    for name in ("python", "python3", python.name):
        if not (programs / name).exists():
            (programs / name).symlink_to(python)
    script = Path(sys.prefix, "bin", "kinesis-fast")
    _, _, rest = script.read_text().partition("\n")
    (programs / script.name).write_text(f"#!{programs / 'python'}\n{rest}")
    (programs / script.name).chmod(0o755)
    return programs / "python"


def installed_package(python: Path) -> Path:
    """Return where make_environment put the package."""
    return python.parent.parent / site_packages().relative_to(sys.prefix) / PACKAGE


def replace_module(path: Path, text: str) -> None:
    """Write a Python module and remove what was compiled from the one before."""
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    path.write_text(text)


def replace_libraries(package: Path, built: Path) -> None:
    """Copy each compiled module of a build to its place in a package."""
    for library in built.rglob("*.so"):
        shutil.copy2(library, package / library.relative_to(built))


def site_packages() -> Path:
    """Return the directory that the package is installed in."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None or Path(found.origin).is_relative_to(TREE / PACKAGE):
        raise InvalidError(f"{PACKAGE} is not installed here; run `make mutants`")
    return Path(found.origin).resolve().parent.parent


def _child(what: Callable[[], int], log: Path) -> None:
    """Lead a group of processes, and end when the function returns, whatever threads are left."""
    os.setsid()
    os.chdir(TREE)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    status = what()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_group(process: ForkServerProcess) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()


def _tail(output: str) -> str:
    return "\n".join(f"    {line}" for line in output.splitlines()[-30:])
