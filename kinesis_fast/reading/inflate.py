"""Inflates data by its magic: gzip, zlib, zstd. Raw snappy has none and has to be named."""

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from kinesis_fast.errors import KinesisFastError
from kinesis_fast.limits import MIB
from kinesis_fast.reading import snappy

MAX_INFLATED_BYTES: Final = (
    64 * MIB
)  # of one record; ours: more is a bomb, or of no use to a reader
MAX_MEMBERS: Final = 100  # gzip members or zstd frames in one record; ours
MAX_WINDOW_BYTES: Final = 64 * MIB  # of zstd

GZIP_MAGIC: Final = b"\x1f\x8b\x08"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
ZLIB_METHOD: Final = 0x78  # deflate with a window of 32 KiB
ZLIB_CHECK: Final = 31  # the first two bytes are a multiple of it
ZLIB_DICTIONARY: Final = 0x20
GZIP_WBITS, ZLIB_WBITS = 31, 15  # of zlib.decompressobj

ZSTD_STEP: Final = 64  # bytes at a time, of which zstd makes 2 MiB at most


class InflateError(KinesisFastError):
    """The data cannot be inflated: it is damaged, in another format, or holds too much."""


class MissingLibraryError(KinesisFastError):
    """A package is missing; the message names the extra."""


class Inflated(NamedTuple):
    """The data of a record as its consumer sees it.

    Attributes:
        data: inflated, or as it was.
        compression: the format that it was in, None if it was not compressed.
        problem: why it looks compressed but could not be inflated; empty otherwise.
    """

    data: bytes
    compression: str | None = None
    problem: str = ""


def inflate(data: bytes, compression: str | None = None) -> Inflated:
    """Inflate data that begins like a compressed format, or that is said to be in one.

    Args:
        data: of a record.
        compression: a key of CODECS, "none" for data as it is, None to recognise the format.

    Returns:
        What was found. Data that cannot be inflated is returned as it is, with the problem. Two
        bytes are not much of a magic: text that happens to begin like zlib is no problem.

    Raises:
        MissingLibraryError: the format needs a package that is not installed.
    """
    name = compression or recognised(data)
    if name is None or name == "none":
        return Inflated(data)
    try:
        return Inflated(CODECS[name](data), name)
    except InflateError as error:
        is_text = compression is None and name == "zlib"
        return Inflated(data, problem="" if is_text else f"not {name}: {error}")


def recognised(data: bytes) -> str | None:
    """Return the format that data begins like."""
    if data.startswith(GZIP_MAGIC):
        return "gzip"
    if data.startswith(ZSTD_MAGIC):
        return "zstd"
    head = int.from_bytes(data[:2], "big")
    if head >> 8 == ZLIB_METHOD and not head % ZLIB_CHECK and not head & ZLIB_DICTIONARY:
        return "zlib"
    return None


def _gzip(data: bytes) -> bytes:
    return _members(data, lambda: zlib.decompressobj(GZIP_WBITS), zlib.error)


def _zlib(data: bytes) -> bytes:
    return _members(data, lambda: zlib.decompressobj(ZLIB_WBITS), zlib.error, max_members=1)


def _zstd(data: bytes) -> bytes:
    library = _zstd_library()
    decompressor = library.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    return _members(data, lambda: _ZstdFrame(decompressor), library.ZstdError)


def _snappy(data: bytes) -> bytes:
    try:
        return snappy.inflate(data, MAX_INFLATED_BYTES)
    except snappy.SnappyError as error:
        raise InflateError(str(error)) from error


CODECS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": _gzip,
    "zlib": _zlib,
    "zstd": _zstd,
    "snappy": _snappy,
}


def _members(
    data: bytes,
    new_decoder: Callable[[], Any],
    failure: type[Exception],
    max_members: int = MAX_MEMBERS,
) -> bytes:
    """Inflate members that stand one after another, up to MAX_INFLATED_BYTES in all."""
    parts: list[bytes] = []
    room = MAX_INFLATED_BYTES
    for _ in range(max_members):
        decoder = new_decoder()
        try:
            part = decoder.decompress(data, room + 1)
        except failure as error:
            raise InflateError(str(error)) from error
        room -= len(part)
        if room < 0:
            raise InflateError(f"it holds more than {MAX_INFLATED_BYTES // MIB} MiB")
        if not decoder.eof:
            raise InflateError("its end is missing")
        parts.append(part)
        data = decoder.unused_data
        if not data:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise InflateError(f"bytes follow after {max_members} of its parts")


class _ZstdFrame:
    """Decodes one frame, as an object of zlib.decompressobj decodes one member."""

    def __init__(self, decompressor: Any) -> None:
        self._decoder = decompressor.decompressobj()
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        """Whether the end of the frame was reached."""
        return bool(self._decoder.eof)

    def decompress(self, data: bytes, most: int) -> bytes:
        """Return what the frame holds; when that is more than `most`, some of it is missing."""
        parts: list[bytes] = []
        position = 0
        while position < len(data) and not self.eof and most > 0:
            parts.append(self._decoder.decompress(data[position : position + ZSTD_STEP]))
            position += ZSTD_STEP
            most -= len(parts[-1])
        self.unused_data = self._decoder.unused_data + data[position:]
        return b"".join(parts)


def _zstd_library() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise MissingLibraryError(
            f"a record is compressed with zstd, and its library cannot be imported ({error}): "
            "pip install 'kinesis-fast[zstd]', or show the records as they are stored with --raw"
        ) from None
