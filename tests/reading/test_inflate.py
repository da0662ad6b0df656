"""Compressed data is recognised by its magic and inflated, within bounds."""

from __future__ import annotations

import gzip
import importlib
import random
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast.limits import MIB
from kinesis_fast.reading import inflate as room
from kinesis_fast.reading.inflate import Inflated, MissingLibraryError, inflate
from kinesis_fast.reading.snappy import SnappyError
from kinesis_fast.reading.snappy import inflate as inflate_snappy

Compress = Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    """Compress to one frame."""
    return zstandard.ZstdCompressor().compress(data)


def raw_snappy(data: bytes) -> bytes:
    """Compress with a library by others."""
    return bytes(cramjam.snappy.compress_raw(data))


WITH_MAGIC: dict[str, Compress] = {"gzip": gzip.compress, "zlib": zlib.compress, "zstd": zstd}
ALL: dict[str, Compress] = {**WITH_MAGIC, "snappy": raw_snappy}
TEXT = b"".join(b'{"number": %d, "log": "GET /index.html"}\n' % n for n in range(500))


@pytest.mark.parametrize("name", WITH_MAGIC)
@pytest.mark.parametrize("data", [b"", b"x", TEXT])
def test_formats_with_a_magic_are_recognised(name: str, data: bytes) -> None:
    assert inflate(WITH_MAGIC[name](data)) == Inflated(data, name)


@pytest.mark.parametrize("name", ALL)
@given(data=st.binary(max_size=2000))
def test_any_data_comes_back(name: str, data: bytes) -> None:
    assert inflate(ALL[name](data), name) == Inflated(data, name)


@pytest.mark.parametrize("level", range(-1, 10))
def test_every_level_of_zlib_is_recognised(level: int) -> None:
    assert inflate(zlib.compress(TEXT, level)) == Inflated(TEXT, "zlib")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain",
        b'{"a": 1}',
        b"x^2 is a square",
        b"x\x9cbut only text",
        b"\x1f",
        TEXT,
        b"x\x9c",
    ],
)
def test_other_data_stays_and_is_no_problem(data: bytes) -> None:
    assert inflate(data) == Inflated(data)


@pytest.mark.parametrize("name", WITH_MAGIC)
def test_damaged_data_stays_as_it_is(name: str) -> None:
    whole = WITH_MAGIC[name](TEXT)
    for damaged in (whole[:-1], whole[:20], whole + b"x", whole[:40] + b"\x00" + whole[41:]):
        found = inflate(damaged)
        assert (found.data, found.compression) == (damaged, None)
        assert bool(found.problem) is (name != "zlib")
        assert inflate(damaged, name).problem.startswith(f"not {name}: ")


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_members_one_after_another_are_one_text(name: str) -> None:
    compress = WITH_MAGIC[name]
    assert inflate(compress(b"one\n") + compress(b"two\n")) == Inflated(b"one\ntwo\n", name)
    many = compress(b"x") * (room.MAX_MEMBERS + 1)
    assert inflate(many).problem == f"not {name}: bytes follow after 100 of its parts"
    assert inflate(many[: -len(compress(b"x"))]).data == b"x" * room.MAX_MEMBERS


@pytest.mark.parametrize("name", ALL)
def test_the_limit_is_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_INFLATED_BYTES", MIB)
    assert inflate(ALL[name](bytes(MIB)), name) == Inflated(bytes(MIB), name)
    bomb = ALL[name](bytes(MIB + 1))
    found = inflate(bomb, name)
    assert found.data == bomb
    assert found.problem.startswith(f"not {name}: it holds ")


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_the_limit_counts_all_members(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_INFLATED_BYTES", MIB)
    half = WITH_MAGIC[name](bytes(MIB // 2))
    assert inflate(half * 2).data == bytes(MIB)
    assert (
        inflate(half * 2 + WITH_MAGIC[name](b"x")).problem
        == f"not {name}: it holds more than 1 MiB"
    )


@pytest.mark.parametrize("name", ALL)
def test_a_bomb_costs_little_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_INFLATED_BYTES", MIB)
    bomb = ALL[name](bytes(200 * MIB))
    tracemalloc.start()
    try:
        assert inflate(bomb, name).problem
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


def test_without_a_library_for_zstd_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compressed = zstd(b"x")

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingLibraryError, match=r"pip install 'kinesis-fast\[zstd\]'"):
        inflate(compressed)
    assert inflate(gzip.compress(b"x")).data == b"x"


def test_zstd_of_any_size_and_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = random.Random(2).randbytes(300_000) + TEXT * 20
    for data in (b"", b"x", TEXT, many):
        whole = zstd(data)
        assert inflate(whole) == Inflated(data, "zstd")
        assert inflate(whole + zstd(b"more")) == Inflated(data + b"more", "zstd")
        assert inflate(whole[:-1]).problem == "not zstd: its end is missing"
        assert inflate(whole + b"x" * 200).problem
    size = zstandard.ZstdCompressor(write_content_size=False)
    assert inflate(size.compress(TEXT)) == Inflated(TEXT, "zstd")
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    assert inflate(stream.compress(TEXT) + stream.flush()).problem.startswith("not zstd: ")

    monkeypatch.setattr(room, "MAX_INFLATED_BYTES", MIB)
    assert inflate(zstd(bytes(MIB))) == Inflated(bytes(MIB), "zstd")
    bomb = zstd(bytes(200 * MIB))
    tracemalloc.start()
    try:
        assert inflate(bomb).problem == "not zstd: it holds more than 1 MiB"
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=3000), st.integers(1, 30))
def test_snappy_of_repeated_text(piece: bytes, times: int) -> None:
    assert inflate_snappy(raw_snappy(piece * times), MIB) == piece * times


def test_snappy_of_long_texts() -> None:
    random_bytes = random.Random(1).randbytes
    for data in (TEXT * 50, random_bytes(200_000), random_bytes(70_000) + TEXT, b"abc" * 500_000):
        assert inflate_snappy(raw_snappy(data), len(data)) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not begin with a length"),
        (b"\xff" * 6, "does not begin with a length"),
        (b"\x05\x10abc", "a literal at byte 1 is too long"),
        (b"\x02\x08abc", "a literal at byte 1 is too long"),
        (b"\x05\xf0", "a literal at byte 1 is too long"),
        (b"\x08\x00a\x01\x00", "a copy at byte 3 leads outside"),  # offset 0
        (b"\x08\x00a\x01\x02", "a copy at byte 3 leads outside"),  # before the text
        (b"\x03\x00a\x01\x01", "a copy at byte 3 leads outside"),  # 4 bytes, room for 2
        (b"\x08\x00a\x02\x01", "a copy at byte 3 leads outside"),  # half an offset
        (b"\x05\x00a", "it ends after 1 of 5 bytes"),
    ],
)
def test_damaged_snappy(data: bytes, why: str) -> None:
    with pytest.raises(SnappyError, match=why):
        inflate_snappy(data, MIB)
    with pytest.raises(cramjam.DecompressionError):
        cramjam.snappy.decompress_raw(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_snappy_or_an_error(data: bytes) -> None:
    try:
        text = inflate_snappy(data, MIB)
    except SnappyError:
        return
    assert bytes(cramjam.snappy.decompress_raw(data)) == text
