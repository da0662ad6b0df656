"""How fast kinesis_fast is on this machine, compared with plain Python.

    python benchmarks/run.py              some minutes
    python benchmarks/run.py --short      about a minute
    python benchmarks/run.py --check      exit status 1 when a speed target is missed
    python benchmarks/run.py --readme     puts the figures into README.md and docs/bench.svg

The figures are also written as JSON, to build/bench/results.json or where --json says.

How to read it. The first table is the time from a chunk to finished PutRecords bodies: all requests
of `encoder.requests(chunk)`, each released, against msgpack + json + base64 + the JSON of the body,
batched at the same 500 records and 5 MiB, and the same with orjson in place of json and with
msgspec in place of both. Before anything is timed, the records of all contenders are compared.
"plain" is a record as it is, with a random partition key; "shaped" has data_keys, replace_dots,
append_newline, a time key with milliseconds and a partition key from the record. MB/s are 10^6
bytes of msgpack per second; memcpy is the speed of copying the chunk, for orientation; "of sha256"
is what part of the time it takes to hash the finished bodies, which signing a request needs.
"faster" is the quotient of two samples of the same round. All figures are medians, in brackets
stand the smallest and the largest sample. One thread, CPU time, so that a busy machine spoils
little; even so compare ratios, not the MB/s of different runs. The line "noise" says how steady the
machine was.

The second table is `KinesisOutput.flush` with a transport that responds from memory. The third is
whole flushes into a server on loopback (benchmarks/sink), which counts what arrives: requests,
records and bytes in it are the server's, and were compared with what was flushed. CPU is that of
this process; "less CPU" and "sooner" are against plain boto3, which is msgpack + json and
`client.put_records(Records=[...])`. The fourth is what aggregation and compression cost and save:
"s/GB" are CPU seconds per 10^9 bytes of records, of encoding alone or of a whole flush, "part" is
the quotient of CPU times to the way it names. The fifth is what a second thread brings, by the
clock.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import compare_encode
import compare_flush
import compare_packing
import compare_send
import compare_threads
import counting_sink
import readme
import table
from baselines import baselines
from results import Results
from timing import Effort, Series
from workloads import Workload, all_workloads

FULL = Effort(rounds=11, sample_s=0.03)
SHORT = Effort(rounds=5, sample_s=0.01)
SEND_FULL, SEND_SHORT = Effort(rounds=11, sample_s=0.03), Effort(rounds=5, sample_s=0.01)
LATENT_FULL, LATENT_SHORT = Effort(rounds=3, sample_s=0.01), Effort(rounds=1, sample_s=0.01)
PACKING_FULL, PACKING_SHORT = Effort(rounds=11, sample_s=0.03), Effort(rounds=3, sample_s=0.01)
CODECS_FULL, CODECS_SHORT = Effort(rounds=3, sample_s=0.01), Effort(rounds=1, sample_s=0.01)
THREADS_FULL, THREADS_SHORT = 11, 5  # rounds
OPTIONAL = ("orjson", "msgspec")


def main(arguments: list[str] | None = None) -> int:
    """Run all benchmarks; the return value is the exit status."""
    options = _parser().parse_args(arguments)
    print(_machine(), flush=True)
    for text in _left_out():
        print(text, flush=True)
    results = _measure(options.short)
    print("\n" + table.noise_line(_all_series(results)))
    values = results.write(options.json)
    if options.readme:
        readme.rewrite(values)
    missed = results.missed
    print("\n  ".join(["targets missed:", *missed]) if missed else "targets: all reached")
    return 1 if missed and options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure kinesis_fast against plain Python.")
    parser.add_argument("--short", action="store_true", help="few rounds, about a minute")
    parser.add_argument("--check", action="store_true", help="exit status 1 for a missed target")
    parser.add_argument("--readme", action="store_true", help="put the figures into the README")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=counting_sink.BUILT / "results.json",
        help="where to write the figures",
    )
    return parser


def _measure(short: bool) -> Results:
    workloads = all_workloads()
    effort = SHORT if short else FULL
    encoded = _encode(workloads, effort)
    print("\nchunk to finished request bodies\n" + table.encode_table(encoded), flush=True)
    flushed = compare_flush.measure_all_memory(workloads, effort)
    print("\nKinesisOutput.flush into memory\n" + table.memory_table(flushed), flush=True)
    sent = compare_send.measure(
        SEND_SHORT if short else SEND_FULL, LATENT_SHORT if short else LATENT_FULL
    )
    print("\nKinesisOutput.flush to a server on loopback\n" + table.send_table(sent), flush=True)
    packing = compare_packing.measure(
        PACKING_SHORT if short else PACKING_FULL, CODECS_SHORT if short else CODECS_FULL
    )
    print("\naggregation and compression\n" + table.packing_table(packing), flush=True)
    threads = compare_threads.measure(THREADS_SHORT if short else THREADS_FULL)
    print("\none thread and two\n" + table.thread_table(threads), flush=True)
    return Results(_machine(), encoded, flushed, sent, packing, threads)


def _encode(workloads: list[Workload], effort: Effort) -> list[compare_encode.EncodeResult]:
    return [
        compare_encode.measure(workload, shaped=shaped, effort=effort)
        for shaped in (False, True)
        for workload in workloads
    ]


def _left_out() -> Iterator[str]:
    """What cannot be measured here, and how to change that."""
    for name in OPTIONAL:
        if name not in baselines():
            yield f"{name} is left out: pip install {name}"
    obstacle = counting_sink.tls_obstacle()
    if obstacle:
        yield obstacle


def _machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {_processor()}, "
        f"{os.cpu_count()} cores, load average {load}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _all_series(results: Results) -> list[Series]:
    """The series that do not wait for responses."""
    return [series for result in results.encode for series in result.series.values()]


if __name__ == "__main__":
    sys.exit(main())
