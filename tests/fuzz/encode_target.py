"""Fuzz target: any bytes as a chunk, with any of the options that shape records.

An input is N_OPTIONS bytes, each of which picks the value of one option, and then the chunk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple
from unittest.mock import patch

import wire
from chunks import chunk_names, event, load_chunk, output_config
from encoded import NOW_S, Entry
from exact_memory import exact
from invariants import SUFFIX, Limits, check_batches, check_request, check_subset, n_read
from oracle import Outcome, n_records, outcomes, tally
from oracle_reader import read_events

from kinesis_fast import OutputConfig, RecordEncoder
from kinesis_fast._core.encoder import RequestStream
from kinesis_fast._core.tally import Tally

OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "append_newline": ("false", "true"),
    "data_keys": ("", "a,b", "log,pk,n", "a.b, k\ufffd ,time"),
    "log_key": ("", "log", "a_b", "a.b", "time", "_"),
    "partition_key": ("", "pk", "n", "time", "n->pk", "n->n->pk", "a.b"),
    "replace_dots": ("", "_", "-", "..", 'é"', "\\"),
    "time_key": ("", "time", "a.b", "pk"),
    "time_key_format": ("", "%s.%L|%f|%3N|%6N|%9N|%N|%%L", "%a %e %b %H:%M %z %Z"),
    "max_record_size": ("", "1024", "1500"),
}
MAX_REQUEST_BYTES: Final = (5 << 20, 1500, 4000)  # each holds the largest record beside it
N_OPTIONS: Final = len(OPTIONS)
SEED_BYTES: Final = 1500  # of a captured chunk, at most; a fuzzer is fast with short inputs


class Setup(NamedTuple):
    """An encoder and what it was made of."""

    config: OutputConfig
    encoder: RecordEncoder
    limits: Limits

    def requests(self, chunk: memoryview) -> RequestStream:
        """Return the requests of a chunk; clock and seed are fixed."""
        return self.encoder._core.requests(chunk, now_ns=NOW_S * 10**9, seed=0)


def run(data: bytes) -> None:
    """Encode one input; AssertionError if anything about the result is wrong."""
    setup = setup_of(tuple(picks(data[:N_OPTIONS])))
    chunk = data[N_OPTIONS:]
    with exact(chunk) as view:
        check(setup, chunk, view)


def seeds() -> Iterator[bytes]:
    """Yield inputs to start from: pieces of the captured chunks, and what they lack."""
    for number, chunk in enumerate(seed_chunks()):
        yield bytes(N_OPTIONS) + chunk
        yield bytes(number % (i + 2) for i in range(N_OPTIONS)) + chunk


def seed_chunks() -> Iterator[bytes]:
    """Yield whole events of each captured chunk, and some built ones."""
    for name in chunk_names():
        chunk = load_chunk(name)
        ends = [e.end for e in read_events(chunk[: 8 * SEED_BYTES]) if e.end <= SEED_BYTES]
        yield chunk[: max(ends, default=SEED_BYTES)]
    yield b"\x92\x01\x80" * 501
    yield event({"log": "\x01" * 300, "a.b": 1.5, "n": {"n": {"pk": "é" * 300}, "pk": 7}}) * 2
    yield event({"pk": b"\xff" * 300, "time": None, "a_b": [-1, True], "b": "x" * 500}) * 4
    for depth in (127, 128):
        nested = wire.mapping([(wire.string(b"log"), b"\x91" * depth + wire.NIL)])
        yield wire.array([wire.array([b"\x01", wire.mapping([])]), nested])


def picks(header: bytes) -> Iterator[int]:
    """Yield which value each option takes; an option whose byte is missing takes its first."""
    for i, values in enumerate(OPTIONS.values()):
        last = i == N_OPTIONS - 1
        n_values = len(values) * len(MAX_REQUEST_BYTES) if last else len(values)
        yield header[i] % n_values if i < len(header) else 0


@cache
def setup_of(picked: tuple[int, ...]) -> Setup:
    """Return the encoder for the values that were picked; the last pick is that of both sizes."""
    chosen = {
        name: values[pick % len(values)]
        for (name, values), pick in zip(OPTIONS.items(), picked, strict=True)
    }
    config = output_config({name: value for name, value in chosen.items() if value})
    max_request = MAX_REQUEST_BYTES[picked[-1] // len(OPTIONS["max_record_size"])]
    limits = Limits(config.max_record_size, max(max_request, config.max_record_size))
    with patch("kinesis_fast.encoder.MAX_REQUEST_BYTES", limits.request):
        return Setup(config, RecordEncoder(config), limits)


def check(setup: Setup, chunk: bytes, view: memoryview) -> None:
    """Assert everything about one chunk, whose bytes also lie in `view`."""
    stream = setup.requests(view)
    requests: list[list[Entry]] = []
    for request in stream:
        requests.append(check_request(request, setup.limits))
        everything = range(request.n_records)
        check_subset(request, everything)
        check_subset(request, everything[::-3])
        request.release()
    found = stream.take_tally()
    check_batches(requests, setup.limits)
    check_counts(setup, chunk, view, found)
    check_against_oracle(setup, chunk, [e for batch in requests for e in batch], found)


def check_counts(setup: Setup, chunk: bytes, view: memoryview, found: Tally) -> None:
    """Assert that the counters add up, at the end of a chunk and after its first request."""
    assert n_read(found) == setup.encoder.count(view)
    assert (found.malformed_at >= 0) == (found.skipped_malformed == 1)
    assert found.malformed_at < max(len(chunk), 1)
    stream = setup.requests(view)
    next(stream, None)
    so_far = n_read(stream.take_tally())
    assert stream.count_rest() == n_read(found) - so_far
    assert list(stream) == []


def check_against_oracle(setup: Setup, chunk: bytes, entries: list[Entry], found: Tally) -> None:
    """Assert that the oracle makes the same records and counts the same."""
    events = outcomes(chunk, setup.config, NOW_S)
    records = [event for event in events if event.is_record]
    assert [entry.event for entry in entries] == [event.event for event in records]
    for entry, record in zip(entries, records, strict=True):
        check_record(setup, entry, record)
    counters = found._asdict()
    malformed_at = counters.pop("malformed_at")
    assert {name: n for name, n in counters.items() if n} == tally(events)
    assert malformed_at == (events[-1].offset if found.skipped_malformed else -1)
    assert n_records(events) == n_read(found)


def check_record(setup: Setup, entry: Entry, record: Outcome) -> None:
    """Assert that one record is what the oracle says, and what its reader can parse."""
    assert entry.data == record.data
    if record.has_random_key:
        assert len(entry.partition_key) == 8 and entry.partition_key.isalnum()
    else:
        assert entry.partition_key == record.partition_key
    if setup.config.append_newline:
        assert entry.data.endswith(b"\n")
    if record.truncated:
        assert entry.data.rstrip(b"\n").endswith(SUFFIX)
    elif setup.config.log_key is None:
        assert isinstance(json.loads(entry.data), dict)
