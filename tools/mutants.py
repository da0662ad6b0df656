"""Put faults into a copy of the package, one at a time, and report those that no test notices.

The faults are listed in tests/mutants/*.toml; tests/mutants/README.md describes the format. The
source tree and the installed package are never changed: each fault gets a virtual environment of
its own, whose packages are links to the installed ones and whose kinesis_fast is a copy. Programs
that a test starts with sys.executable run there too. A fault in src_pyx is compiled in a copy of
the tree that starts from the objects of one common build, which is not optimized.

Each run of tests is a fork of a process that has imported pytest and its like, but nothing of
kinesis_fast: importing them takes longer than most of the tests.

The exit status is 1 unless there are faults and each one is killed.
"""

from __future__ import annotations

import argparse
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
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

TREE = Path(__file__).resolve().parent.parent
TOOLS = str(TREE / "tools")
LISTS = TREE / "tests" / "mutants"
PACKAGE = "kinesis_fast"
BUILD_KIND = "unoptimized"
NEEDED_TO_BUILD = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
# What most tests import, and nothing that imports kinesis_fast.
PRELOADED = ("pytest", "hypothesis.strategies", "boto3", "botocore.session", "msgpack", "httptools")
KEYS = {"name", "file", "old", "new", "tests"}
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)  # a log line has more spaces
TESTS_FAILED = 1  # pytest's exit status; 2 to 5 mean that the tests could not be run
SHORTEST_LIMIT_S = 30.0
LIMIT_PER_BASELINE = 10.0  # a run with a fault may take so many times the run without it
BASELINE_LIMIT_S = BUILD_LIMIT_S = 600.0
ADVICE = """\
What to do with a survivor: add a test that fails while the fault is in, and name it in the fault's
`tests`. Use a fake clock or count the calls; a bound on real time will not do. If nothing depends
on the line that the fault changes, delete the line and the fault.
Then run: make mutants ONLY='part of its name'"""


class Verdict(enum.Enum):
    """What became of a fault."""

    KILLED = "killed"
    CRASHED = "killed by a crash"
    TIME_LIMIT = "killed by time limit"
    SURVIVED = "SURVIVED"
    INVALID = "INVALID"


class InvalidError(Exception):
    """Why a fault cannot be tried."""


@dataclass(frozen=True)
class Fault:
    """One entry of a list; room is the name of the list."""

    room: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def is_compiled(self) -> bool:
        """Whether the package has to be built again."""
        return self.file.startswith("src_pyx/")

    def matches(self, text: str | None) -> bool:
        """Whether the text, if any, is the fault's room or part of its name."""
        return text is None or text == self.room or text in self.name

    def changed_text(self) -> str:
        """Return the faulty text of the whole file; raises InvalidError."""
        if not self.file.startswith((f"{PACKAGE}/", "src_pyx/")):
            raise InvalidError(f"{self.file} is not below {PACKAGE}/ or src_pyx/")
        path = TREE / self.file
        if not path.is_file():
            raise InvalidError(f"there is no {self.file}")
        text = path.read_text()
        if text.count(self.old) != 1:
            count = text.count(self.old)
            raise InvalidError(f"`old` occurs {count} times in {self.file}; it must occur once")
        if self.old == self.new:
            raise InvalidError("`new` equals `old`")
        changed = text.replace(self.old, self.new)
        if path.suffix == ".py":
            try:
                compile(changed, self.file, "exec", dont_inherit=True)
            except SyntaxError as error:
                raise InvalidError(f"{self.file} has a syntax error then: {error}") from error
        return changed

    def description(self) -> str:
        """Return the place and the change, for a reader who has to write a test."""
        text = (TREE / self.file).read_text()
        line = text[: text.index(self.old)].count("\n") + 1
        changes = [f"- {part}" for part in self.old.splitlines()]
        changes += [f"+ {part}" for part in self.new.splitlines()]
        lines = [f"{self.file}:{line}", *changes, f"these pass with it: {' '.join(self.tests)}"]
        return "".join(f"    {text}\n" for text in lines)


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

        site, copy = str(_site_packages()), str(installed_package(self.python).parent)
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
            for library in tree.glob(f"build/{BUILD_KIND}/lib.*/{PACKAGE}/*/*.so"):
                shutil.copy2(library, package / library.parent.name / library.name)
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


def load(directory: Path) -> list[Fault]:
    """Read all lists of a directory; raises InvalidError."""
    faults: list[Fault] = []
    for path in sorted(directory.glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text()).get("fault", [])
        except tomllib.TOMLDecodeError as error:
            raise InvalidError(f"{path}: {error}") from error
        for table in tables:
            name = f"{path}: fault {table.get('name', '')!r}"
            if set(table) != KEYS:
                raise InvalidError(f"{name} has to have these keys: {', '.join(sorted(KEYS))}")
            if not table["tests"]:
                raise InvalidError(f"{name} names no tests")
            faults.append(Fault(path.stem, **{**table, "tests": tuple(table["tests"])}))
    names = [fault.name for fault in faults]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InvalidError(f"several faults have the name {', '.join(sorted(repeated))}")
    return faults


def make_environment(directory: Path) -> Path:
    """Make a copy of the running virtual environment with a package that may be changed.

    All other packages are links. Returns the path of its Python.
    """
    site = _site_packages()
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
    return python.parent.parent / _site_packages().relative_to(sys.prefix) / PACKAGE


def replace_module(path: Path, text: str) -> None:
    """Write a Python module and remove what was compiled from the one before."""
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    path.write_text(text)


def stale_modules() -> list[str]:
    """Return the modules whose installed text is not that of the tree."""
    site = _site_packages()
    sources = (path.relative_to(TREE) for path in sorted((TREE / PACKAGE).rglob("*.py")))
    return [
        str(source)
        for source in sources
        if not (site / source).is_file()
        or (site / source).read_bytes() != (TREE / source).read_bytes()
    ]


def tests_by_file(faults: Iterable[Fault]) -> list[list[str]]:
    """Return the tests that the faults name, those of one file together."""
    tests = sorted({test for fault in faults for test in fault.tests})
    return [list(group) for _, group in groupby(tests, lambda test: test.partition("::")[0])]


def run(faults: Sequence[Fault], jobs: int, limit_s: float | None) -> list[Result]:
    """Try all faults, several at a time; prints each result as it comes; raises InvalidError."""
    results = [result for fault in faults if (result := _checked(fault)) is not None]
    for result in results:
        print(result, flush=True)
    invalid = {result.fault for result in results}
    valid = sorted(set(faults) - invalid, key=lambda fault: (not fault.is_compiled, fault.name))
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        trial = Trial(Path(directory), limit_s)
        pool = ThreadPoolExecutor(jobs)
        try:
            built = pool.submit(trial.build_base) if any(f.is_compiled for f in valid) else None
            list(pool.map(trial.run_baseline, tests_by_file(valid)))
            if built is not None:
                built.result()
            tried = [pool.submit(trial.run, fault, i) for i, fault in enumerate(valid)]
            for future in as_completed(tried):
                results.append(future.result())
                print(results[-1], flush=True)
        finally:
            trial.stop()
            pool.shutdown(cancel_futures=True)
    return results


def report(results: Sequence[Result], seconds: float) -> int:
    """Print what there is to do; returns the exit status."""
    survivors = [result.fault for result in results if result.verdict is Verdict.SURVIVED]
    n_invalid = sum(result.verdict is Verdict.INVALID for result in results)
    for fault in survivors:
        print(f"\nSURVIVED {fault.name} (tests/mutants/{fault.room}.toml)\n{fault.description()}")
    if survivors:
        print(ADVICE)
    n_limit = 0
    for result in results:
        if result.verdict is Verdict.TIME_LIMIT:
            n_limit += 1
            print(f"doubtful, as only time ran out: {result.fault.room}: {result.fault.name}")
    n_killed = len(results) - len(survivors) - n_invalid
    print(
        f"\n{len(results)} faults: {n_killed} killed ({n_limit} of them by time limit), "
        f"{len(survivors)} survived, {n_invalid} invalid; {seconds:.0f} s"
    )
    return int(bool(survivors) or n_invalid > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = argparse.ArgumentParser(description="Report the faults that no test notices.")
    parser.add_argument("--only", metavar="TEXT", help="a room, or part of the names of faults")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="faults at a time")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for each fault")
    parser.add_argument("--lists", type=Path, default=LISTS, help="where the lists are")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    try:
        faults = [fault for fault in load(options.lists) if fault.matches(options.only)]
        if not faults:
            raise InvalidError("there is no fault to try")
        stale = stale_modules()
        if stale:
            raise InvalidError(f"run `make .venv/installed` first; changed: {', '.join(stale)}")
        results = run(faults, options.jobs, options.time_limit)
    except InvalidError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    return report(results, time.monotonic() - begin)


def _checked(fault: Fault) -> Result | None:
    """Return the result of a fault that cannot be tried."""
    try:
        fault.changed_text()
    except InvalidError as error:
        return Result(fault, Verdict.INVALID, str(error))
    return None


def _site_packages() -> Path:
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


if __name__ == "__main__":
    sys.exit(main())
