"""A slow model of the record encoder on top of the msgpack package, as simple as possible.

It computes the outcome of each event of a chunk, and the batches of records. It shares no code with
the compiled encoder, so that the tests can compare the two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from oracle_reader import Event, read_events
from oracle_text import (
    Ext,
    Pairs,
    Skipped,
    Unwritable,
    format_time,
    is_group_marker,
    scalar_text,
    seconds_and_nanoseconds,
    text_of,
    to_json,
)

TRUNCATION_SUFFIX: Final = b"[Truncated...]"
MIB: Final = 1024 * 1024
MAX_RECORDS: Final = 500
RANDOM_KEY_LENGTH: Final = 8


class Shaping(Protocol):
    """The options of OutputConfig that shape a record."""

    @property
    def partition_key(self) -> tuple[str, ...]: ...
    @property
    def data_keys(self) -> tuple[str, ...]: ...
    @property
    def log_key(self) -> str | None: ...
    @property
    def replace_dots(self) -> str | None: ...
    @property
    def append_newline(self) -> bool: ...
    @property
    def time_key(self) -> str | None: ...
    @property
    def time_key_format(self) -> str: ...
    @property
    def time_zone(self) -> str: ...
    @property
    def max_record_size(self) -> int: ...


@dataclass(frozen=True)
class Outcome:
    """The outcome of one event: a record, a group marker, or a skipped record."""

    event: int  # index in the chunk, from 0
    offset: int  # where the event starts in the chunk
    end: int  # where it ends; for a malformed tail, the end of the chunk
    counter: str = "records"  # "records", "group_markers", "skipped_..."
    data: bytes = b""
    partition_key: str | None = None  # None: a random one
    truncated: int = 0
    bad_times: int = 0
    nan_values: int = 0
    random_keys: int = 0  # 1: partition_key is set, but this record has no such key
    no_data_keys: int = 0  # 1: data_keys are set, but this record has none of them

    @property
    def is_record(self) -> bool:
        """Return whether the event became a record that is sent."""
        return self.counter == "records"

    @property
    def has_random_key(self) -> bool:
        """Return whether the record has no partition key of its own."""
        return self.partition_key is None

    @property
    def n_bytes(self) -> int:
        """Return the bytes of data and partition key, which count against the limits."""
        key = self.partition_key
        return len(self.data) + (RANDOM_KEY_LENGTH if key is None else len(key.encode()))


def outcomes(chunk: bytes, config: Shaping, now_s: int = 0) -> list[Outcome]:
    """Return the outcome of each event; now_s replaces unusable times."""
    return [
        outcome(Outcome(i, event.offset, event.end), event, config, now_s)
        for i, event in enumerate(read_events(chunk))
    ]


def outcome(start: Outcome, event: Event, config: Shaping, now_s: int) -> Outcome:
    """Return the outcome of one event."""
    if event.is_malformed:
        return replace(start, counter="skipped_malformed")
    if is_group_marker(event.moment):
        return replace(start, counter="group_markers")
    try:
        return record(start, event.moment, event.body, config, now_s)
    except Skipped as reason:
        return replace(start, counter=str(reason))


def record(start: Outcome, moment: Any, body: Any, config: Shaping, now_s: int) -> Outcome:
    """Return the record of one event."""
    if not isinstance(body, Pairs):
        raise Skipped("skipped_not_map")
    counts: Counter[str] = Counter()
    body = with_time(body, moment, config, now_s, counts)
    key = partition_key(body, config.partition_key)
    if config.partition_key and key is None:
        counts["random_keys"] = 1
    data = shape(body, config, counts) + (b"\n" if config.append_newline else b"")
    whole = replace(start, data=data, partition_key=key)
    if whole.n_bytes > config.max_record_size:
        counts["truncated"] = 1
        excess = whole.n_bytes - config.max_record_size
        whole = replace(whole, data=truncate(data, len(data) - excess, config.append_newline))
    return replace(
        whole,
        truncated=counts["truncated"],
        bad_times=counts["bad_times"],
        nan_values=counts["nan_values"],
        random_keys=counts["random_keys"],
        no_data_keys=counts["no_data_keys"],
    )


def with_time(body: Pairs, moment: Any, config: Shaping, now_s: int, counts: Counter[str]) -> Pairs:
    """Return the body without the fields of the time key, and with the time at the end."""
    if config.time_key is None:
        return body
    parts = seconds_and_nanoseconds(moment)
    if parts is None:
        counts["bad_times"] = 1
        parts = now_s, 0
    key = config.time_key.encode()
    text = format_time(config.time_key_format, *parts, config.time_zone)
    return Pairs([pair for pair in body if pair[0] != key] + [(key, text.encode())])


def last(body: Any, key: bytes) -> Any:
    """Return the value of the last occurrence of a key, or None without such a key or map."""
    values = [v for k, v in body if k == key] if isinstance(body, Pairs) else []
    return values[-1] if values else None


def partition_key(body: Pairs, path: Sequence[str]) -> str | None:
    """Return the record's own partition key, or None."""
    value: Any = body if path else None
    for name in path:
        value = last(value, name.encode())
    if value is None or isinstance(value, list | Ext | Unwritable):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return cut_key(scalar_text(value)) or None


def cut_key(text: str) -> str:
    """Return the first 256 UTF-16 units of a text, without splitting a surrogate pair."""
    return text.encode("utf-16-le")[: 256 * 2].decode("utf-16-le", "ignore")


def shape(body: Pairs, config: Shaping, counts: Counter[str]) -> bytes:
    """Return the data of a record, without the newline."""
    dot = config.replace_dots
    if config.data_keys:
        kept = {name.encode() for name in (*config.data_keys, config.time_key) if name is not None}
        body = Pairs(pair for pair in body if isinstance(pair[0], bytes) and pair[0] in kept)
        counts["no_data_keys"] = config.log_key is None and len(body) == (
            config.time_key is not None
        )
    if config.log_key is None:
        return to_json(body, dot, counts).encode()
    named = [
        (key if dot is None else key.replace(b".", dot.encode()), value)
        for key, value in body
        if isinstance(key, bytes)
    ]
    values = [value for key, value in named if key == config.log_key.encode()]
    if not values:
        raise Skipped("skipped_no_log_key")
    value = values[-1]
    return value if isinstance(value, bytes) else to_json(value, dot, counts).encode()


def truncate(data: bytes, n_bytes: int, newline: bool) -> bytes:
    """Return data cut between characters, so that with suffix and newline it fits n_bytes."""
    ending = TRUNCATION_SUFFIX + (b"\n" if newline else b"")
    cut = n_bytes - len(ending)
    for start in range(max(cut - 3, 0), cut):
        for width in (2, 3, 4):
            if start + width > cut and is_one_character(data[start : start + width]):
                return data[:start] + ending
    return data[:cut] + ending


def is_one_character(raw: bytes) -> bool:
    """Return whether bytes are exactly one character."""
    text = text_of(raw)
    return len(text) == 1 and text.encode() == raw


# --- derived from the outcomes ------------------------------------------------------------------


def tally(events: Iterable[Outcome]) -> Counter[str]:
    """Return the counters of Tally that are not 0, without malformed_at."""
    counts: Counter[str] = Counter()
    for event in events:
        counts[event.counter] += 1
        counts["truncated"] += event.truncated
        counts["bad_times"] += event.bad_times
        counts["nan_values"] += event.nan_values
        counts["random_keys"] += event.random_keys
        counts["no_data_keys"] += event.no_data_keys
    return +counts


def n_records(events: Iterable[Outcome]) -> int:
    """Return the expected RecordEncoder.count(): everything except group markers."""
    return sum(event.counter != "group_markers" for event in events)


def batches(events: Iterable[Outcome], config: Shaping) -> list[list[Outcome]]:
    """Return the records per request; each request is as full as the limits allow."""
    limit = 5 * MIB if config.max_record_size <= MIB else 10 * MIB
    result: list[list[Outcome]] = []
    n_bytes = 0
    for event in events:
        if not event.is_record:
            continue
        if not result or len(result[-1]) == MAX_RECORDS or n_bytes + event.n_bytes > limit:
            result.append([])
            n_bytes = 0
        result[-1].append(event)
        n_bytes += event.n_bytes
    return result
