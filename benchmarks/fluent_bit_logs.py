"""Log files of numbered lines, and the comparison of what arrived with them."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesis_fast._core.cbor_answer import decode_cbor
from kinesis_fast.reading.records import seen_in

SEED = 20261123
LINE_BYTES = (80, 400)
PARSERS = [{"name": "json", "format": "json"}]


@dataclass(frozen=True)
class Format:
    """A kind of log file.

    write_line: makes a line of its number.
    parser: the parser that the input has, None for raw lines.
    number: finds the number of the line in a record.
    record: what a line has to become.
    """

    name: str
    write_line: Callable[[int, random.Random], str]
    parser: str | None
    number: Callable[[dict[str, Any]], int]
    record: Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class LogFile:
    """A log file that was written."""

    path: Path
    format: Format
    n_lines: int

    @property
    def gb(self) -> float:
        """10^9 bytes."""
        return self.path.stat().st_size / 1e9


@dataclass(frozen=True)
class Arrivals:
    """The records that arrived at the sink, compared with the log file."""

    n_records: int
    n_different: int
    n_missing: int
    n_repeated: int

    def faults(self, n_lines: int) -> Iterator[str]:
        """The faults that were found."""
        counts = {
            f"records instead of {n_lines}": self.n_records if self.n_records != n_lines else 0,
            "records that differ from their lines": self.n_different,
            "lines missing": self.n_missing,
            "lines more than once": self.n_repeated,
        }
        return (f"{count} {what}" for what, count in counts.items() if count)


def write_log(path: Path, log_format: Format, n_bytes: int) -> LogFile:
    """Write numbered lines until the file has so many bytes; the seed is fixed."""
    words = random.Random(SEED)
    n_lines = written = 0
    with path.open("w") as file:
        while written < n_bytes:
            written += file.write(log_format.write_line(n_lines, words) + "\n")
            n_lines += 1
    return LogFile(path, log_format, n_lines)


def compare(log_file: LogFile, keep: Path) -> Arrivals:
    """Compare each record that arrived with its line of the log file.

    keep: the directory in which the sink kept the bodies, a file per connection.
    """
    lines = log_file.path.read_text().splitlines()
    seen = bytearray(len(lines))
    n_records = n_different = 0
    for path in keep.iterdir():
        for data, key in _entries(path):
            for part in seen_in(data, key, "none", is_joined=False):
                record = json.loads(part.data)
                number = log_file.format.number(record)
                n_records += 1
                n_different += record != log_file.format.record(lines[number])
                seen[number] = min(seen[number] + 1, 2)
    return Arrivals(n_records, n_different, seen.count(0), seen.count(2))


def _entries(kept: Path) -> Iterator[tuple[bytes, str]]:
    """Yield data and partition key of each entry in the bodies that the sink kept in a file."""
    with kept.open("rb") as file:
        while n_bytes := file.readline():
            body = file.read(int(n_bytes) + 1)[:-1]
            is_json = body.startswith(b"{")
            for entry in (json.loads(body) if is_json else decode_cbor(body))["Records"]:
                data = base64.b64decode(entry["Data"]) if is_json else entry["Data"]
                yield data, entry["PartitionKey"]


def _raw_line(number: int, words: random.Random) -> str:
    filler = f"{words.getrandbits(64):016x} " * (words.randrange(*LINE_BYTES) // 17)
    return f"{number:09d} {filler}".rstrip()


def _kubernetes_line(number: int, words: random.Random) -> str:
    pod = f"checkout-{words.getrandbits(36):09x}-{words.getrandbits(20):05x}"
    record = {
        "log": f"GET /api/v1/orders/{words.randrange(10**6)}?page={number % 50} 200 "
        f'{words.randrange(1, 900)}ms "Mozilla/5.0 (X11; Linux x86_64)"',
        "stream": words.choice(("stdout", "stderr")),
        "number": number,
        "kubernetes": {
            "pod_name": pod,
            "namespace_name": "shop",
            "pod_id": f"{words.getrandbits(128):032x}",
            "labels": {"app.kubernetes.io/name": "checkout", "pod-template-hash": pod[9:18]},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "host": f"ip-10-0-{number % 4}-{number % 200}.internal",
            "container_name": "server",
            "docker_id": f"{words.getrandbits(256):064x}",
            "container_image": "registry.internal/shop/checkout:1.42.7",
        },
    }
    return json.dumps(record, separators=(",", ":"))


def _number_of_kubernetes(record: dict[str, Any]) -> int:
    return int(record["number"])


def _kubernetes_record(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    return record


RAW = Format(
    "raw lines",
    _raw_line,
    None,
    lambda record: int(record["log"].split(maxsplit=1)[0]),
    lambda line: {"log": line},
)
KUBERNETES = Format(
    "kubernetes JSON", _kubernetes_line, "json", _number_of_kubernetes, _kubernetes_record
)
