"""Reads compressed data with the codecs' own libraries."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import cramjam
import zstandard

SUFFIX: Final = b"[Truncated...]"


def _snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.decompress_raw(data))


INFLATE: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "none": bytes,
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
    "zstd": zstandard.decompress,  # fails if the frame does not tell the size of its content
    "snappy": _snappy,
}
CODECS: Final = tuple(name for name in INFLATE if name != "none")


def random_letters(rng: Random, letters: bytes, n_bytes: int) -> bytes:
    """Return a text of these letters, in a hundredth of the time that rng.choices would take."""
    table = (letters * (256 // len(letters) + 1))[:256]
    return rng.randbytes(n_bytes).translate(table)
