"""Compares the encoder's results with the oracle's; raises AssertionError where they differ."""

from __future__ import annotations

import json
from collections.abc import Sequence

from encoded import Entry
from invariants import SUFFIX, n_read
from oracle import Outcome, n_records, tally
from oracle_reader import read_events
from oracle_text import seconds_and_nanoseconds

from kinesis_fast import OutputConfig
from kinesis_fast._core.request_stream import RequestStream
from kinesis_fast._core.tally import Tally


def check_entries(
    entries: Sequence[Entry], wanted: Sequence[Outcome], config: OutputConfig
) -> None:
    """Check the records of a chunk in the order of its events."""
    records = [event for event in wanted if event.is_record]
    assert [entry.event for entry in entries] == [event.event for event in records]
    for entry, record in zip(entries, records, strict=True):
        check_entry(entry, record, config)


def check_entry(entry: Entry, record: Outcome, config: OutputConfig) -> None:
    """Check one record, and that it can be parsed."""
    assert entry.data == record.data
    if record.has_random_key:
        assert len(entry.partition_key) == 8 and entry.partition_key.isalnum()
    else:
        assert entry.partition_key == record.partition_key
    if config.append_newline:
        assert entry.data.endswith(b"\n")
    if record.truncated:
        assert entry.data.removesuffix(b"\n").endswith(SUFFIX)
    elif config.log_key is None:
        assert isinstance(json.loads(entry.data), dict)


def check_tally(
    found: Tally, wanted: Sequence[Outcome], events: Sequence[Outcome], n_settled: int
) -> None:
    """Check the counters at the end of a chunk; `wanted` are the events that were not settled."""
    expected = tally(wanted)
    # A group marker counts whether or not it is settled.
    expected["group_markers"] = sum(event.counter == "group_markers" for event in events)
    expected["resumed"] = n_settled
    counters = found._asdict()
    malformed_at = counters.pop("malformed_at")
    assert {name: n for name, n in counters.items() if n} == +expected
    assert malformed_at == (events[-1].offset if found.skipped_malformed else -1)
    assert n_records(events) == n_read(found)


def check_counts(n_counted: int, stream: RequestStream, whole: Tally) -> None:
    """Check the counts without encoding and after one request."""
    assert n_counted == n_read(whole)
    next(stream, None)
    so_far = n_read(stream.take_tally())
    n_rest = stream.count_rest()
    assert so_far + n_rest == n_read(whole)
    assert list(stream) == []


def check_skipped(
    found: Sequence[tuple[str, int, int, int]], chunk: bytes, wanted: Sequence[Outcome]
) -> None:
    """Check the reported skipped events: reason, place in the chunk and time."""
    times = {event.offset: event.moment for event in read_events(chunk)}
    skipped = [event for event in wanted if event.counter.startswith("skipped_")]
    assert found == [
        (event.counter, event.offset, event.end, nanoseconds(times[event.offset]))
        for event in skipped
    ]


def nanoseconds(moment: object) -> int:
    """Return the time of an event in nanoseconds, or -1 if it has none."""
    parts = seconds_and_nanoseconds(moment)
    return -1 if parts is None else parts[0] * 10**9 + parts[1]
