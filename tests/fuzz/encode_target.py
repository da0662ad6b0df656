"""Fuzz target: any bytes as a chunk, with any values of the options that shape records.

An input is N_HEAD bytes, each of which selects the value of one option or argument, then the chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Final, NamedTuple
from unittest.mock import patch

import packed_checks
import wire
from chunks import chunk_names, event, load_chunk, output_config
from encode_checks import check_counts, check_entries, check_skipped, check_tally
from encoded import NOW_S, Entry
from exact_memory import exact
from invariants import Limits, check_batches, check_request, check_retained, check_subset
from oracle import outcomes
from oracle_entries import check_sent, is_packed, uncut_outcomes
from oracle_reader import read_events

from kinesis_fast import OutputConfig, RecordEncoder
from kinesis_fast._core import kernels
from kinesis_fast._core.request_stream import RequestStream

OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "append_newline": ("", "true"),
    "data_keys": ("", "a,b", "log,pk,n", "a.b, k\ufffd ,time"),
    "log_key": ("", "log", "a_b", "a.b", "time", "_"),
    "partition_key": ("", "pk", "n", "time", "n->pk", "n->n->pk", "a.b"),
    "replace_dots": ("", "_", "-", "..", 'é"', "\\"),
    "time_key": ("", "time", "a.b", "pk"),
    "time_key_format": ("", "%s.%L|%f|%3N|%6N|%9N|%N|%%L", "%a %e %b %H:%M %z %Z"),
    "time_zone": ("", "utc"),
    "max_record_size": ("", "1024", "1500"),
}
AGGREGATIONS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"aggregation": "true"},
    {"aggregation": "true", "aggregation_max_size": "1024", "aggregation_buckets": "1"},
    {"aggregation": "true", "aggregation_buckets": "1024"},
    {"simple_aggregation": "true"},
    {"simple_aggregation": "true", "aggregation_max_size": "1024", "aggregation_buckets": "4"},
)
COMPRESSIONS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"compression": "gzip"},
    {"compression": "gzip", "compression_level": "0"},
    {"compression": "zlib", "compression_level": "1"},
    {"compression": "zstd"},
    {"compression": "snappy"},
)
MAX_REQUEST_BYTES: Final = (5 << 20, 1500, 4000)  # raised to the size of a record if smaller
MAX_LANES: Final = (1, 2, 32)
SETTLED: Final = (None, b"\x55", b"\xff\x00\x0f", b"\xfe" * 70)
LEVELS: Final = tuple(kernels.levels())
PACKINGS: Final = (AGGREGATIONS, COMPRESSIONS)
CHOICES: Final = (*OPTIONS.values(), *PACKINGS, MAX_REQUEST_BYTES, MAX_LANES, SETTLED, LEVELS)
N_PICKS: Final = tuple(map(len, CHOICES))
N_HEAD: Final = len(N_PICKS)
MAX_RESUMED_EVENTS: Final = 100  # longer chunks are not also encoded in two parts, for speed
SEED_BYTES: Final = 1500  # limit for a piece of a captured chunk; short inputs make a fuzzer fast


class Setup(NamedTuple):
    """An encoder, its configuration, and the arguments for its requests."""

    config: OutputConfig
    encoder: RecordEncoder
    limits: Limits
    max_lanes: int
    settled: bytes | None

    def requests(self, chunk: memoryview, settled: bytes | None = None) -> RequestStream:
        """Return the requests of a chunk, with a fixed clock and seed."""
        return self.encoder._core.requests(
            chunk,
            now_ns=NOW_S * 10**9,
            seed=0,
            max_lanes=self.max_lanes,
            settled=self.settled if settled is None else settled,
            keep_skipped=True,
        )

    def is_settled(self, number: int) -> bool:
        """Return whether an event is settled."""
        octet, bit = divmod(number, 8)
        bits = self.settled or b""
        return octet < len(bits) and bool(bits[octet] >> bit & 1)


def run(data: bytes) -> None:
    """Encode one input; raise AssertionError if anything in the result is wrong."""
    head = data[:N_HEAD].ljust(N_HEAD, b"\0")
    *picks, of_level = (byte % n for byte, n in zip(head, N_PICKS, strict=True))
    setup = setup_of(tuple(picks))
    kernels.use_level(LEVELS[-1 - of_level])
    chunk = data[N_HEAD:]
    with exact(chunk) as view:
        check(setup, chunk, view)


def seeds() -> Iterator[bytes]:
    """Yield initial inputs: complete events of the captured chunks, and forms that they lack."""
    for number, chunk in enumerate(seed_chunks()):
        yield bytes(N_HEAD) + chunk
        yield bytes(number % (i + 2) for i in range(N_HEAD)) + chunk
    every_lane = dict.fromkeys(OPTIONS, 0) | {"partition_key": 2}
    keyed = b"".join(b"\x92\x01\x81\xa1n" + bytes([i % 120]) for i in range(1010))
    yield bytes([*every_lane.values(), 0, 0, 0, 2, 0, 0]) + keyed


def seed_chunks() -> Iterator[bytes]:
    """Yield the chunks of the seeds."""
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


@cache
def setup_of(picks: tuple[int, ...]) -> Setup:
    """Return the setup for the selections, one for each of CHOICES except the level."""
    *of_options, of_aggregation, of_codec, of_size, of_lanes, of_settled = picks
    values = [choice[i] for choice, i in zip(OPTIONS.values(), of_options, strict=True)]
    options = dict(zip(OPTIONS, values, strict=True))
    config = output_config(options | AGGREGATIONS[of_aggregation] | COMPRESSIONS[of_codec])
    limits = Limits(config.max_record_size, max(MAX_REQUEST_BYTES[of_size], config.max_record_size))
    with patch("kinesis_fast.encoder.MAX_REQUEST_BYTES", limits.request):
        encoder = RecordEncoder(config)
    return Setup(config, encoder, limits, MAX_LANES[of_lanes], SETTLED[of_settled])


def check(setup: Setup, chunk: bytes, view: memoryview) -> None:
    """Check everything about one chunk; `view` holds the same bytes in other memory."""
    if is_packed(setup.config):
        check_packed(setup, chunk, view)
        return
    events = outcomes(chunk, setup.config, NOW_S)
    wanted = [event for event in events if not setup.is_settled(event.event)]
    n_settled = sum(
        setup.is_settled(event.event) and event.counter != "group_markers" for event in events
    )
    stream = setup.requests(view)
    entries = drained(stream, setup.limits)
    tally = stream.take_tally()
    check_entries(entries, wanted, setup.config)
    check_tally(tally, wanted, events, n_settled)
    check_skipped(stream.take_skipped(), chunk, wanted)
    assert stream.is_exhausted
    check_counts(setup.encoder.count(view), setup.requests(view), tally)
    if len(events) <= MAX_RESUMED_EVENTS:
        check_resumed(setup, view, len(events), entries)


def check_packed(setup: Setup, chunk: bytes, view: memoryview) -> None:
    """Check the same of an output that aggregates or compresses."""
    events = uncut_outcomes(chunk, setup.config, NOW_S)
    wanted = [event for event in events if not setup.is_settled(event.event)]
    n_settled = sum(
        setup.is_settled(event.event) and event.counter != "group_markers" for event in events
    )
    stream = setup.requests(view)
    sent = packed_checks.drained(stream, setup.limits)
    tally = stream.take_tally()
    n_cut = check_sent(sent, [event for event in wanted if event.is_record], setup.config)
    check_tally(tally._replace(truncated=tally.truncated - n_cut), wanted, events, n_settled)
    check_skipped(stream.take_skipped(), chunk, wanted)
    assert stream.is_exhausted
    check_counts(setup.encoder.count(view), setup.requests(view), tally)
    if len(events) <= MAX_RESUMED_EVENTS:
        check_packed_resumed(setup, view, {event for entry in sent for event in entry.events})


def check_packed_resumed(setup: Setup, view: memoryview, sent: set[int]) -> None:
    """Assert that a second stream sends exactly the records that the first left."""
    stream = setup.requests(view)
    bits = bytearray()
    for request in islice(stream, 1):
        request.mark_events(bits)
    taken = {i for i in range(8 * len(bits)) if bits[i >> 3] >> (i & 7) & 1}
    assert taken <= sent
    stream.mark_skipped(bits)
    stream.close()
    rest = packed_checks.drained(setup.requests(view, bytes(bits)), setup.limits)
    assert sorted(event for entry in rest for event in entry.events) == sorted(sent - taken)


def drained(stream: RequestStream, limits: Limits) -> list[Entry]:
    """Take all requests, and return their entries in the order of the chunk."""
    lanes: dict[int, list[list[Entry]]] = {}
    for request in stream:
        entries = check_request(request, limits)
        lanes.setdefault(request.lane, []).append(entries)
        everything = range(request.n_records)
        check_subset(request, everything)
        check_subset(request, everything[::-3])
        check_retained(request, everything[1::2] or everything, limits)
        request.release()
    lanes_of_key: Counter[str] = Counter()
    for requests in lanes.values():
        check_batches(requests, limits)
        lanes_of_key.update({e.partition_key for entries in requests for e in entries})
    assert len(lanes) <= stream.n_lanes
    assert max(lanes_of_key.values(), default=1) == 1, "a partition key in two lanes"
    return sorted(entry for requests in lanes.values() for r in requests for entry in r)


def check_resumed(setup: Setup, view: memoryview, n_events: int, entries: list[Entry]) -> None:
    """Assert that a second stream sends exactly what the first left after one request."""
    stream = setup.requests(view)
    first = next(stream, None)
    taken = set() if first is None else {first.events_of(i)[0][0] for i in range(first.n_records)}
    bits = bytearray()
    if first is not None:
        first.mark_events(bits)
    assert {i for i in range(8 * len(bits)) if bits[i >> 3] >> (i & 7) & 1} == taken
    stream.mark_skipped(bits)
    rest = drained(setup.requests(view, bytes(bits)), setup.limits)
    left = {e.event: e.data for e in entries if e.event not in taken}
    assert {e.event: e.data for e in rest} == left
