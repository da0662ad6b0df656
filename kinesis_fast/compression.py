"""The codecs that records can be compressed with, and their levels; zstd as the core needs it."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from kinesis_fast.errors import ConfigError

# codec -> (lowest level, highest level, default for a single record, default for joined records)
_LEVELS: Final = {
    "gzip": (0, 9, 6, 3),
    "zlib": (0, 9, 6, 3),
    "zstd": (1, 22, 3, 1),
}
CODECS: Final = ("none", "gzip", "zlib", "zstd", "snappy")
LEVELS_IN_WORDS: Final = ", ".join(
    f"{name} {low} to {high}" for name, (low, high, _, _) in _LEVELS.items()
)
LEVELS_OF_ALL_CODECS: Final = (
    min(low for low, _, _, _ in _LEVELS.values()),
    max(high for _, high, _, _ in _LEVELS.values()),
)
_SPAN_BYTES: Final = 16  # two 64-bit integers


def levels_of(codec: str) -> range:
    """Return the levels that a codec has; an empty range if it has none."""
    if codec not in _LEVELS:
        return range(0)
    low, high, _, _ = _LEVELS[codec]
    return range(low, high + 1)


def default_level(codec: str, *, joined: bool) -> int | None:
    """Return the level a codec uses if none is given, None if it has no levels.

    Args:
        codec: one of CODECS.
        joined: whether many records are compressed together, with simple_aggregation.
    """
    if codec not in _LEVELS:
        return None
    _, _, alone, together = _LEVELS[codec]
    return together if joined else alone


class Zstd:
    """Compresses with zstd: one frame for each text, with its size and without a checksum.

    Frames do not depend on earlier ones. Only one thread at a time may use an instance; it gives up
    the GIL while it compresses.

    Args:
        library: the package zstandard.
        level: 1 to 22.
    """

    def __init__(self, library: Any, level: int) -> None:
        self._library = library
        self._compressor = library.ZstdCompressor(level=level)

    def compress(self, data: memoryview) -> bytes:
        """Return the frame of one text.

        Raises:
            MemoryError: zstd fails, for which there is no other reason.
        """
        try:
            frame: bytes = self._compressor.compress(data)
        except self._library.ZstdError as error:
            raise MemoryError(f"zstd cannot compress {len(data)} bytes: {error}") from None
        return frame

    def compress_all(
        self, texts: memoryview | list[memoryview], spans: memoryview | None = None
    ) -> Sequence[Any]:
        """Return the frame of each text, as objects with the buffer protocol.

        Args:
            texts: a list of texts, or all texts in one piece.
            spans: where each text is in that piece: two native unsigned 64-bit integers, its first
                byte and its length.

        Raises:
            MemoryError: zstd fails, for which there is no other reason.
        """
        n_texts = len(texts) if spans is None else spans.nbytes // _SPAN_BYTES
        n_bytes = sum(text.nbytes for text in texts) if isinstance(texts, list) else texts.nbytes
        if n_bytes == 0:
            return [self.compress(memoryview(b""))] * n_texts  # the library refuses no bytes at all
        try:
            parts = texts if spans is None else self._library.BufferWithSegments(texts, spans)
            frames: Sequence[Any] = self._compressor.multi_compress_to_buffer(parts)
        except self._library.ZstdError as error:
            raise MemoryError(f"zstd cannot compress: {error}") from None
        return frames


def zstd_compressors(level: int) -> Callable[[], Zstd]:
    """Return a function that makes compressors.

    Raises:
        ConfigError: the package zstandard is missing, or has no C code for this Python.
    """
    try:
        library = importlib.import_module("zstandard")
    except ImportError as error:
        raise ConfigError(
            f"option compression is 'zstd', but its library cannot be imported ({error}); install "
            "it for this Python: pip install 'kinesis-fast[zstd]'"
        ) from None
    if "multi_compress_to_buffer" not in library.backend_features:
        raise ConfigError(
            "option compression is 'zstd', but the package zstandard is without its C code "
            f"(its backend is {library.backend}); install a build for CPython"
        )
    return lambda: Zstd(library, level)
