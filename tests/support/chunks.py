"""Chunks for the tests: captured ones, the Go plugin's results for them, and built ones."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from kinesis_fast import OutputConfig

DATA = Path(__file__).resolve().parent.parent / "data"
REQUIRED_OPTIONS = {"region": "us-east-1", "stream": "logs"}

# The options behind each golden file CHUNK.CONFIG.jsonl.gz.
TIMESTAMP_OPTIONS = {"time_key": "@timestamp", "time_key_format": "%Y|%L|%f|%z|%Z"}
GOLDEN_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "plain": {},
    "newline": {"append_newline": "true"},
    "datakeys": {"data_keys": "a,b,log,host,path,kubernetes"},
    "datakeys_space": {"data_keys": " a, b "},
    "pk_pk": {"partition_key": "pk"},
    "pk_host": {"partition_key": "host"},
    "pk_k8s": {"partition_key": "kubernetes->pod_name"},
    "pk_n_pk": {"partition_key": "n->pk"},
    "pk_n_m_pk": {"partition_key": "n->m->pk"},
    "timekey": {"time_key": "time"},
    "timekey_L": {"time_key": "time", "time_key_format": "%Y-%m-%dT%H:%M:%S.%L%z"},
    "timekey_f": {"time_key": "time", "time_key_format": "%Y-%m-%dT%H:%M:%S.%fZ"},
    "timekey_newline": {**TIMESTAMP_OPTIONS, "append_newline": "true"},
    "timekey_datakeys": {"time_key": "time", "data_keys": "a,b"},
    "timekey_pk": {"time_key": "time", "partition_key": "time"},
    "logkey": {"log_key": "log"},
    "logkey_nl": {"log_key": "log", "append_newline": "true"},
    "logkey_pk": {"log_key": "log", "partition_key": "pk"},
    "logkey_datakeys": {"log_key": "log", "data_keys": "a,b"},
    "logkey_gzip": {"log_key": "log", "compression": "gzip"},
    "dots": {"replace_dots": "-"},
    "dots_logkey": {"replace_dots": "_", "log_key": "a_b"},
    "gzip": {"compression": "gzip"},
    "zlib": {"compression": "zlib"},
}


class GoldenRow(NamedTuple):
    """The Go plugin's result for one event; data is None if the plugin lost the record."""

    data: bytes | None
    partition_key: bytes | None  # None: a random one
    lost: str  # "", "dropped" or the text of its panic
    time_source: str


class Golden(NamedTuple):
    """One golden file: the rows by event, and the number of events read (None: a panic)."""

    rows: list[GoldenRow]
    n_events: int | None


def output_config(options: Mapping[str, str] | None = None, **more: str) -> OutputConfig:
    """Return the configuration for some options; region and stream have defaults."""
    return OutputConfig.from_options({**REQUIRED_OPTIONS, **(options or {}), **more})


def chunk_names() -> list[str]:
    """Return the names of the captured chunks."""
    return sorted(path.stem for path in (DATA / "chunks").glob("*.msgpack"))


@cache
def load_chunk(name: str) -> bytes:
    """Return the bytes of a captured chunk."""
    return (DATA / "chunks" / f"{name}.msgpack").read_bytes()


def load_golden(name: str, config: str) -> Golden:
    """Return the Go plugin's results for a chunk with the options GOLDEN_OPTIONS[config]."""
    rows: list[GoldenRow] = []
    n_events = None
    with gzip.open(DATA / "golden" / f"{name}.{config}.jsonl.gz", "rt", encoding="ascii") as lines:
        for row in map(json.loads, lines):
            if "end" in row:
                n_events = row["end"]
            else:
                assert row["i"] == len(rows)
                rows.append(golden_row(row))
    return Golden(rows, n_events)


def golden_row(row: Mapping[str, Any]) -> GoldenRow:
    """Decode one line of a golden file; no captured record exceeds 64 KiB."""
    data = base64.b64decode(row["data"]) if "data" in row else None
    key = base64.b64decode(row["pk"]) if "pk" in row else None
    lost = "dropped" if "dropped" in row else row.get("panic", "")
    assert (data is None) == bool(lost)
    return GoldenRow(data, key, lost, row.get("ts_src", ""))


def event_time(seconds: int, nanoseconds: int = 0) -> msgpack.ExtType:
    """Return Fluent Bit's EventTime; negative seconds mark groups."""
    return msgpack.ExtType(
        0, seconds.to_bytes(4, "big", signed=seconds < 0) + nanoseconds.to_bytes(4, "big")
    )


def event(body: Any, moment: Any = 1_700_000_000, metadata: Any = None) -> bytes:
    """Return one event in the layout `[[time, metadata], body]`."""
    return pack([[moment, {} if metadata is None else metadata], body])


def old_event(body: Any, moment: Any = 1_700_000_000) -> bytes:
    """Return one event in the layout `[time, body]`."""
    return pack([moment, body])


def chunk_of(bodies: Iterable[Any]) -> bytes:
    """Return a chunk with an event for each body, as `event` makes it."""
    packer = msgpack.Packer(use_bin_type=True)
    return b"".join(packer.pack([[1_700_000_000, {}], body]) for body in bodies)


def pack(value: Any) -> bytes:
    """Return the shortest msgpack of a value; str becomes str, bytes becomes bin."""
    return bytes(msgpack.packb(value, use_bin_type=True))
