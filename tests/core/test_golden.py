"""The encoder's records of the captured chunks, compared with those of the Go plugin 1.10.2.

The tests compare parsed JSON (numbers by their text) and partition keys. DIFFERENCES lists all
intended differences. Each entry selects events and turns the plugin's result into the expected
one; everything else must be equal.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Final, NamedTuple

import pytest
from chunks import GOLDEN_OPTIONS, GoldenRow, chunk_names, load_chunk, load_golden, output_config
from compressed import INFLATE
from encoded import drain
from oracle import cut_key, last, outcomes
from oracle_reader import read_events
from oracle_text import (
    Pairs,
    format_time,
    is_group_marker,
    key_text,
    seconds_and_nanoseconds,
    text_of,
    to_json,
)
from parsed_json import everywhere, parsed, plain, undotted

from kinesis_fast import OutputConfig

ROWS_OF_LARGE_CHUNKS: Final = 200  # of chunks above 1 MB all files but "plain" hold no more
LARGE_CHUNK: Final = 1_000_000
SMALL_CHUNKS: Final = [name for name in chunk_names() if len(load_chunk(name)) < 100_000]
RANDOM_KEY: Final = re.compile("[a-zA-Z0-9]{8}")
PANIC: Final = "panic"


class Expected(NamedTuple):
    """A record: its data (parsed, or bytes with log_key) and its key (None: a random one)."""

    data: Any
    partition_key: str | None


class Case(NamedTuple):
    """One event that the plugin read, and the plugin's options."""

    options: Mapping[str, str]
    config: OutputConfig
    moment: Any
    body: Any
    row: GoldenRow

    @property
    def time_text(self) -> str:
        parts = seconds_and_nanoseconds(self.moment)
        assert parts is not None
        return format_time(self.config.time_key_format, *parts)

    @property
    def plugin_used_now(self) -> bool:
        return self.row.time_source.startswith("now(")


Change = Callable[[Case, Any], Any]


# --- the differences ----------------------------------------------------------------------------


def remade(case: Case) -> Expected:
    """Return the expected record of an event that the plugin lost."""
    body = case.body
    if case.config.data_keys:
        body = Pairs(pair for pair in body if pair[0] in names(case.config))
    data = plain(body)
    if case.config.time_key:
        data[case.config.time_key] = case.time_text
    return Expected(data, case.time_text if case.config.partition_key == ("time",) else None)


def nil_key(case: Case, expected: Any) -> Any:
    if expected is PANIC and isinstance(case.body, Pairs) and None in dict(case.body):
        return remade(case)
    return expected


def no_map(case: Case, expected: Any) -> Any:
    return None if expected is PANIC and not isinstance(case.body, Pairs) else expected


def not_finite(case: Case, expected: Any) -> Any:
    if expected is None and not case.config.log_key and has_non_finite(case.body):
        return remade(case)
    return expected


def group_marker(case: Case, expected: Any) -> Any:
    return None if is_group_marker(case.moment) else expected


def other_ext(case: Case, expected: Any) -> Any:
    def change(value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {"Tag", "Data", "Value"}:
            return {"type": value["Tag"], "data": value["Data"]}
        return value

    if b'"Tag"' not in (case.row.data or b""):
        return expected
    return with_data(expected, lambda data: everywhere(data, change))


def dropped_keys(case: Case, expected: Any) -> Any:
    if not case.config.data_keys or expected is None:
        return expected
    others = {key_text(key, None) for key, _ in case.body if not isinstance(key, bytes)}
    return with_data(expected, lambda data: {k: v for k, v in data.items() if k not in others})


def trimmed_data_keys(case: Case, expected: Any) -> Any:
    if case.options.get("data_keys") != " a, b " or not isinstance(case.body, Pairs):
        return expected

    def change(data: dict[str, Any]) -> dict[str, Any]:
        listed = {"b": plain(last(case.body, b"b"))} if b"b" in dict(case.body) else {}
        return {key: value for key, value in data.items() if key != " b"} | listed

    return with_data(expected, change)


def time_always_sent(case: Case, expected: Any) -> Any:
    if case.config.data_keys and case.config.time_key:
        return with_data(expected, lambda data: data | {case.config.time_key: case.time_text})
    return expected


def time_of_event(case: Case, expected: Any) -> Any:
    if not case.config.time_key or not case.plugin_used_now:
        return expected
    key = case.time_text if case.config.partition_key == ("time",) else expected.partition_key
    return Expected(expected.data | {case.config.time_key: case.time_text}, key)


def scalar_partition_key(case: Case, expected: Any) -> Any:
    value = value_at(case.body, case.config.partition_key)
    if isinstance(expected, Expected) and isinstance(value, int | float):
        return expected._replace(partition_key=str(plain(value)).lower())
    return expected


def partition_key_characters(case: Case, expected: Any) -> Any:
    if case.config.partition_key == (case.config.time_key,):
        return expected
    value = value_at(case.body, case.config.partition_key)
    if isinstance(expected, Expected) and isinstance(value, bytes) and value:
        return expected._replace(partition_key=cut_key(text_of(value)))
    return expected


def log_key_container(case: Case, expected: Any) -> Any:
    is_lost = case.row.data is None and case.config.compression != "none"
    if not case.config.log_key or not (is_lost or case.row.data in (b"", b"\n")):
        return expected
    if not isinstance(case.body, Pairs):
        return expected
    texts = [(key_text(key, case.config.replace_dots), value) for key, value in case.body]
    value = dict(texts).get(case.config.log_key)
    if not isinstance(value, list):
        return expected
    written = to_json(value, case.config.replace_dots, Counter()).encode()
    return Expected(written + (case.row.data or b""), expected and expected.partition_key)


def dots_in_arrays(case: Case, expected: Any) -> Any:
    dot = case.config.replace_dots
    if dot is None or b"[" not in (case.row.data or b"["):
        return expected

    def change(value: Any) -> Any:
        return undotted(value, dot) if isinstance(value, list) else value

    return with_data(expected, lambda data: everywhere(data, change))


def dot_collisions(case: Case, expected: Any) -> Any:
    dot = case.config.replace_dots
    if dot is None or case.config.log_key or not isinstance(expected, Expected):
        return expected
    texts = [(key_text(key, dot), value) for key, value in case.body]
    collided = {key for key, _ in texts if [name for name, _ in texts].count(key) > 1}
    last_ones = {key: plain(value, dot) for key, value in texts if key in collided}
    return expected._replace(data=expected.data | last_ones)


DIFFERENCES: Final[Mapping[str, tuple[str, Change]]] = {
    "nil key": ("the plugin panics, here the key is 'null'", nil_key),
    "body is not a map": ("the plugin panics, here the event is skipped and counted", no_map),
    "NaN": ("the plugin loses the record, here the value is null", not_finite),
    "group marker": ("the plugin sends it as a record, here it is skipped", group_marker),
    "other ext types": ("a Go struct there, an object with type and data here", other_ext),
    "data_keys, other keys": ("keys that are not strings stay there, not here", dropped_keys),
    "data_keys, trimming": ("' a, b ' names ' b' there, 'b' here", trimmed_data_keys),
    "time_key with data_keys": ("the time is dropped there, always sent here", time_always_sent),
    "time of the event": ("float and 0 count as now there, as they are here", time_of_event),
    "partition_key, scalars": ("a random key there, the value's text here", scalar_partition_key),
    "partition_key, text": (
        "cut at 256 bytes and bad UTF-8 kept there; cut at 256 characters and U+FFFD here",
        partition_key_characters,
    ),
    "log_key, map or array": (
        "comes out empty there, or is lost if it is compressed; as JSON here",
        log_key_container,
    ),
    "replace_dots in arrays": ("not done there, done here", dots_in_arrays),
    "replace_dots, collision": ("any one wins there, both written here", dot_collisions),
}


# --- helpers ------------------------------------------------------------------------------------


def names(config: OutputConfig) -> set[bytes]:
    return {name.encode() for name in config.data_keys}


def has_non_finite(value: Any) -> bool:
    if isinstance(value, Pairs):
        return any(has_non_finite(member) for _, member in value)
    if isinstance(value, list):
        return any(map(has_non_finite, value))
    return isinstance(value, float) and not math.isfinite(value)


def with_data(expected: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(expected, Expected) and isinstance(expected.data, dict):
        return expected._replace(data=change(expected.data))
    return expected


def value_at(body: Any, path: tuple[str, ...]) -> Any:
    value = body if path else None
    for name in path:
        value = last(value, name.encode())
    return value


def of_plugin(row: GoldenRow, config: OutputConfig) -> Any:
    """Return what the plugin made of an event: a record, None (lost) or PANIC."""
    if row.data is None:
        return None if row.lost == "dropped" else PANIC
    key = None if row.partition_key is None else row.partition_key.decode("utf-8", "replace")
    if config.log_key:
        return Expected(row.data, key)
    assert row.data.endswith(b"\n") == config.append_newline
    return Expected(parsed(row.data), key)


def of_record(data: bytes, partition_key: str, config: OutputConfig) -> Expected:
    """Return the encoder's record in comparable form."""
    if not config.log_key:
        assert data.endswith(b"\n") == config.append_newline
    return Expected(data if config.log_key else parsed(data), partition_key)


def by_encoder(chunk: bytes, config: OutputConfig, end: int) -> tuple[dict[int, Expected], int]:
    """Return the records of the events before end, and how many events the encoder read."""
    drained = drain(chunk, config)
    inflate = INFLATE[config.compression]
    compared = (entry for entry in drained.entries if entry.event < end)
    records = {e.event: of_record(inflate(e.data), e.partition_key, config) for e in compared}
    return records, n_events(drained.tally)


def by_oracle(chunk: bytes, config: OutputConfig) -> dict[int, Expected]:
    """Return the same from the oracle, which must match the same files."""
    return {
        event.event: of_record(event.data, event.partition_key or "random00", config)
        for event in outcomes(chunk, config)
        if event.is_record
    }


def n_events(counts: Mapping[str, int]) -> int:
    good = ("records", "group_markers", "skipped_not_map", "skipped_no_log_key")
    assert not counts["skipped_bad_key"] and not counts["skipped_too_deep"]
    return sum(counts[name] for name in good)


def cases(
    name: str, config_name: str, rows: Iterable[GoldenRow]
) -> Iterator[tuple[Any, list[str]]]:
    """Yield the expected result of each event, and the differences that it depends on."""
    config = output_config(GOLDEN_OPTIONS[config_name])
    for event, compressed in zip(read_events(load_chunk(name)), rows, strict=False):
        row = compressed
        if compressed.data is not None:
            row = compressed._replace(data=INFLATE[config.compression](compressed.data))
        case = Case(GOLDEN_OPTIONS[config_name], config, event.moment, event.body, row)
        expected = of_plugin(row, config)
        used = []
        for difference, (_, change) in DIFFERENCES.items():
            changed = change(case, expected)
            if changed is not expected and changed != expected:
                used.append(difference)
            expected = changed
        yield expected, used


# --- tests --------------------------------------------------------------------------------------


def golden_files(names: Iterable[str]) -> list[Any]:
    """Return the files of some chunks as parameters of a test."""
    return [
        pytest.param(name, config_name, id=f"{name}.{config_name}")
        for name in names
        for config_name in GOLDEN_OPTIONS
    ]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def comparable(record: Expected | None, expected: Any) -> Expected | None:
    """Return a record without its key, if that is to be a random one and looks like one."""
    if record is None or not isinstance(expected, Expected) or expected.partition_key is not None:
        return record
    assert RANDOM_KEY.fullmatch(record.partition_key or ""), record.partition_key
    return record._replace(partition_key=None)


@pytest.mark.parametrize(("name", "config_name"), golden_files(chunk_names()))
def test_records_are_those_of_the_plugin(name: str, config_name: str) -> None:
    """The oracle of these tests agrees, too."""
    golden = load_golden(name, config_name)
    config = output_config(GOLDEN_OPTIONS[config_name])
    chunk = load_chunk(name)
    if len(chunk) > LARGE_CHUNK and config_name != "plain":
        assert len(golden.rows) == ROWS_OF_LARGE_CHUNKS
        chunk = chunk[: read_events(chunk)[ROWS_OF_LARGE_CHUNKS - 1].end]

    records, n_events = by_encoder(chunk, config, len(golden.rows))
    of_oracle = by_oracle(load_chunk(name), config) if name in SMALL_CHUNKS else None

    for i, (expected, used) in enumerate(cases(name, config_name, golden.rows)):
        assert comparable(records.get(i), expected) == expected, f"event {i}, differences: {used}"
        if of_oracle is not None:
            assert comparable(of_oracle.get(i), expected) == expected, f"event {i}, oracle"
    if golden.n_events is not None:
        assert n_events == golden.n_events == len(golden.rows)


def test_every_difference_occurs_in_the_files() -> None:
    missing = set(DIFFERENCES)
    for name, config_name in product(SMALL_CHUNKS, GOLDEN_OPTIONS):
        for _, used in cases(name, config_name, load_golden(name, config_name).rows):
            missing.difference_update(used)
        if not missing:
            return
    pytest.fail(f"no file has {missing}")
