"""The gate against regressions: how many instructions it takes to encode each chunk.

    python benchmarks/instructions.py             compares with benchmarks/instructions.json
    python benchmarks/instructions.py --update    writes that file

Instructions, unlike seconds, do not depend on what else the machine does. Each chunk is encoded N
and 2N times under callgrind; the difference is N passes, and nothing of Python's start is in it.
The counts do depend on the compiler and on the kernels that are chosen for the CPU. So both are
recorded: with another compiler the tolerance is wider, and for another kind of CPU there is nothing
to compare with. Callgrind has no AVX-512, so all that an x86-64 can differ in here is AVX2.

One more row is the start of an output with the first flush, as in Fluent Bit: imports, botocore,
one request to a server on loopback. It depends on Python and botocore, so it is compared only where
both are the recorded ones. Three runs in a row differed by 0.0001 %; where the package lies and
what the environment holds change some more, so the tolerance is that of the chunks.
"""

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import loopback
from counting_sink import CountingSink
from workloads import BASE_OPTIONS, all_workloads

HERE = Path(__file__).resolve().parent
DRIVER = HERE / "instruction_driver.py"
START_DRIVER = HERE / "start_driver.py"
BASELINE = HERE / "instructions.json"
N_PASSES = 2
TOLERANCE, TOLERANCE_ELSEWHERE = 0.03, 0.15  # of the recorded count, upwards
WORTH_RECORDING = 0.05  # of the recorded count, downwards
COMPILER = re.compile(rb"GCC: \([^)]*\) ([0-9.]+)|clang version ([0-9.]+)")
TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)


class Job(NamedTuple):
    """A chunk with the options to encode it with."""

    name: str
    chunk: bytes
    options: dict[str, str]


class Verdict(NamedTuple):
    """The result for one chunk, and whether it takes too many instructions."""

    text: str
    is_fault: bool


def main(arguments: list[str] | None = None) -> int:
    """Measure and compare, or record; the return value is the exit status."""
    options = _parser().parse_args(arguments)
    if shutil.which("valgrind") is None:
        print("valgrind is needed to count instructions (Debian: apt-get install valgrind)")
        return 1
    built = built_with()
    counts = measure()
    if options.update:
        start = {**start_with(), "instructions": measure_start()}
        content = {**built, "instructions": counts, "start": start}
        BASELINE.write_text(json.dumps(content, indent=2) + "\n")
        print(f"recorded in {BASELINE.name}: {_describe(built)}")
        return 0
    recorded = json.loads(BASELINE.read_text())
    status = report(counts, built, recorded)
    return report_start(recorded["start"]) or status


def start_with() -> dict[str, str]:
    """What a start depends on."""
    return {"python": platform.python_version(), "botocore": version("botocore")}


def measure_start() -> int:
    """Instructions of a process that starts an output and flushes once."""
    with tempfile.TemporaryDirectory() as directory, CountingSink() as sink:
        environ = {**loopback.environment(None), "PYTHONHASHSEED": "0", "TZ": "UTC"}
        _callgrind([START_DRIVER, sink.url], Path(directory), environ)
        (count,) = map(_total, Path(directory).iterdir())
    return count


def report_start(recorded: Mapping[str, Any]) -> int:
    """Measure the start and compare it with the recorded one; return the exit status."""
    here = start_with()
    if any(recorded[name] != here[name] for name in here):
        print(
            f"start: skipped, recorded with Python {recorded['python']}, botocore "
            f"{recorded['botocore']}"
        )
        return 0
    counts = {"start": measure_start()}
    (verdict,) = judge(counts, {"start": recorded["instructions"]}, TOLERANCE)
    print(verdict.text)
    return int(verdict.is_fault)


def measure() -> dict[str, int]:
    """Instructions for one pass over every chunk, plain and shaped."""
    jobs = [
        Job(f"{workload.name}, {kind}", workload.chunk, BASE_OPTIONS | options)
        for workload in all_workloads()
        for kind, options in {"plain": {}, "shaped": workload.shape.options()}.items()
    ]
    with tempfile.TemporaryDirectory() as directory:
        totals = _run(jobs, Path(directory))
    pairs = zip(jobs, totals[::2], totals[1::2], strict=True)
    return {job.name: (twice - once) // N_PASSES for job, once, twice in pairs}


def report(counts: Mapping[str, int], built: Mapping[str, str], recorded: Mapping[str, Any]) -> int:
    """Print how the counts compare with the recorded ones; return the exit status."""
    print(f"built here: {_describe(built)}\nrecorded:   {_describe(recorded)}")
    if built["cpu"] != recorded["cpu"]:
        print("THE GATE IS SKIPPED: nothing is recorded for this kind of CPU; the counts are")
        print("\n".join(f"{name:24} {count:14,}" for name, count in counts.items()))
        return 0
    is_same = built["compiler"] == recorded["compiler"]
    tolerance = TOLERANCE if is_same else TOLERANCE_ELSEWHERE
    print(f"allowed: {tolerance:.0%} more{'' if is_same else ' (another compiler)'}")
    verdicts = list(judge(counts, recorded["instructions"], tolerance))
    print("\n".join(verdict.text for verdict in verdicts))
    return 1 if any(verdict.is_fault for verdict in verdicts) else 0


def judge(
    counts: Mapping[str, int], recorded: Mapping[str, int], tolerance: float
) -> Iterator[Verdict]:
    """Compare count by count; a chunk that is on one side only is a fault as well."""
    for name in sorted(counts.keys() ^ recorded.keys()):
        yield Verdict(f"{name}: measured or recorded, but not both; make bench-gate-update", True)
    for name in sorted(counts.keys() & recorded.keys()):
        change = counts[name] / recorded[name] - 1
        text = f"{name:24} {counts[name]:14,} {change:+7.2%}"
        if change > tolerance:
            yield Verdict(f"{text}  TOO MANY", True)
        elif change < -WORTH_RECORDING:
            yield Verdict(f"{text}  fewer: record it with make bench-gate-update", False)
        else:
            yield Verdict(text, False)


def built_with() -> dict[str, str]:
    """The compiler of the installed encoder, and the kind of CPU as far as the kernels differ."""
    spec = importlib.util.find_spec("kinesis_fast._core.encoder")
    assert spec is not None
    assert spec.origin is not None
    found = COMPILER.search(Path(spec.origin).read_bytes())
    if found is None:
        sys.exit(f"{spec.origin} does not name the compiler that made it")
    gcc, clang = found.groups()
    compiler = f"gcc {gcc.decode()}" if gcc else f"clang {clang.decode()}"
    return {"compiler": compiler, "cpu": _cpu()}


def _cpu() -> str:
    flags = Path("/proc/cpuinfo").read_text()
    return platform.machine() + (" with AVX2" if re.search(r"\bavx2\b", flags) else "")


def _describe(built: Mapping[str, Any]) -> str:
    return f"{built['compiler']}, {built['cpu']}"


def _run(jobs: list[Job], work: Path) -> list[int]:
    """Run all jobs, each once and twice as often; returns the totals of their processes."""
    content = []
    for number, job in enumerate(jobs):
        path = work / str(number)
        path.write_bytes(job.chunk)
        content += [(str(path), job.options, n) for n in (N_PASSES, 2 * N_PASSES)]
    (work / "jobs.json").write_text(json.dumps(content))
    environ = os.environ | {"PYTHONHASHSEED": "0", "TZ": "UTC"}
    output = _callgrind([DRIVER, work / "jobs.json"], work, environ)
    return [_total(work / f"callgrind.{pid}") for pid in output.split()]


def _callgrind(arguments: list[object], work: Path, environ: Mapping[str, str]) -> str:
    """Run a driver, and return its output; each process leaves a file in `work`."""
    callgrind = ["valgrind", "--quiet", "--tool=callgrind"]
    callgrind += [f"--callgrind-out-file={work}/callgrind.%p"]
    done = subprocess.run(
        [*callgrind, sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the driver failed under callgrind:\n{done.stdout}{done.stderr}")
    return done.stdout


def _total(path: Path) -> int:
    found = TOTALS.search(path.read_text())
    if found is None:
        sys.exit(f"callgrind wrote no totals into {path.name}")
    return int(found.group(1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Count the instructions of the encoder.")
    parser.add_argument("--update", action="store_true", help=f"write {BASELINE.name}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
