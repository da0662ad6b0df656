"""Decodes the results of the compiled encoder, so that tests can compare them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from typing import Any, Final, NamedTuple

from chunks import output_config
from oracle import Outcome, batches, outcomes, tally
from oracle_entries import check_sent, expected_tally, is_packed, sent_of, uncut_outcomes

from kinesis_fast import OutputConfig, RecordEncoder
from kinesis_fast._core.request import Request
from kinesis_fast._core.request_stream import RequestStream

NOW_S: Final = 1_795_000_000  # 2026-11-18T11:06:40Z


class Entry(NamedTuple):
    """One entry of a request."""

    event: int
    data: bytes
    partition_key: str


class Drained(NamedTuple):
    """All results of one chunk."""

    requests: list[list[Entry]]
    tally: Counter[str]  # the encoder's counters that are not 0, without malformed_at
    malformed_at: int

    @property
    def entries(self) -> list[Entry]:
        """Return the entries of all requests."""
        return [entry for request in self.requests for entry in request]


def requests_of(chunk: Any, config: OutputConfig, now_s: int = NOW_S) -> RequestStream:
    """Return the requests of a chunk; now_s is the time of events that have none.

    Clock and random seed are arguments of the compiled encoder, so results are reproducible.
    """
    return RecordEncoder(config)._core.requests(chunk, now_ns=now_s * 10**9, seed=0)


def drain(chunk: Any, config: OutputConfig) -> Drained:
    """Encode a whole chunk."""
    stream = requests_of(chunk, config)
    requests = [entries_of(request) for request in stream]
    tally = stream.take_tally()._asdict()
    malformed_at = tally.pop("malformed_at")
    return Drained(requests, +Counter(tally), malformed_at)


def data_of(chunk: Any, **options: str) -> list[bytes]:
    """Encode a whole chunk and return the data of its records."""
    return [entry.data for entry in drain(chunk, output_config(options)).entries]


def entries_of(request: Request) -> list[Entry]:
    """Decode the body of a request."""
    return [
        Entry(request.events_of(i)[0][0], b64decode(entry["Data"]), entry["PartitionKey"])
        for i, entry in enumerate(json.loads(bytes(request.body))["Records"])
    ]


def assert_as_oracle(chunk: bytes, config: OutputConfig) -> list[Outcome]:
    """Assert that encoder and oracle return the same results for a chunk."""
    if is_packed(config):
        return assert_packed_as_oracle(chunk, config)
    events = outcomes(chunk, config, NOW_S)
    drained = drain(chunk, config)
    expected = [
        [Entry(e.event, e.data, e.partition_key or "random") for e in batch]
        for batch in batches(events, config)
    ]
    found = [
        [
            entry._replace(partition_key="random") if events[entry.event].has_random_key else entry
            for entry in request
        ]
        for request in drained.requests
    ]
    assert found == expected
    assert drained.tally == tally(events)
    malformed = [event.offset for event in events if event.counter == "skipped_malformed"]
    assert drained.malformed_at == (malformed[0] if malformed else -1)
    return events


def assert_packed_as_oracle(chunk: bytes, config: OutputConfig) -> list[Outcome]:
    """Assert the same for an output that aggregates or compresses."""
    events = uncut_outcomes(chunk, config, NOW_S)
    stream = requests_of(chunk, config)
    sent = [entry for request in stream for entry in sent_of(request)]
    n_cut = check_sent(sent, [event for event in events if event.is_record], config)
    found = stream.take_tally()._asdict()
    malformed = [event.offset for event in events if event.counter == "skipped_malformed"]
    assert found.pop("malformed_at") == (malformed[0] if malformed else -1)
    assert +Counter(found) == expected_tally(events, n_cut)
    packing = stream.take_packing()
    assert packing.entries == len(sent)
    assert packing.aggregates == sum(len(entry.events) > 1 for entry in sent)
    assert packing.entry_bytes == sum(entry.n_bytes for entry in sent)
    return events
