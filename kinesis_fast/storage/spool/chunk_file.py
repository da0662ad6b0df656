"""The file formats of a spooled chunk and of its progress.

The file of a chunk, numbers big-endian::

    8 bytes   magic "kf-spool"
    4         format version, 1
    4         length of the fields
    8         length of the payload
    32        SHA-256 of the payload
    n         fields: JSON with "tag", "time_ns" (since 1970), "options" (see `identity`)
    32        SHA-256 of everything before
    n         payload: the chunk as Fluent Bit passed it

Every later version begins in the same way, up to the checksum of the header: so a version that
cannot be read is told from damage.

The file of its progress::

    8 bytes   magic "kf-progr"
    n         a bit for each event, in order, lowest bit first: 1 when it is settled
    32        SHA-256 of the chunk's 32 bytes before the payload, followed by the bits

SHA-256, because processors have instructions for it: with them it is more than twice as fast as
BLAKE2b.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

MAX_HEADER_BYTES: Final = 1 << 20  # a longer header is never written, so it is damage
FIRST_BYTES: Final = 4096  # almost every header is shorter

_MAGIC: Final = b"kf-spool"
_PROGRESS_MAGIC: Final = b"kf-progr"
_VERSION: Final = 1
_PREFIX: Final = struct.Struct(">8sIIQ32s")
_DIGEST_BYTES: Final = 32


class UnknownVersion(ValueError):
    """Another version of this package wrote the file."""


@dataclass(frozen=True, slots=True)
class Header:
    """What comes before the payload.

    Attributes:
        tag: Fluent Bit's name for the source.
        time_ns: when it was spooled, nanoseconds since 1970.
        options: those that it was spooled with, see `identity`.
        n_payload: bytes of the payload.
        payload_digest: SHA-256 of the payload.
        digest: SHA-256 of the header.
        n_bytes: of the header.
    """

    tag: str
    time_ns: int
    options: dict[str, str]
    n_payload: int
    payload_digest: bytes
    digest: bytes
    n_bytes: int


def encode_header(
    tag: str, time_ns: int, options: dict[str, str], payload: bytes | memoryview
) -> bytes:
    """Return the header of a payload. ValueError when it would exceed MAX_HEADER_BYTES."""
    fields = json.dumps(
        {"tag": tag, "time_ns": time_ns, "options": options},
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    if len(fields) > MAX_HEADER_BYTES - _PREFIX.size - _DIGEST_BYTES:
        raise ValueError(f"its tag and options need {len(fields)} bytes, too much for a header")
    n_payload = memoryview(payload).nbytes
    prefix = _PREFIX.pack(_MAGIC, _VERSION, len(fields), n_payload, payload_digest(payload))
    return prefix + fields + hashlib.sha256(prefix + fields).digest()


def header_length(first: bytes) -> int:
    """Return the length in bytes of the header that starts with these bytes.

    Raises:
        ValueError: this is not a header; the text says why.
    """
    if len(first) < _PREFIX.size or not first.startswith(_MAGIC):
        raise ValueError("it does not start like a spooled chunk")
    _, _, n_fields, _, _ = _PREFIX.unpack_from(first)
    n_bytes: int = _PREFIX.size + n_fields + _DIGEST_BYTES
    if n_bytes > MAX_HEADER_BYTES:
        raise ValueError(f"its header claims a length of {n_bytes} bytes")
    return n_bytes


def parse_header(first: bytes, n_file: int) -> Header:
    """Return the header of a file.

    Args:
        first: the start of the file: header_length() bytes, or all if it has fewer.
        n_file: bytes of the whole file.

    Raises:
        UnknownVersion: another version of this package wrote it.
        ValueError: it is damaged; the text says how.
    """
    n_bytes = header_length(first)
    end = n_bytes - _DIGEST_BYTES
    digest = first[end:n_bytes]
    if hashlib.sha256(first[:end]).digest() != digest:
        raise ValueError("the checksum of its header is wrong")
    _, version, _, n_payload, digest_of_payload = _PREFIX.unpack_from(first)
    if version != _VERSION:
        raise UnknownVersion(f"its format version is {version}, only {_VERSION} can be read")
    if n_file != n_bytes + n_payload:
        raise ValueError(f"it has {n_file} bytes instead of {n_bytes + n_payload}")
    fields: dict[str, Any] = json.loads(first[_PREFIX.size : end])
    return Header(
        tag=fields["tag"],
        time_ns=fields["time_ns"],
        options=fields["options"],
        n_payload=n_payload,
        payload_digest=digest_of_payload,
        digest=digest,
        n_bytes=n_bytes,
    )


def digest_of(header: bytes) -> bytes:
    """Return the checksum that a whole header ends with."""
    return header[-_DIGEST_BYTES:]


def payload_digest(payload: bytes | memoryview) -> bytes:
    """Return the checksum of a payload."""
    return hashlib.sha256(payload).digest()


def encode_progress(header_digest: bytes, bits: bytes) -> bytes:
    """Return the content of a progress file; bits: one for each event."""
    return _PROGRESS_MAGIC + bits + hashlib.sha256(header_digest + bits).digest()


def parse_progress(header_digest: bytes, file: bytes) -> bytes:
    """Return the bits; none when the file is damaged or belongs to another chunk."""
    bits, digest = file[len(_PROGRESS_MAGIC) : -_DIGEST_BYTES], file[-_DIGEST_BYTES:]
    is_whole = file.startswith(_PROGRESS_MAGIC) and (
        hashlib.sha256(header_digest + bits).digest() == digest
    )
    return bits if is_whole else b""
