"""The cost of the plugin in a real Fluent Bit, and whether every record arrives.

    FLUENT_BIT=/path/to/fluent-bit python benchmarks/fluent_bit.py          some minutes
    ... python benchmarks/fluent_bit.py --megabytes 20 --rounds 1            a quick look
    ... python benchmarks/fluent_bit.py --workers 0 1 4                      more than one setting
    ... python benchmarks/fluent_bit.py --check       exit status 1 when something is wrong with
                                                      records, end, start or idle memory
    ... python benchmarks/fluent_bit.py --check-cpu   exit status 1 when it takes too much CPU

Two log files of numbered lines (the seed is fixed), one of raw lines and one of kubernetes records
in JSON, go through Fluent Bit's tail input and an output into a server on loopback that takes
everything and counts it (benchmarks/sink), over plain HTTP and over TLS. The outputs are `kinesis`,
which is this package, and `kinesis_streams`, Fluent Bit's own in C; `null`, which throws all away,
is the cost of reading alone. All take turns, `--rounds` times; the figures are medians. CPU is that
of the whole process, user and system, from its start to its end, per 10^9 bytes of the log file;
"net" is what is above `null`; "running" is that without what a start costs more than with `null`,
which a log file of any size pays once, and has the targets. Wall is from the start until the last
record has arrived. One more output is `kinesis` with `aggregation true`; where there is TLS, its
target is a part of what the same takes without.

In one more run of `kinesis` for each file the bodies are kept, and each record is compared with its
line. `kinesis_streams` has no plain HTTP; FLUENT_BIT_PLAIN may name a Fluent Bit in which it was
built to use it.

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
from fluent_bit_rows import Row, Run, table

ACCOUNT = re.compile(r"records: in=(\d+) delivered=(\d+)")
MAX_INIT_S, MAX_IDLE_MIB = 1.0, 60.0
# Net CPU seconds per GB: log format, "http" or "https" -> the most that `kinesis` may take.
MAX_CPU = {
    (RAW.name, "http"): 3.5,
    (KUBERNETES.name, "http"): 2.5,
    (RAW.name, "https"): 4.5,
    (KUBERNETES.name, "https"): 3.3,
}
AGGREGATION = {"aggregation": "true"}
MAX_CPU_PART = 0.65  # of raw lines over HTTPS with aggregation, of the same without
STARTS = 5
IDLE_S = 2.0
QUIET_S = 2.0  # many times Fluent Bit's flush interval: nothing more arrives
NULL: Options = {"name": "null"}
PLAIN_VARIABLE = "FLUENT_BIT_PLAIN"
Runs = dict[str, list[Run]]
MOUNT_TRUST = 'mount --bind "$0" /etc/ssl/certs && exec "$@"'


@dataclass(frozen=True)
class Contender:
    """An output and how it sends.

    command: what to start Fluent Bit with.
    tls: the certificate that it has to trust, None for plain HTTP.
    """

    label: str
    command: Sequence[str]
    name: str
    options: Options
    tls: Certificate | None

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
        start_s, faults = _starts(work)
        missed: list[str] = []
        contenders = list(_contenders(options.workers, work))
        for log_format in (RAW, KUBERNETES):
            log_file = write_log(work / "big.log", log_format, options.megabytes * 1_000_000)
            runs = _take_turns(log_file, contenders, options.rounds, work)
            faults += _faults_of(runs, contenders, log_file)
            missed += _report(runs, contenders, log_file, start_s)
            for contender in (contenders[0], next(one for one in contenders if one.aggregates)):
                faults += _verify(log_file, contender, work)
    print("\n  ".join(["faults:", *faults]) if faults else "faults: none")
    print("\n  ".join(["CPU targets missed:", *missed]) if missed else "CPU targets: all reached")
    return 1 if (faults and options.check) or (missed and options.check_cpu) else 0


def _memory() -> Path | None:
    """A directory in memory, if there is one: the tail input drops a file from the page cache."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the plugin inside a real Fluent Bit.")
    parser.add_argument("--megabytes", type=int, default=200, help="size of a log file")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each output")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="values to try")
    parser.add_argument("--check", action="store_true", help="exit status 1 for a fault")
    parser.add_argument("--check-cpu", action="store_true", help="exit status 1 for too much CPU")
    return parser


def _contenders(workers: list[int], work: Path) -> Iterator[Contender]:
    """Our output with each number of workers, and Fluent Bit's own, as far as it is possible."""
    for tls in _served(work):
        scheme = "TLS" if tls else "plain"
        for number in workers:
            label = f"kinesis, {scheme}, workers {number}"
            yield Contender(label, [binary()], "kinesis", {"workers": number}, tls)
        label = f"kinesis, {scheme}, aggregation"
        yield Contender(label, [binary()], "kinesis", {"workers": 1, **AGGREGATION}, tls)
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


def _starts(work: Path) -> tuple[float, list[str]]:
    """Measure start and idle memory.

    Returns:
        CPU seconds that a start and an end cost more than with `null`; the targets missed.
    """
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
    print(f"start and end take {start_s:.2f} CPU seconds more")
    print(
        f"idle: {idle['kinesis']:.1f} MiB, {above:.1f} MiB above Fluent Bit's own "
        f"{idle['null']:.1f} MiB (target {MAX_IDLE_MIB:g} MiB)",
        flush=True,
    )
    missed = [f"Init takes {init_s:.2f} s"] if init_s > MAX_INIT_S else []
    return start_s, missed + ([f"{above:.1f} MiB idle"] if above > MAX_IDLE_MIB else [])


def _take_turns(
    log_file: LogFile, contenders: Sequence[Contender], rounds: int, work: Path
) -> Runs:
    """Send the file in all ways, in turns; the runs by label, those without an output as null."""
    runs: Runs = {label: [] for label in ("null", *(one.label for one in contenders))}
    for _ in range(rounds):
        runs["null"].append(_run_null(log_file, work))
        for contender in contenders:
            runs[contender.label].append(_run(log_file, contender, work))
    return runs


def _faults_of(runs: Runs, contenders: Sequence[Contender], log_file: LogFile) -> list[str]:
    return [
        f"{contender.label}, {log_file.format.name}: {fault}"
        for contender in contenders
        for run in runs[contender.label]
        for fault in _faults(run, contender, log_file)
    ]


def _report(
    runs: Runs, contenders: Sequence[Contender], log_file: LogFile, start_s: float
) -> list[str]:
    """Print the table; return what was too slow."""
    null = Row.of("null", runs["null"], log_file.gb)
    rows = [null]
    missed: list[str] = []
    for contender in contenders:
        row = Row.of(contender.label, runs[contender.label], log_file.gb)
        rows.append(row.above(null, start_s / log_file.gb if contender.name == "kinesis" else 0))
        missed += _too_slow(contender, rows[-1], log_file)
    print(f"\n{log_file.format.name}: {log_file.gb * 1000:.1f} MB, {log_file.n_lines:,} lines")
    print(table(rows), flush=True)
    return missed + _part_of_aggregation(runs, contenders, log_file, start_s)


def _part_of_aggregation(
    runs: Runs, contenders: Sequence[Contender], log_file: LogFile, start_s: float
) -> list[str]:
    """Print what aggregation takes of the same without, round by round; return what is too much."""
    missed: list[str] = []
    for contender in contenders:
        if not contender.aggregates:
            continue
        other = contender.label.replace("aggregation", "workers 1")
        if other not in runs:
            continue
        rounds = zip(runs["null"], runs[contender.label], runs[other], strict=True)
        parts = [
            (run.cpu_s - null.cpu_s - start_s) / (plain.cpu_s - null.cpu_s - start_s)
            for null, run, plain in rounds
        ]
        part = statistics.median(parts)
        print(f"{contender.label}: {part:.2f} of the CPU without ({', '.join(map(_two, parts))})")
        if contender.tls and log_file.format is RAW and part > MAX_CPU_PART:
            missed.append(f"{contender.label}: {part:.2f} (target {MAX_CPU_PART:g})")
    return missed


def _two(value: float) -> str:
    return f"{value:.2f}"


def _too_slow(contender: Contender, row: Row, log_file: LogFile) -> list[str]:
    wanted = MAX_CPU[log_file.format.name, contender.scheme]
    if contender.name != "kinesis" or contender.aggregates or row.running <= wanted:
        return []
    name = f"{contender.label}, {log_file.format.name}"
    return [f"{name}: {row.running:.1f} CPU s/GB running (target {wanted:g})"]


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
                fluent_bit.wait_until(lambda: arrivals.quiet_s() > QUIET_S)
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

    def quiet_s(self) -> float:
        """Seconds since a request was seen to have arrived."""
        self.now()
        return time.perf_counter() - self.changed_at


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
