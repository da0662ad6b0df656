"""zstd is a Python package: it is called once for many records, and may be missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
import zstandard
from chunks import chunk_of, load_chunk, output_config
from encoded import assert_as_oracle, drain, requests_of

from kinesis_fast import ConfigError, RecordEncoder
from kinesis_fast.compression import Zstd


class CountingZstd(Zstd):
    """Counts calls, and fails in those that are listed."""

    calls: list[int]
    failing: set[int]

    def compress_all(
        self, texts: memoryview | list[memoryview], spans: memoryview | None = None
    ) -> Sequence[Any]:
        self.calls.append(len(texts) if spans is None else len(spans) // 16)
        if len(self.calls) - 1 in self.failing:
            raise MemoryError("zstd has no room")
        return super().compress_all(texts, spans)


@pytest.fixture
def counting_zstd(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Return a function that counts the calls from now on; its arguments are those that fail."""

    def count(*failing: int) -> list[int]:
        CountingZstd.calls = []
        CountingZstd.failing = set(failing)
        monkeypatch.setattr("kinesis_fast.compression.Zstd", CountingZstd)
        return CountingZstd.calls

    return count


def test_one_call_compresses_500_records(counting_zstd: Callable[..., list[int]]) -> None:
    calls = counting_zstd()
    drain(chunk_of({"number": n} for n in range(1200)), output_config(compression="zstd"))
    assert calls == [500, 500, 200]


def test_one_call_compresses_a_mebibyte(counting_zstd: Callable[..., list[int]]) -> None:
    calls = counting_zstd()
    chunk = chunk_of({"log": "x" * 300_000} for _ in range(9))
    drain(chunk, output_config(compression="zstd"))
    assert calls == [4, 4, 1]


def test_one_call_compresses_several_aggregates(counting_zstd: Callable[..., list[int]]) -> None:
    calls = counting_zstd()
    config = output_config(
        compression="zstd", simple_aggregation="true", aggregation_max_size="10000"
    )
    chunk = chunk_of({"log": "x" * 900} for _ in range(200))
    assert len(drain(chunk, config).entries) == 20
    assert calls == [8, 8, 4]


@pytest.mark.parametrize("options", [{}, {"simple_aggregation": "true"}, {"aggregation": "true"}])
def test_an_error_of_zstd_loses_nothing(
    options: dict[str, str], counting_zstd: Callable[..., list[int]]
) -> None:
    chunk = chunk_of({"number": n, "log": "x" * 200} for n in range(2000))
    config = output_config(options, compression="zstd")
    expected = [bytes(request.body) for request in requests_of(chunk, config)]
    counting_zstd(0, 1, 3)
    stream = requests_of(chunk, config)
    bodies, n_errors = [], 0
    while not stream.is_exhausted:
        try:
            bodies.append(bytes(next(stream).body))
        except MemoryError as error:
            assert str(error) == "zstd has no room"
            n_errors += 1
    assert bodies == expected
    assert n_errors >= 2
    assert stream.take_tally().records == 2000


@pytest.mark.parametrize("options", [{}, {"aggregation": "true"}])
def test_records_without_a_byte(options: dict[str, str]) -> None:
    """The library refuses texts that are all empty, and an empty log line is a record."""
    config = output_config(options, log_key="log", compression="zstd")
    for texts in ([""], [""] * 3, ["", "a"], [""] * 501):
        chunk = chunk_of({"log": text} for text in texts)
        events = assert_as_oracle(chunk, config)
        assert [event.data for event in events] == [text.encode() for text in texts]


def test_a_second_try_counts_no_record_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """zstd fails at the second record that has to be cut; then all are packed again."""
    calls = 0

    class Failing(Zstd):
        def compress(self, data: memoryview) -> bytes:
            nonlocal calls
            calls += 1
            if calls == 5:
                raise MemoryError("zstd has no room")
            return super().compress(data)

    monkeypatch.setattr("kinesis_fast.compression.Zstd", Failing)
    rng = Random(1)
    chunk = chunk_of({"log": rng.randbytes(3000)} for _ in range(4))
    config = output_config(log_key="log", compression="zstd", max_record_size="1024")
    stream = requests_of(chunk, config)
    with pytest.raises(MemoryError, match="zstd has no room"):
        next(stream)
    assert next(stream).n_records == 4
    assert stream.take_tally().truncated == 4


# --- libraries ------------------------------------------------------------------------------------


def test_without_its_library_zstd_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError) as caught:
        RecordEncoder(output_config(compression="zstd"))
    text = str(caught.value)
    assert text.startswith("option compression is 'zstd', but its library cannot be imported (")
    assert text.endswith("pip install 'kinesis-fast[zstd]'")
    for codec in ("none", "gzip", "zlib", "snappy"):
        RecordEncoder(output_config(compression=codec))


def test_zstd_needs_the_compiled_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zstandard.backend_features", {"buffer_types"})
    monkeypatch.setattr("zstandard.backend", "cffi")
    with pytest.raises(ConfigError, match=r"without its C code \(its backend is cffi\)"):
        RecordEncoder(output_config(compression="zstd"))


def test_the_level_reaches_the_codec() -> None:
    lines = b"".join(e.data for e in drain(load_chunk("access_1"), output_config()).entries)
    chunk = chunk_of([{"log": lines}])

    def size(codec: str, **options: str) -> int:
        (entry,) = drain(chunk, output_config(options, compression=codec)).entries
        return len(entry.data)

    for codec, low, high, default in (("gzip", 1, 9, 6), ("zlib", 1, 9, 6), ("zstd", 1, 19, 3)):
        assert size(codec, compression_level=str(low)) > size(codec, compression_level=str(high))
        assert size(codec) == size(codec, compression_level=str(default))


def test_errors_of_zstd_become_memory_errors() -> None:
    class Library:
        ZstdError = zstandard.ZstdError

        def __init__(self, level: int = 0) -> None:
            pass

        def compress(self, data: object) -> None:
            raise self.ZstdError("cannot compress: Allocation error")

        multi_compress_to_buffer = compress
        ZstdCompressor: type[Library]

    Library.ZstdCompressor = Library
    zstd = Zstd(Library, 3)
    with pytest.raises(MemoryError, match="zstd cannot compress 5 bytes: cannot compress: Alloc"):
        zstd.compress(memoryview(b"hello"))
    with pytest.raises(MemoryError, match="zstd cannot compress: cannot compress: Allocation"):
        zstd.compress_all([memoryview(b"hello")])
