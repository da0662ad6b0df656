"""The cost of the plugin in a real Fluent Bit, and whether every record arrives.

    FLUENT_BIT=/path/to/fluent-bit python benchmarks/fluent_bit.py --rounds 5    half an hour
    ... python benchmarks/fluent_bit.py                   three rounds
    ... python benchmarks/fluent_bit.py --megabytes 20 60 --rounds 1             a quick look
    ... python benchmarks/fluent_bit.py --workers 1 4     more than one setting
    ... python benchmarks/fluent_bit.py --check           exit status 1 when something is wrong with
                                                          records, end, start or idle memory
    ... python benchmarks/fluent_bit.py --check-cpu       exit status 1 when a target is missed

Log files of numbered lines (the seed is fixed), of raw lines and of kubernetes records in JSON, go
through Fluent Bit's tail input and an output into a server on loopback that takes everything and
counts it (benchmarks/sink), over plain HTTP and over TLS. The outputs are `kinesis`, which is this
package, `kinesis_streams`, Fluent Bit's own in C, and `null`, which throws all away and so is the
cost of reading alone. In each of `--rounds` rounds every output takes a small and a large file, one
output after the other.

CPU is that of the whole process, user and system, from its start to its end, above `null` in the
same round. A line through both sizes gives two figures: CPU seconds per 10^9 bytes of log, and CPU
seconds of start and end, with all that the first flush has to prepare. Wall is from the start until
the last record of the large file has arrived. The parts of `kinesis_streams` compare CPU and wall
of the large file, start included; all figures are medians of the rounds, with the lowest and the
highest part in brackets.

In one more run of `kinesis` for each kind of file the bodies are kept, and each record is compared
with its line.

`kinesis_streams` has no plain HTTP. FLUENT_BIT_PLAIN may name a Fluent Bit in which it has:
docs/fluent-bit.md says how to build it.

Init is how much later Fluent Bit is ready with `kinesis` than with `null`, medians of 5 starts;
memory is the resident set of an idle process after two seconds, and the highest of a whole run.
"""

import argparse
import contextlib
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import counting_sink
import loopback
from counting_sink import Certificate, CountingSink, Totals
from fluent_bit_engine import FluentBit, Options, binary
from fluent_bit_logs import KUBERNETES, RAW, LogFile, compare, write_log
from fluent_bit_rows import Costs, Run, Sizes, table

ACCOUNT = re.compile(r"records: in=(\d+) delivered=(\d+)")
MAX_INIT_S, MAX_IDLE_MIB = 1.0, 60.0
# What `kinesis` may take of `kinesis_streams`: CPU by log format and variant, and time.
MAX_CPU_PART = {
    (RAW.name, "http"): 0.55,
    (KUBERNETES.name, "http"): 0.45,
    (RAW.name, "https"): 0.70,
    (KUBERNETES.name, "https"): 0.60,
    (RAW.name, "https, cbor"): 0.60,
    (KUBERNETES.name, "https, cbor"): 0.50,
    (RAW.name, "https, aggregation"): 0.50,
}
MAX_WALL_PART = 0.95
VARIANTS: dict[str, Options] = {
    "cbor": {"protocol": "cbor"},
    "aggregation": {"aggregation": "true"},
}
STARTS = 5
IDLE_S = 2.0
QUIET_S = 2.0  # many times Fluent Bit's flush interval: nothing more arrives
NULL: Options = {"name": "null"}
PLAIN_VARIABLE = "FLUENT_BIT_PLAIN"
Runs = dict[str, list[tuple[Run, ...]]]  # by label, for each round: the small file, the large
VERIFIED = ("http", "https, cbor", "https, aggregation")  # variants whose records are compared
MOUNT_TRUST = 'mount --bind "$0" /etc/ssl/certs && exec "$@"'


@dataclass(frozen=True)
class Contender:
    """An output and how it sends.

    command: what to start Fluent Bit with.
    tls: the certificate that it has to trust, None for plain HTTP.
    variant: what it is called among the targets.
    """

    label: str
    command: Sequence[str]
    name: str
    options: Options
    tls: Certificate | None
    variant: str = ""

    @property
    def aggregates(self) -> bool:
        """Whether several records arrive as one entry."""
        return "aggregation" in self.options

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.tls else "http"

    def output(self, port: int) -> Options:
        """The options of the output, given the port of the sink."""
        fixed = {"name": self.name, "region": "us-east-1", "stream": "logs", **self.options}
        if self.name == "kinesis":
            return {**fixed, "endpoint": f"{self.scheme}://127.0.0.1:{port}"}
        return {**fixed, "endpoint": "127.0.0.1", "port": port}


def main(arguments: list[str] | None = None) -> int:
    """Run everything; the return value is the exit status."""
    options = _parser().parse_args(arguments)
    if not binary():
        sys.exit("Fluent Bit was not found: name one with FLUENT_BIT=/path/to/fluent-bit")
    print(_machine(), flush=True)
    with tempfile.TemporaryDirectory(dir=_memory()) as directory:
        work = Path(directory).resolve()
        faults = _starts(work)
        missed: list[str] = []
        contenders = list(_contenders(options.workers, work))
        small, large = (size * 1_000_000 for size in options.megabytes)
        for log_format in (RAW, KUBERNETES):
            log_files = (
                write_log(work / "small.log", log_format, small),
                write_log(work / "large.log", log_format, large),
            )
            runs = _take_turns(log_files, contenders, options.rounds, work)
            faults += _faults_of(runs, contenders, log_files)
            missed += _report(runs, contenders, log_files)
            for contender in (one for one in contenders if one.variant in VERIFIED):
                faults += _verify(log_files[0], contender, work)
    print("\n  ".join(["faults:", *faults]) if faults else "faults: none")
    print("\n  ".join(["targets missed:", *missed]) if missed else "targets: all reached")
    return 1 if (faults and options.check) or (missed and options.check_cpu) else 0


def _memory() -> Path | None:
    """A directory in memory, if there is one: the tail input drops a file from the page cache."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the plugin inside a real Fluent Bit.")
    parser.add_argument(
        "--megabytes", type=int, nargs=2, default=[200, 1000], help="sizes of the log files"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each output")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="values to try")
    parser.add_argument("--check", action="store_true", help="exit status 1 for a fault")
    parser.add_argument("--check-cpu", action="store_true", help="exit status 1 for too much CPU")
    return parser


def _contenders(workers: list[int], work: Path) -> Iterator[Contender]:
    """Our output with each number of workers, and Fluent Bit's own, as far as it is possible."""
    for tls in _served(work):
        scheme = "https" if tls else "http"
        for number in workers:
            label = f"kinesis, {scheme}" + (f", workers {number}" if number != 1 else "")
            variant = scheme if number == 1 else ""
            yield Contender(label, [binary()], "kinesis", {"workers": number}, tls, variant)
        for name, options in VARIANTS.items() if tls else ():
            variant = f"{scheme}, {name}"
            label = f"kinesis, {variant}"
            yield Contender(label, [binary()], "kinesis", {"workers": 1, **options}, tls, variant)
        command = _trusting(tls, work) if tls else _speaking_plainly()
        if command:
            label = f"kinesis_streams, {scheme}"
            yield Contender(label, command, "kinesis_streams", {"workers": 1}, tls)


def _served(work: Path) -> list[Certificate | None]:
    """What the sinks are to serve: plain HTTP, and HTTPS where it is possible."""
    obstacle = counting_sink.tls_obstacle()
    if obstacle:
        print(obstacle)
        return [None]
    return [None, counting_sink.make_certificate(work)]


def _speaking_plainly() -> list[str]:
    program = os.environ.get(PLAIN_VARIABLE)
    if program:
        return [program]
    print(
        f"kinesis_streams over plain HTTP is left out; {PLAIN_VARIABLE} does not name a Fluent Bit"
    )
    return []


def _trusting(tls: Certificate, work: Path) -> list[str]:
    """Start Fluent Bit where /etc/ssl/certs, the only place it looks at, holds our certificate."""
    trust = work / "trust"
    trust.mkdir()
    shutil.copy(tls.certificate, trust / "ca-bundle.crt")
    wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", MOUNT_TRUST, str(trust)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode == 0:
            return [*wrapper, binary()]
    print("kinesis_streams over TLS is left out: unshare cannot give it a certificate to trust")
    return []


def _starts(work: Path) -> list[str]:
    """Measure start and idle memory; return the targets missed."""
    empty = work / "empty.log"
    empty.touch()
    target = Contender("", [binary()], "kinesis", {"workers": 1}, None).output(9)
    ready: dict[str, list[float]] = {"null": [], "kinesis": []}
    cpu_s: dict[str, list[float]] = {"null": [], "kinesis": []}
    idle: dict[str, float] = {}
    for number in range(STARTS):
        for output in (NULL, target):
            name = str(output["name"])
            environ = loopback.environment(None)
            with FluentBit([binary()], output, empty, None, work, environ) as fluent_bit:
                ready[name].append(fluent_bit.wait_until_ready())
                if number == 0:
                    time.sleep(IDLE_S)
                    idle[name] = fluent_bit.resident_mib()
                status, taken_s = fluent_bit.end()
                cpu_s[name].append(taken_s)
                if status:
                    sys.exit(f"Fluent Bit ended with status {status}")
    init_s = statistics.median(ready["kinesis"]) - statistics.median(ready["null"])
    start_s = statistics.median(cpu_s["kinesis"]) - statistics.median(cpu_s["null"])
    above = idle["kinesis"] - idle["null"]
    print(f"ready after {init_s:.2f} s more than without the plugin (target {MAX_INIT_S:g} s)")
    print(f"start and end without a flush take {start_s:.2f} CPU seconds more")
    print(
        f"idle: {idle['kinesis']:.1f} MiB, {above:.1f} MiB above Fluent Bit's own "
        f"{idle['null']:.1f} MiB (target {MAX_IDLE_MIB:g} MiB)",
        flush=True,
    )
    missed = [f"Init takes {init_s:.2f} s"] if init_s > MAX_INIT_S else []
    return missed + ([f"{above:.1f} MiB idle"] if above > MAX_IDLE_MIB else [])


def _take_turns(
    log_files: Sequence[LogFile], contenders: Sequence[Contender], rounds: int, work: Path
) -> Runs:
    """Send the files in all ways, in turns; the runs by label, those without an output as null."""
    runs: Runs = {label: [] for label in ("null", *(one.label for one in contenders))}
    for _ in range(rounds):
        runs["null"].append(tuple(_run_null(log_file, work) for log_file in log_files))
        for contender in contenders:
            runs[contender.label].append(
                tuple(_run(log_file, contender, work) for log_file in log_files)
            )
    return runs


def _faults_of(
    runs: Runs, contenders: Sequence[Contender], log_files: Sequence[LogFile]
) -> list[str]:
    return [
        f"{contender.label}, {log_file.format.name}: {fault}"
        for contender in contenders
        for both in runs[contender.label]
        for run, log_file in zip(both, log_files, strict=True)
        for fault in _faults(run, contender, log_file)
    ]


def _report(runs: Runs, contenders: Sequence[Contender], log_files: Sequence[LogFile]) -> list[str]:
    """Print the table; return the targets that were missed."""
    small, large = log_files
    sizes = Sizes(small.gb, large.gb)
    costs = {one.label: Costs.of(runs[one.label], runs["null"], sizes) for one in contenders}
    rows = []
    missed: list[str] = []
    for contender in contenders:
        own = costs[contender.label]
        peer = costs.get(f"kinesis_streams, {contender.scheme}")
        if contender.name == "kinesis" and peer is not None:
            own = own.compared_with(peer)
            missed += _missed(contender, own, large.format.name)
        rows.append((contender.label, own))
    reading = Costs.of(runs["null"], None, sizes)
    print(f"\n{large.format.name}: {small.gb * 1000:.0f} and {large.gb * 1000:.0f} MB")
    print(table([("null", reading), *rows]), flush=True)
    return missed


def _missed(contender: Contender, costs: Costs, log_format: str) -> Iterator[str]:
    most = MAX_CPU_PART.get((log_format, contender.variant))
    name = f"{contender.label}, {log_format}"
    if most is not None and costs.cpu_part > most:
        yield f"{name}: {costs.cpu_part:.2f} of the CPU of kinesis_streams (target {most:g})"
    if contender.variant in ("http", "https") and costs.wall_part > MAX_WALL_PART:
        yield f"{name}: {costs.wall_part:.2f} of its time (target {MAX_WALL_PART:g})"


def _run_null(log_file: LogFile, work: Path) -> Run:
    size = log_file.path.stat().st_size
    environ = loopback.environment(None)
    parser = log_file.format.parser
    with FluentBit([binary()], NULL, log_file.path, parser, work, environ) as fluent_bit:
        fluent_bit.wait_until(lambda: fluent_bit.position_in(log_file.path) >= size)
        return _ended(fluent_bit, Totals(0, 0, 0, 0, 0))


def _run(log_file: LogFile, contender: Contender, work: Path, keep: Path | None = None) -> Run:
    environ = loopback.environment(contender.tls)
    parser = log_file.format.parser
    with CountingSink(contender.tls, keep=keep) as sink:
        output = contender.output(sink.port)
        with FluentBit(
            contender.command, output, log_file.path, parser, work, environ
        ) as fluent_bit:
            arrivals = Arriving(sink)
            if contender.aggregates:
                size = log_file.path.stat().st_size
                fluent_bit.wait_until(lambda: fluent_bit.position_in(log_file.path) >= size)
                fluent_bit.wait_until(arrivals.has_ended)
            else:
                fluent_bit.wait_until(lambda: arrivals.now().records >= log_file.n_lines)
            run = _ended(fluent_bit, sink.totals(), arrivals.changed_at)
    return run


class Arriving:
    """When the totals of a sink changed last, as far as it was asked."""

    def __init__(self, sink: CountingSink) -> None:
        self._sink = sink
        self._totals = sink.totals()
        self.changed_at = time.perf_counter()

    def now(self) -> Totals:
        """The totals."""
        totals = self._sink.totals()
        if totals.requests != self._totals.requests:
            self._totals, self.changed_at = totals, time.perf_counter()
        return totals

    def has_ended(self) -> bool:
        """Whether requests have arrived, and none for QUIET_S."""
        is_begun = self.now().requests > 0
        return is_begun and time.perf_counter() - self.changed_at > QUIET_S


def _ended(fluent_bit: FluentBit, sent: Totals, arrived_at: float | None = None) -> Run:
    wall_s = (arrived_at or time.perf_counter()) - fluent_bit.started_at
    peak_mib = fluent_bit.peak_mib()
    status, cpu_s = fluent_bit.end()
    return Run(status, wall_s, cpu_s, peak_mib, fluent_bit.log().decode(), sent)


def _verify(log_file: LogFile, contender: Contender, work: Path) -> list[str]:
    """Send the file once more and compare each record with its line; return what is wrong."""
    with tempfile.TemporaryDirectory(dir=work) as directory:
        keep = Path(directory)
        _run(log_file, contender, work, keep)
        arrivals = compare(log_file, keep)
    faults = list(arrivals.faults(log_file.n_lines))
    print(
        f"{contender.label}: {arrivals.n_records:,} records compared with their lines: "
        f"{', '.join(faults) or 'none missing, different or there twice'}",
        flush=True,
    )
    return [f"{contender.label}, {log_file.format.name}: {fault}" for fault in faults]


def _faults(run: Run, contender: Contender, log_file: LogFile) -> Iterator[str]:
    if run.status:
        yield f"Fluent Bit ended with status {run.status}"
    n_entries = run.sent.records if contender.aggregates else log_file.n_lines
    if (run.sent.records, run.sent.malformed) != (n_entries, 0):
        yield f"{run.sent} instead of {log_file.n_lines} records"
    if "[error]" in run.log:
        yield "the log has errors: " + run.log[run.log.index("[error]") :].splitlines()[0]
    if contender.name != "kinesis":
        return
    found = ACCOUNT.search(run.log)
    account = tuple(map(int, found.groups())) if found else None
    if account != (log_file.n_lines, log_file.n_lines):
        yield f"the plugin reports (read, delivered) {account} of {log_file.n_lines}"


def _machine() -> str:
    version = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{version.stdout.splitlines()[0]}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load average {load}"
    )


if __name__ == "__main__":
    sys.exit(main())
