"""For random chunks and random options, the encoder returns exactly what the oracle returns."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import wire
from chunks import load_chunk, output_config
from encoded import assert_as_oracle, drain
from hypothesis import given, settings
from hypothesis import strategies as st

OPTIONS: dict[str, list[str]] = {
    "append_newline": ["true"],
    "data_keys": ["a,b", "log,pk,n", "a.b, k\ufffd ,time"],
    "log_key": ["log", "a_b", "a.b", "time", "_"],
    "partition_key": ["pk", "n", "time", "n->pk", "n->n->pk", "a.b"],
    "replace_dots": ["_", "-", "..", 'é"'],
    "time_key": ["time", "a.b", "pk"],
    "time_key_format": ["%Y-%m-%dT%H:%M:%S", "%s.%L|%f|%3N|%6N|%9N|%N|%%L", "%a %e %b %H:%M %z %Z"],
    "time_zone": ["utc"],
}
# Options for what entries hold. Small aggregates end early, small records are cut often.
AGGREGATIONS: list[dict[str, str]] = [{}, {"aggregation": "true"}, {"simple_aggregation": "true"}]
CODECS = ["none", "gzip", "zlib", "zstd", "snappy"]
LEVELS = {"gzip": ["0", "1", "9"], "zlib": ["0", "6"], "zstd": ["1", "5"]}
SIZES: list[dict[str, str]] = [
    {},
    {"aggregation_max_size": "1024"},
    {"aggregation_max_size": "1024", "max_record_size": "1024"},
    {"aggregation_max_size": "1500", "max_record_size": "2000"},
    {"max_record_size": "10485760", "aggregation_max_size": "10485760"},
]
BUCKETS = ["1", "2", "64", "1024"]


@st.composite
def options(draw: st.DrawFn) -> dict[str, str]:
    """Draw a subset of the options, each with one of its values."""
    names = draw(st.sets(st.sampled_from(sorted(OPTIONS)), max_size=4))
    chosen = {name: draw(st.sampled_from(OPTIONS[name])) for name in sorted(names)}
    return {**chosen, **draw(packing())}


@st.composite
def packing(draw: st.DrawFn) -> dict[str, str]:
    """Draw aggregation and compression."""
    return random_packing(Random(draw(st.integers(0, 999))))


def random_options(rng: Random) -> dict[str, str]:
    names = rng.sample(sorted(OPTIONS), rng.randrange(5))
    return {name: rng.choice(OPTIONS[name]) for name in names} | random_packing(rng)


def random_packing(rng: Random) -> dict[str, str]:
    """Return options of aggregation and compression; about a third of the time none at all."""
    if rng.random() < 0.25:
        return {}
    codec = rng.choice(CODECS)
    chosen = {**rng.choice(AGGREGATIONS), **rng.choice(SIZES), "compression": codec}
    if codec in LEVELS and rng.random() < 0.5:
        chosen["compression_level"] = rng.choice(LEVELS[codec])
    if rng.random() < 0.7:
        chosen["aggregation_buckets"] = rng.choice(BUCKETS)
    return chosen


def random_chunk(rng: Random, n_events: int) -> bytes:
    return b"".join(wire.random_event(rng) for _ in range(n_events))


@settings(derandomize=True, deadline=None, database=None, max_examples=100)
@given(rng=st.randoms(use_true_random=False), chosen=options(), n_events=st.integers(0, 3))
def test_a_random_chunk_with_random_options(
    rng: Random, chosen: dict[str, str], n_events: int
) -> None:
    assert_as_oracle(random_chunk(rng, n_events), output_config(chosen))


@pytest.mark.parametrize("seed", range(100))
def test_many_seeded_chunks(seed: int) -> None:
    rng = Random(seed)
    for _ in range(10):
        assert_as_oracle(
            random_chunk(rng, rng.randrange(1, 20)), output_config(random_options(rng))
        )


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_very_many_seeded_chunks(seed: int) -> None:
    rng = Random(seed)
    for _ in range(100):
        assert_as_oracle(
            random_chunk(rng, rng.randrange(1, 20)), output_config(random_options(rng))
        )


@settings(derandomize=True, deadline=None, database=None, max_examples=500)
@given(chunk=st.binary(max_size=60), chosen=options())
def test_random_bytes(chunk: bytes, chosen: dict[str, str]) -> None:
    assert_as_oracle(chunk, output_config(chosen))


@settings(derandomize=True, deadline=None, database=None, max_examples=500)
@given(tail=st.binary(max_size=60), depth=st.integers(0, 2))
def test_random_bytes_inside_an_event(tail: bytes, depth: int) -> None:
    opening = wire.header(wire.ARRAY, wire.FIX_ARRAY, 2, wire.FIX)
    body = [b"", b"\x83", b"\x82\xa1a\x83"][depth]

    assert_as_oracle(opening + b"\x01" + body + tail, output_config())


@pytest.mark.heavy
@pytest.mark.parametrize(
    "chosen", [{}, {"log_key": "log", "data_keys": "log,a"}, {"time_key": "t"}]
)
def test_every_mutation_of_one_byte(chosen: dict[str, str]) -> None:
    """Each byte of a small chunk takes each value with a special meaning in msgpack."""
    chunk = wire.random_event(Random(5)) + wire.random_event(Random(9)) + b"\x92\x00\x81\xa1a\x01"
    config = output_config(chosen)
    values = {0x00, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x92, 0x9F, 0xA0, 0xA1, 0xBF, *range(0xC0, 0x100)}
    for position in range(len(chunk)):
        for value in values:
            assert_as_oracle(chunk[:position] + bytes([value]) + chunk[position + 1 :], config)


def test_captured_chunks_with_many_options() -> None:
    rng = Random(3)
    for name in ("fwd_weird_0", "fwd_weirdpacked_0", "x_packedodd_0", "x_otel_0", "hm_nonmap"):
        for _ in range(25):
            chosen: dict[str, Any] = random_options(rng)
            assert_as_oracle(load_chunk(name), output_config(chosen))


def test_the_random_chunks_reach_every_counter() -> None:
    """If a kind of event were never drawn, the tests above would not test it."""
    rng = Random(1)
    reached: set[str] = set()
    for _ in range(200):
        reached |= drain(random_chunk(rng, 10), output_config(random_options(rng))).tally.keys()

    assert reached >= {
        "records",
        "group_markers",
        "nan_values",
        "random_keys",
        "no_data_keys",
        "skipped_not_map",
        "skipped_bad_key",
        "skipped_no_log_key",
    }
