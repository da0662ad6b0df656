"""How fast kinesis_fast is, against what one would write in plain Python, on this machine, now.

    python benchmarks/run.py              some minutes
    python benchmarks/run.py --short      less than a minute
    python benchmarks/run.py --check      exit status 1 when a speed target is missed
    python benchmarks/run.py --json FILE  the same figures for machines

How to read it. The first table is the time from a chunk to finished PutRecords bodies: all requests
of `encoder.requests(chunk)`, each released, against msgpack + json (or orjson) + base64 + the JSON
of the body, batched at the same 500 records and 5 MiB. Before anything is timed, the records of all
contenders are compared. "plain" is a record as it is, with a random partition key; "shaped" has
data_keys, replace_dots, append_newline, a time key with milliseconds and a partition key from the
record. MB/s are 10^6 bytes of msgpack per second; memcpy is the speed of copying the chunk, for
orientation. "faster" is the quotient of two samples of the same round. All figures are medians, in
brackets stand the smallest and the largest sample. One thread, CPU time, so that a busy machine
spoils little; even so compare ratios, not the MB/s of different runs. The line "noise" says how
steady the machine was.

The second table is `KinesisOutput.flush` with a transport that answers from memory. The third is
CPU time of this process for a request of 500 records over HTTP to a server on loopback.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import compare_encode
import compare_flush
import table
from baselines import encoders
from timing import Effort, Series
from workloads import Workload, all_workloads

FULL = Effort(rounds=15, sample_s=0.05)
SHORT = Effort(rounds=5, sample_s=0.01)


def main(arguments: list[str] | None = None) -> int:
    """Run all benchmarks; the return value is the exit status."""
    options = _parser().parse_args(arguments)
    effort = SHORT if options.short else FULL
    workloads = all_workloads()
    print(_machine(), flush=True)

    encoded = _encode(workloads, effort)
    print("\nchunk to finished request bodies\n" + table.encode_table(encoded), flush=True)
    flushed = compare_flush.measure_all_memory(workloads, effort)
    print("\nKinesisOutput.flush into memory\n" + table.memory_table(flushed), flush=True)
    sent = compare_flush.measure_http(effort)
    print("\none request over HTTP on loopback\n" + table.http_table(sent))

    print("\n" + table.noise_line(_all_series(encoded)))
    if options.json:
        _write_json(options.json, encoded, flushed, sent)
    missed = [result.workload.name for result in encoded if not result.reached]
    print(f"targets missed: {', '.join(missed)}" if missed else "targets: all reached")
    return 1 if missed and options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure kinesis_fast against plain Python.")
    parser.add_argument("--short", action="store_true", help="few rounds, less than a minute")
    parser.add_argument("--check", action="store_true", help="exit status 1 for a missed target")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return parser


def _encode(workloads: list[Workload], effort: Effort) -> list[compare_encode.EncodeResult]:
    return [
        compare_encode.measure(workload, shaped=shaped, effort=effort)
        for shaped in (False, True)
        for workload in workloads
    ]


def _machine() -> str:
    packages = "" if "orjson" in encoders() else "; no orjson here, its columns are missing"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {_processor()}, "
        f"{os.cpu_count()} cores, load average {load}{packages}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _all_series(results: list[compare_encode.EncodeResult]) -> list[Series]:
    return [series for result in results for series in result.series.values()]


def _write_json(
    path: Path,
    encoded: list[compare_encode.EncodeResult],
    flushed: list[compare_flush.MemoryRow],
    sent: list[compare_flush.HttpRow],
) -> None:
    values = {
        "machine": _machine(),
        "encode": [table.encode_values(result) for result in encoded],
        "flush_into_memory": [table.memory_values(row) for row in flushed],
        "http": [table.http_values(row) for row in sent],
    }
    path.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
