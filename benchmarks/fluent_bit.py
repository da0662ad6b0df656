"""What the plugin costs inside a real Fluent Bit, and whether every record arrives.

    FLUENT_BIT=/path/to/fluent-bit python benchmarks/fluent_bit.py          about two minutes
    ... python benchmarks/fluent_bit.py --megabytes 20 --workers 0 4         a smaller log file
    ... python benchmarks/fluent_bit.py --check       exit status 1 when a target is missed

A log file of numbered lines (the seed is fixed) goes through Fluent Bit's tail input and the output
`kinesis` to a server on the loopback that takes everything. Afterwards each record that arrived is
compared with its line of the file. `null` in the table is Fluent Bit's own output that throws all
away, so the difference is the plugin's. CPU is that of the whole process, user and system, from its
start to its end, per 10^9 bytes of the log file; wall is from the start until the last record has
arrived. Requests go over plain HTTP: TLS costs more, what it costs depends on the machine.

Init is how much later Fluent Bit is ready with `kinesis` than with `null`, medians of 5 starts;
memory is the resident set of an idle process after two seconds, and the highest of the whole run.
"""

import argparse
import base64
import contextlib
import json
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from http_sink import HttpSink

from kinesis_fast.cli.plugin_path import library
from kinesis_fast.local import LocalKinesis

SEED = 20261123
LINE_BYTES = (80, 400)
READY = b"[engine] Shutdown Grace Period"
ACCOUNT = re.compile(r"records: in=(\d+) delivered=(\d+)")
MIB = 1024 * 1024
MAX_INIT_S, MAX_IDLE_MIB = 1.0, 60.0
STARTS = 5
IDLE_S = 2.0
PATIENCE_S = 300.0
POLL_S = 0.005
RECORD_HEAD = b'{"log":"'
NUMBER_DIGITS = 9
NULL: Mapping[str, object] = {"name": "null"}


@dataclass(frozen=True)
class Run:
    """One log file through one output."""

    name: str
    status: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    log: str
    n_arrived: int = 0
    mb_arrived: float = 0.0  # data of the records, 10^6 bytes


@dataclass(frozen=True)
class Arrivals:
    """What the sink got, compared with the log file."""

    n_records: int
    n_bytes: int
    n_different: int
    n_missing: int
    n_repeated: int

    def faults(self, n_lines: int) -> Iterator[str]:
        """What is not as it should be."""
        counts = {
            f"records instead of {n_lines}": self.n_records if self.n_records != n_lines else 0,
            "records that differ from their lines": self.n_different,
            "lines missing": self.n_missing,
            "lines more than once": self.n_repeated,
        }
        return (f"{count} {what}" for what, count in counts.items() if count)


class FluentBit:
    """A running Fluent Bit that tails one file; killed at the end of the `with` block."""

    def __init__(self, output: Mapping[str, object], log_file: Path, work: Path) -> None:
        config = work / "fluent-bit.yaml"
        source = {
            "name": "tail",
            "path": str(log_file),
            "read_from_head": "on",
            "mem_buf_limit": "50M",
        }
        pipeline = {"inputs": [source], "outputs": [{"match": "*", **output}]}
        service = {"flush": 0.2}
        plugins = [str(library())] if output["name"] == "kinesis" else []
        content = {"service": service, "plugins": plugins, "pipeline": pipeline}
        config.write_text(json.dumps(content))
        self._output = work / "fluent-bit.log"
        self.started_at = time.perf_counter()
        with self._output.open("wb") as output_file:
            self.process = subprocess.Popen(
                [binary(), "-c", config],
                stdout=output_file,
                stderr=subprocess.STDOUT,
                env=LocalKinesis.environment(),
            )
        self._has_ended = False

    def __enter__(self) -> "FluentBit":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._has_ended:
            self.process.kill()
            self.process.wait()

    def log(self) -> bytes:
        """All that it wrote so far."""
        return self._output.read_bytes()

    def wait_until_ready(self) -> float:
        """Wait until the engine runs, and return the seconds since the start."""
        self.wait_until(lambda: READY in self.log())
        return time.perf_counter() - self.started_at

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that it should bring about."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"Fluent Bit ended, or got stuck:\n{self.log().decode()}")
            time.sleep(POLL_S)

    def resident_mib(self) -> float:
        """The memory that it has now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def position_in(self, path: Path) -> int:
        """How far it has read a file, 0 when it is not open."""
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if link.readlink() == path:
                    text = Path(f"/proc/{self.process.pid}/fdinfo/{link.name}").read_text()
                    return int(text.split()[1])
        return 0

    def peak_mib(self) -> float:
        """The most memory that it had so far; wait4() would tell that of our own fork instead."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def end(self) -> tuple[int, float]:
        """End it as systemd does; return its status and its CPU seconds."""
        self.process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(self.process.pid, 0)
        self._has_ended = True
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode, usage.ru_utime + usage.ru_stime


def main(arguments: list[str] | None = None) -> int:
    """Run everything; the return value is the exit status."""
    options = _parser().parse_args(arguments)
    if not binary():
        sys.exit("no Fluent Bit here: name one with FLUENT_BIT=/path/to/fluent-bit")
    print(_machine(), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory).resolve()
        missed = _starts(work)
        log_file = work / "big.log"
        n_lines = write_log(log_file, options.megabytes * 1_000_000)
        missed += _throughput(log_file, n_lines, options.workers, work)
    print(f"targets missed: {'; '.join(missed)}" if missed else "targets: all reached")
    return 1 if missed and options.check else 0


def binary() -> str:
    """The Fluent Bit to run, empty when there is none."""
    return os.environ.get("FLUENT_BIT") or shutil.which("fluent-bit") or ""


def write_log(path: Path, n_bytes: int) -> int:
    """Write numbered lines until the file has so many bytes, and return their number."""
    words = random.Random(SEED)
    n_lines = written = 0
    with path.open("w") as file:
        while written < n_bytes:
            filler = f"{words.getrandbits(64):016x} " * (words.randrange(*LINE_BYTES) // 17)
            written += file.write(f"{n_lines:0{NUMBER_DIGITS}d} {filler}\n")
            n_lines += 1
    return n_lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the plugin inside a real Fluent Bit.")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the log file")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 4], help="values to try")
    parser.add_argument("--check", action="store_true", help="exit status 1 for a missed target")
    return parser


def _starts(work: Path) -> list[str]:
    """Measure start and idle memory; return the targets that were missed."""
    empty = work / "empty.log"
    empty.touch()
    target = {**_kinesis("http://127.0.0.1:9"), "workers": 1}
    ready: dict[str, list[float]] = {"null": [], "kinesis": []}
    idle: dict[str, float] = {}
    for number in range(STARTS):
        for output in (NULL, target):
            name = str(output["name"])
            with FluentBit(output, empty, work) as fluent_bit:
                ready[name].append(fluent_bit.wait_until_ready())
                if number == 0:
                    time.sleep(IDLE_S)
                    idle[name] = fluent_bit.resident_mib()
                status, _ = fluent_bit.end()
                if status:
                    sys.exit(f"Fluent Bit ended with status {status}")
    init_s = statistics.median(ready["kinesis"]) - statistics.median(ready["null"])
    above = idle["kinesis"] - idle["null"]
    print(f"ready after {init_s:.2f} s more than without the plugin (target {MAX_INIT_S:g} s)")
    print(
        f"idle: {idle['kinesis']:.1f} MiB, {above:.1f} MiB above Fluent Bit's own "
        f"{idle['null']:.1f} MiB (target {MAX_IDLE_MIB:g} MiB)",
        flush=True,
    )
    missed = [f"Init takes {init_s:.2f} s"] if init_s > MAX_INIT_S else []
    return missed + ([f"{above:.1f} MiB idle"] if above > MAX_IDLE_MIB else [])


def _throughput(log_file: Path, n_lines: int, workers: list[int], work: Path) -> list[str]:
    """Send the file with each number of workers; return what went wrong."""
    gb = log_file.stat().st_size / 1e9
    print(f"\nlog file: {gb * 1000:.1f} MB, {n_lines:,} lines")
    print(f"{'output':20}    arrived  MB data   wall s CPU s/GB above null   peak MiB end")
    null = _run_null(log_file, work)
    _print_row(null, gb, null)
    missed: list[str] = []
    for number in workers:
        run, faults = _run_kinesis(log_file, n_lines, number, work)
        _print_row(run, gb, null)
        missed += [f"workers {number}: {fault}" for fault in faults]
    return missed


def _run_null(log_file: Path, work: Path) -> Run:
    size = log_file.stat().st_size
    with FluentBit(NULL, log_file, work) as fluent_bit:
        fluent_bit.wait_until(lambda: fluent_bit.position_in(log_file) >= size)
        return _ended("null", fluent_bit)


def _run_kinesis(log_file: Path, n_lines: int, workers: int, work: Path) -> tuple[Run, list[str]]:
    with tempfile.TemporaryDirectory(dir=work) as directory:
        keep = Path(directory)
        with HttpSink(keep) as sink:
            output = {**_kinesis(sink.url), "workers": workers}
            with FluentBit(output, log_file, work) as fluent_bit:
                fluent_bit.wait_until(lambda: sink.n_records() >= n_lines)
                run = _ended(f"kinesis, workers {workers}", fluent_bit)
        arrivals = compare(log_file, keep)
    run = replace(run, n_arrived=arrivals.n_records, mb_arrived=arrivals.n_bytes / 1e6)
    return run, [*arrivals.faults(n_lines), *_faults_at_end(run, n_lines)]


def compare(log_file: Path, keep: Path) -> Arrivals:
    """Compare each record that arrived with its line of the log file.

    Args:
        log_file: what write_log() wrote.
        keep: the directory in which the sink kept the bodies, a file per connection, one a line.
    """
    lines = log_file.read_bytes().splitlines()
    seen = bytearray(len(lines))
    n_records = n_bytes = n_different = 0
    for path in keep.iterdir():
        with path.open("rb") as bodies:
            for body in bodies:
                for entry in json.loads(body)["Records"]:
                    data = base64.b64decode(entry["Data"])
                    number = int(data[len(RECORD_HEAD) :][:NUMBER_DIGITS])
                    n_records += 1
                    n_bytes += len(data)
                    n_different += data != b'%s%s"}' % (RECORD_HEAD, lines[number])
                    seen[number] = min(seen[number] + 1, 2)
    return Arrivals(n_records, n_bytes, n_different, seen.count(0), seen.count(2))


def _faults_at_end(run: Run, n_lines: int) -> Iterator[str]:
    if run.status:
        yield f"Fluent Bit ended with status {run.status}"
    found = ACCOUNT.search(run.log)
    account = tuple(map(int, found.groups())) if found else None
    if account != (n_lines, n_lines):
        yield f"the plugin says it read and delivered {account} of {n_lines}"
    if "[error]" in run.log:
        yield "there are errors in the log: " + run.log[run.log.index("[error]") :].splitlines()[0]


def _ended(name: str, fluent_bit: FluentBit) -> Run:
    wall_s = time.perf_counter() - fluent_bit.started_at
    peak_mib = fluent_bit.peak_mib()
    status, cpu_s = fluent_bit.end()
    return Run(name, status, wall_s, cpu_s, peak_mib, fluent_bit.log().decode())


def _print_row(run: Run, gb: float, null: Run) -> None:
    print(
        f"{run.name:20} {run.n_arrived:10,} {run.mb_arrived:9.1f} {run.wall_s:8.1f} "
        f"{run.cpu_s / gb:8.1f} {(run.cpu_s - null.cpu_s) / gb:10.1f} {run.peak_mib:10.0f} "
        f"{'clean' if run.status == 0 else run.status}",
        flush=True,
    )


def _kinesis(endpoint: str) -> dict[str, object]:
    return {"name": "kinesis", "region": "us-east-1", "stream": "logs", "endpoint": endpoint}


def _machine() -> str:
    version = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{version.stdout.splitlines()[0]}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load average {load}"
    )


if __name__ == "__main__":
    sys.exit(main())
