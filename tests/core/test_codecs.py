"""Each codec by itself: its own library reads what it writes, and cut texts use up the limit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from compressed import CODECS, INFLATE, SUFFIX, random_letters
from exact_memory import exact
from hypothesis import given, settings
from hypothesis import strategies as st

from kinesis_fast._core.codec import Compressor
from kinesis_fast.compression import zstd_compressors

BLOCK = 65_536  # bytes that snappy compresses by themselves
IN_CORE = ("gzip", "zlib", "snappy")


def compressor_of(codec: str, level: int = 6) -> Compressor:
    return Compressor(codec, level, zstd_compressors(3)() if codec == "zstd" else None)


@cache
def kept(codec: str) -> Compressor:
    """Return a compressor that all tests use, so that each text follows many others."""
    return compressor_of(codec)


def assert_round_trip(codec: str, data: bytes) -> bytes:
    compressed = kept(codec).compress(data)
    assert INFLATE[codec](compressed) == data
    return compressed


def texts(n_bytes: int) -> Iterator[bytes]:
    """Yield texts of a length: noise, one letter, periods, words, and noise between repetitions."""
    rng = Random(n_bytes)
    noise = rng.randbytes(n_bytes)
    yield noise
    yield b"a" * n_bytes
    for period in (2, 3, 5, 9, 61, 2047, 2048, 65_535, 65_536):
        if period < n_bytes:
            yield (rng.randbytes(period) * (n_bytes // period + 1))[:n_bytes]
    yield random_letters(rng, b"abcd ", n_bytes)
    yield (b"".join(noise[i : i + 70] + noise[:11] for i in range(0, n_bytes, 81)))[:n_bytes]


@pytest.mark.parametrize("codec", IN_CORE)
def test_all_short_lengths(codec: str) -> None:
    for n_bytes in range(300):
        for text in texts(n_bytes):
            assert_round_trip(codec, text)


@pytest.mark.parametrize("codec", IN_CORE)
@pytest.mark.parametrize(
    "n_bytes",
    [
        *(1000, 4095, 16_383, 16_385, 32_768, 140_000),
        pytest.param(1_000_003, marks=pytest.mark.heavy),
    ],
)
def test_longer_lengths(codec: str, n_bytes: int) -> None:
    for text in texts(n_bytes):
        assert_round_trip(codec, text)


@pytest.mark.parametrize("edge", [BLOCK, 2 * BLOCK])
def test_snappy_at_the_edges_of_its_blocks(edge: int) -> None:
    for n_bytes in range(edge - 20, edge + 21):
        for text in texts(n_bytes):
            assert_round_trip("snappy", text)


@pytest.mark.heavy
def test_snappy_with_every_length_up_to_a_block() -> None:
    rng = Random(1)
    noise = rng.randbytes(80_000)
    words = random_letters(rng, b"the quick brown fox ", 80_000)
    for n_bytes in range(300, 70_001, 7):
        at = rng.randrange(10_000)
        assert_round_trip("snappy", words[at : at + n_bytes])
        assert_round_trip("snappy", noise[at : at + n_bytes // 2] * 2)


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(
    codec=st.sampled_from(IN_CORE),
    parts=st.lists(st.tuples(st.binary(max_size=80), st.integers(1, 90)), max_size=40),
)
def test_repeated_parts(codec: str, parts: list[tuple[bytes, int]]) -> None:
    assert_round_trip(codec, b"".join(part * times for part, times in parts))


@pytest.mark.parametrize("codec", IN_CORE)
def test_nothing_outside_of_the_text_is_read_or_written(codec: str) -> None:
    """A sanitizer build sees it: the text is in memory of exactly its size."""
    for n_bytes in (*range(1, 80), 1000, BLOCK, BLOCK + 1):
        for text in texts(n_bytes):
            with exact(text) as memory:
                compressed = kept(codec).compress(memory)
            assert INFLATE[codec](compressed) == text


@pytest.mark.parametrize("codec", IN_CORE)
def test_noise_grows_little(codec: str) -> None:
    for n_bytes in (1, 100, 10_000, BLOCK, 1_000_000):
        compressed = kept(codec).compress(Random(n_bytes).randbytes(n_bytes))
        assert len(compressed) <= n_bytes + n_bytes // 1000 + 24


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("codec", ["gzip", "zlib"])
def test_every_level(codec: str, level: int) -> None:
    text = random_letters(Random(level), b"abcdefgh ", 20_000)
    compressed = compressor_of(codec, level).compress(text)
    assert INFLATE[codec](compressed) == text
    assert len(compressed) > len(text) if level == 0 else len(compressed) < len(text) * 0.6


def test_the_headers_say_nothing_about_the_time_and_the_machine() -> None:
    gzip_header = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF])
    for level in range(10):
        assert compressor_of("gzip", level).compress(b"text").startswith(gzip_header)
    assert compressor_of("zlib").compress(b"text").startswith(b"\x78\x9c")
    frame = compressor_of("zstd").compress(b"text" * 10)
    assert frame[:5] == b"\x28\xb5\x2f\xfd\x20", "a size of one byte, one segment, no checksum"
    assert frame[5] == 40
    assert kept("snappy").compress(b"text" * 100)[:2] == b"\x90\x03", "400 as a varint"


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_text_gives_the_same_bytes(codec: str) -> None:
    others = [Random(n).randbytes(n) for n in (0, 7, 70_000)]
    for text in texts(5000):
        compressed = compressor_of(codec).compress(text)
        for other in others:
            kept(codec).compress(other)
            assert kept(codec).compress(text) == compressed


@pytest.mark.parametrize(("codec", "tool"), [("gzip", "gzip"), ("zstd", "zstd")])
def test_the_reference_tool_accepts_it(codec: str, tool: str, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    parts = [text for n_bytes in (0, 1, 200, 70_000) for text in texts(n_bytes)]
    file = tmp_path / "data"
    file.write_bytes(b"".join(map(kept(codec).compress, parts)))
    with file.open("rb") as stdin:
        subprocess.run([tool, "-t"], stdin=stdin, check=True)
    with file.open("rb") as stdin:
        done = subprocess.run([tool, "-dc"], stdin=stdin, check=True, capture_output=True)
    assert done.stdout == b"".join(parts), "several texts, one after the other, are one file"


@pytest.mark.parametrize(
    ("codec", "level", "message"),
    [("lz4", 6, "no codec 'lz4'"), ("none", 6, "no codec 'none'"), ("gzip", 10, "out of range")],
)
def test_wrong_arguments(codec: str, level: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Compressor(codec, level)


# --- texts that have to be cut -------------------------------------------------------------------


def log_lines(n_bytes: int) -> bytes:
    rng = Random(n_bytes)
    lines = (
        b'10.0.0.%d - - "GET /api/v1/items/%d HTTP/1.1" 200 %d "Mozilla/5.0"\n'
        % (rng.randrange(256), rng.randrange(10**6), rng.randrange(10**5))
        for _ in range(n_bytes // 60 + 1)
    )
    return b"".join(lines)[:n_bytes]


TO_CUT = ("noise", "lines", "lines, then noise", "noise, then lines", "by turns")


@cache
def to_cut() -> dict[str, bytes]:
    noise, lines = Random(4).randbytes(600_000), log_lines(2_000_000)
    turns = (noise[i : i + 20_000] + b"0" * 40_000 for i in range(0, 600_000, 20_000))
    contents = (
        noise,
        lines,
        lines[:1_000_000] + noise,
        noise[:100_000] + lines[:1_500_000],
        b"".join(turns),
    )
    return dict(zip(TO_CUT, contents, strict=True))


def assert_fits(codec: str, text: bytes, limit: int, *, newline: bool) -> None:
    """Assert that a text which does not fit as a whole is cut well."""
    text += b"\n" if newline else b""
    compressed, is_cut = kept(codec).fit(text, newline=newline, limit=limit)
    inflated = INFLATE[codec](compressed)
    assert is_cut
    assert 0.98 * limit <= len(compressed) <= limit
    assert inflated.endswith(SUFFIX + b"\n" if newline else SUFFIX)
    rest = inflated.removesuffix(b"\n" if newline else b"").removesuffix(SUFFIX)
    assert text.startswith(rest)


@pytest.mark.parametrize(("limit", "newline"), [(3000, False), (3000, True), (100_000, True)])
@pytest.mark.parametrize("name", TO_CUT)
@pytest.mark.parametrize("codec", CODECS)
def test_a_cut_text_uses_up_the_limit(codec: str, name: str, limit: int, newline: bool) -> None:
    text = to_cut()[name][: limit * 25]
    assert len(kept(codec).compress(text)) > limit
    assert_fits(codec, text, limit, newline=newline)


@pytest.mark.parametrize("codec", CODECS)
def test_the_smallest_limits(codec: str) -> None:
    """A record of 1,024 bytes with the longest key leaves 256."""
    for limit in range(256, 300):
        text = Random(limit).randbytes(2000)
        compressed, is_cut = kept(codec).fit(text, newline=False, limit=limit)
        assert is_cut
        assert limit - 8 <= len(compressed) <= limit


@pytest.mark.parametrize("codec", CODECS)
def test_what_fits_is_not_cut(codec: str) -> None:
    text = log_lines(50_000)
    size = len(kept(codec).compress(text))
    assert kept(codec).fit(text, newline=True, limit=size) == (kept(codec).compress(text), False)
    assert kept(codec).fit(text, newline=True, limit=size - 1)[1]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("char", ["é", "世", "🚀"])
def test_no_character_is_split(codec: str, char: str) -> None:
    rng = Random(2)
    for _ in range(20):
        text = "".join(rng.choices(char + "xyz0123456789", k=3000))
        compressed, _ = kept(codec).fit(text.encode(), newline=False, limit=700)
        assert text.startswith(INFLATE[codec](compressed).decode().removesuffix(SUFFIX.decode()))


@pytest.mark.parametrize("codec", CODECS)
def test_a_text_of_more_than_32_limits_is_cut_first(codec: str) -> None:
    """However well it compresses: a reader has to hold it."""
    limit = 1000
    for n_bytes in (32 * limit - 1, 32 * limit, 32 * limit + 1, 1_000_000):
        text = b"0" * n_bytes + b"\n"
        compressed, is_cut = kept(codec).fit(text, newline=True, limit=limit)
        inflated = INFLATE[codec](compressed)
        assert is_cut == (n_bytes > 32 * limit or codec == "snappy")
        assert len(inflated) <= 32 * limit + len(SUFFIX) + 1
        assert inflated == text or inflated.endswith(b"0" + SUFFIX + b"\n")
        assert len(compressed) <= limit


def test_few_tries_are_enough() -> None:
    class Counting:
        def __init__(self) -> None:
            self.calls = 0
            self.zstd = zstd_compressors(3)()

        def compress(self, data: memoryview) -> bytes:
            self.calls += 1
            return self.zstd.compress(data)

    for name, most in {"noise": 3, "lines": 5, "lines, then noise": 8, "by turns": 12}.items():
        counting = Counting()
        _, is_cut = Compressor("zstd", 0, counting).fit(to_cut()[name], newline=False, limit=90_000)
        assert is_cut
        assert counting.calls <= most, name


def test_an_error_of_zstd_is_passed_on() -> None:
    class Broken:
        def compress(self, data: memoryview) -> bytes:
            raise MemoryError(f"no room for {len(data)} bytes")

    with pytest.raises(MemoryError, match="no room for 5 bytes"):
        Compressor("zstd", 0, Broken()).compress(b"hello")
