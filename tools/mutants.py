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
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path

from mutant_faults import LISTS, PACKAGE, TREE, Fault, InvalidError, load
from mutant_trials import Result, Trial, Verdict, site_packages

ADVICE = """\
What to do with a survivor: add a test that fails while the fault is in, and name it in the fault's
`tests`. Use a fake clock or count the calls; a bound on real time will not do. If nothing depends
on the line that the fault changes, delete the line and the fault.
Then run: make mutants ONLY='part of its name'"""


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


def stale_modules() -> list[str]:
    """Return the modules whose installed text is not that of the tree."""
    site = site_packages()
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


def _checked(fault: Fault) -> Result | None:
    """Return the result of a fault that cannot be tried."""
    try:
        fault.changed_text()
    except InvalidError as error:
        return Result(fault, Verdict.INVALID, str(error))
    return None


if __name__ == "__main__":
    sys.exit(main())
