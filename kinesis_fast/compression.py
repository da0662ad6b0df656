"""The codecs that records can be compressed with, and their levels."""

from typing import Final

# codec -> (lowest level, highest level, default for a single record, default for joined records)
_LEVELS: Final = {
    "gzip": (0, 9, 6, 6),
    "zlib": (0, 9, 6, 6),
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
