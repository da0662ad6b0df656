"""Make the demo's samples: slices of captured chunks, and the records a stream should hold of them.

The expected records come from what the Go plugin made of the same chunks (tests/data/golden) and
from the differences listed below. The encoder of this package is not used.

    python tools/make_samples.py [DIRECTORY]      # default: kinesis_fast/samples
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

ROOT = Path(__file__).resolve().parent.parent
CHUNKS = ROOT / "tests" / "data" / "chunks"
GOLDEN = ROOT / "tests" / "data" / "golden"
SAMPLES = ROOT / "kinesis_fast" / "samples"

MAX_KEY_UNITS = 256  # UTF-16 units of a partition key


class Sample(NamedTuple):
    """A slice of a captured chunk, and the golden files that say what becomes of it."""

    name: str
    chunk: str
    n_records: int
    options: dict[str, str]
    data_from: str  # golden configuration that shapes the data as the options do, bar the newline
    key_path: tuple[str, ...]  # what partition_key names; () = random keys
    keys_from: str | None  # golden configuration with that partition_key


SAMPLES_TO_MAKE = (
    Sample(
        name="access",
        chunk="access_1",
        n_records=398,
        options={
            "append_newline": "true",
            "partition_key": "host",
            "time_key": "time",
            "time_key_format": "%Y-%m-%dT%H:%M:%S.%L%z",
        },
        data_from="timekey_L",
        key_path=("host",),
        keys_from="pk_host",
    ),
    Sample(
        name="kubernetes",
        chunk="k8s_1",
        n_records=200,
        options={
            "append_newline": "true",
            "partition_key": "kubernetes->pod_name",
            "replace_dots": "-",
        },
        data_from="dots",
        key_path=("kubernetes", "pod_name"),
        keys_from="pk_k8s",
    ),
    Sample(
        name="typed",
        chunk="typed_0",
        n_records=300,
        options={
            "append_newline": "true",
            "time_key": "time",
            "time_key_format": "%Y-%m-%dT%H:%M:%S.%fZ",
        },
        data_from="timekey_f",
        key_path=(),
        keys_from=None,
    ),
    Sample(
        name="odd",
        chunk="fwd_weird_0",
        n_records=52,
        options={"append_newline": "true", "partition_key": "pk"},
        data_from="pk_pk",
        key_path=("pk",),
        keys_from="pk_pk",
    ),
)

# Where this package writes something else than the Go plugin, which panics at a nil key, loses
# records with NaN or infinity, and writes its own struct for an unknown ext type.
DIFFERENT_DATA = {
    ("fwd_weird_0", 5): '{"null":"v","s":1}',
    ("fwd_weird_0", 6): '{"nan":null,"ok":1}',
    ("fwd_weird_0", 7): '{"inf":null,"ok":1}',
    ("fwd_weird_0", 8): '{"a":[1,{"b":null}],"ok":1}',
    ("fwd_weird_0", 11): '{"e":{"type":5,"data":"YWJj"},"ok":1}',
}
# Keys the Go plugin cuts in the middle of a character, takes for none (a number) or leaves as
# invalid UTF-8.
DIFFERENT_KEYS = {("fwd_weird_0", 26), ("fwd_weird_0", 28), ("fwd_weird_0", 33)}


def read_golden(chunk: str, config: str) -> list[dict[str, Any]]:
    """Return the lines of a golden file that stand for records."""
    with gzip.open(GOLDEN / f"{chunk}.{config}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [entry for entry in map(json.loads, lines) if "i" in entry]


def slice_of(sample: Sample) -> bytes:
    """Return the first events of the sample's chunk, cut at an event boundary."""
    chunk = (CHUNKS / f"{sample.chunk}.msgpack").read_bytes()
    unpacker = msgpack.Unpacker()
    unpacker.feed(chunk)
    for _ in range(sample.n_records):
        unpacker.skip()
    return chunk[: unpacker.tell()]


def expected_data(sample: Sample, golden: dict[str, Any]) -> str:
    """Return the data of a record as the stream should hold it; the order of keys may differ."""
    different = DIFFERENT_DATA.get((sample.chunk, golden["i"]))
    if different is not None:
        return different + "\n"
    if "data" not in golden:
        raise ValueError(f"{sample.name}: the Go plugin made nothing of record {golden['i']}")
    return base64.b64decode(golden["data"]).decode() + "\n"


def expected_key(sample: Sample, data: str, golden: dict[str, Any]) -> str | None:
    """Return the partition key of a record (None: random), checked against the golden file's."""
    value: Any = json.loads(data)
    for name in sample.key_path:
        value = value.get(name) if isinstance(value, dict) else None
    key = text_of_key(value) if sample.key_path else None
    in_golden = base64.b64decode(golden["pk"]) if "pk" in golden else None
    is_different = (sample.chunk, golden["i"]) in DIFFERENT_KEYS
    if (in_golden == (key.encode() if key else None)) == is_different:
        raise ValueError(f"{sample.name}: key of record {golden['i']}: {key!r}, not {in_golden!r}")
    return key


def text_of_key(value: Any) -> str | None:
    """Return the partition key that a value makes, None when it makes none."""
    if isinstance(value, (dict, list)) or value is None or value == "":
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-16-le")[: 2 * MAX_KEY_UNITS].decode("utf-16-le", "ignore")


def expected_lines(sample: Sample) -> Iterator[str]:
    """Yield one JSON line for each record the stream should hold."""
    shaped = read_golden(sample.chunk, sample.data_from)[: sample.n_records]
    keyed = read_golden(sample.chunk, sample.keys_from) if sample.keys_from else shaped
    for data_entry, key_entry in zip(shaped, keyed, strict=False):
        data = expected_data(sample, data_entry)
        key = expected_key(sample, data, key_entry)
        yield json.dumps({"partition_key": key, "data": data}, ensure_ascii=False)


def make(directory: Path) -> None:
    """Write every sample, and the list of them, into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES_TO_MAKE:
        lines = list(expected_lines(sample))
        if len(lines) != sample.n_records:
            raise ValueError(f"{sample.name}: {len(lines)} records, not {sample.n_records}")
        write_gzip(directory / f"{sample.name}.msgpack.gz", slice_of(sample))
        write_gzip(directory / f"{sample.name}.expected.jsonl.gz", "\n".join(lines).encode())
    index = [
        {"name": sample.name, "n_records": sample.n_records, "options": sample.options}
        for sample in SAMPLES_TO_MAKE
    ]
    (directory / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_gzip(path: Path, content: bytes) -> None:
    """Write compressed content without a time stamp, so that the same input gives the same file."""
    path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES)
