"""Truncated and damaged captured chunks, in memory that ends where the chunk ends.

Other tests check the records. These look for accesses outside the memory: run them under ASan and
UBSan (`make sanitize`), which detect even one byte too many.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, product
from random import Random

import pytest
from chunks import chunk_names, load_chunk, output_config
from encoded import NOW_S
from exact_memory import exact
from invariants import n_read

from kinesis_fast import RecordEncoder
from kinesis_fast._core import kernels
from kinesis_fast._core.request import Request

SMALL = [name for name in chunk_names() if len(load_chunk(name)) < 10_000]
TINY = [name for name in SMALL if len(load_chunk(name)) < 128]
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"partition_key": "n->pk", "replace_dots": "_", "append_newline": "true"},
    {"data_keys": "a,b,log,a.b", "time_key": "time", "max_record_size": "1024"},
    {"log_key": "log", "partition_key": "pk", "time_key": "a"},
)
N_SAMPLED = 2000  # mutations of a chunk that is not tiny, in the fast tests


@pytest.fixture(autouse=True)
def level_in_use() -> Iterator[None]:
    """Restore the kernel level, which the tests change for the whole process."""
    level = kernels.level()
    yield
    kernels.use_level(level)


def encoders() -> list[RecordEncoder]:
    return [RecordEncoder(output_config(options)) for options in OPTIONS]


def requests_of(encoder: RecordEncoder, view: memoryview) -> list[Request]:
    """Encode, check that the counters add up, and return the requests."""
    stream = encoder._core.requests(view, now_ns=NOW_S * 10**9, seed=0, keep_skipped=True)
    requests = list(stream)
    tally = stream.take_tally()
    assert tally.records == sum(request.n_records for request in requests)
    assert n_read(tally) == encoder.count(view)
    assert all(0 <= start < end <= len(view) for _, start, end, _ in stream.take_skipped())
    return requests


def mutations(name: str) -> Iterator[tuple[int, int]]:
    """Yield (position, new value): all for a tiny chunk, a sample for a larger one."""
    chunk = load_chunk(name)
    if name in TINY:
        yield from every_mutation(chunk)
        return
    rng = Random(name)
    for _ in range(N_SAMPLED):
        position = rng.randrange(len(chunk))
        yield position, chunk[position] ^ rng.randrange(1, 256)


def every_mutation(chunk: bytes) -> Iterator[tuple[int, int]]:
    for position, old in enumerate(chunk):
        for change in range(1, 256):
            yield position, old ^ change


@pytest.mark.parametrize("name", SMALL)
def test_damaged_bytes(name: str) -> None:
    encode_damaged(load_chunk(name), mutations(name))


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_every_damaged_byte(name: str) -> None:
    """Each byte takes each of its other 255 values."""
    encode_damaged(load_chunk(name), every_mutation(load_chunk(name)))


def encode_damaged(chunk: bytes, changes: Iterator[tuple[int, int]]) -> None:
    """Encode each mutation; option sets and kernel levels take turns."""
    turns = cycle(product(kernels.levels(), encoders()))
    with exact(chunk) as view:
        for position, value in changes:
            level, encoder = next(turns)
            kernels.use_level(level)
            view[position] = value
            requests_of(encoder, view)
            view[position] = chunk[position]


@pytest.mark.parametrize("name", SMALL)
def test_every_cut(name: str) -> None:
    """The records of a truncated chunk are the first records of the whole chunk."""
    chunk = load_chunk(name)
    for level, encoder in zip(cycle(kernels.levels()), encoders(), strict=False):
        kernels.use_level(level)
        with exact(chunk) as view:
            whole = entries_of(requests_of(encoder, view))
        n_before = 0
        for length in range(len(chunk) + 1):
            with exact(chunk[:length]) as view:
                found = requests_of(encoder, view)
                n_records = sum(request.n_records for request in found)
                assert n_before <= n_records
                if n_records != n_before:
                    assert entries_of(found) == whole[:n_records]
                n_before = n_records
        assert n_before == len(whole)


def entries_of(requests: list[Request]) -> list[bytes]:
    return [request.entry(i) for request in requests for i in range(request.n_records)]
