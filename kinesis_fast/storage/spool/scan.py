"""The files in the directories of a spool. Only set_aside() and tidy() change anything."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from kinesis_fast.errors import StorageError
from kinesis_fast.logs import Log
from kinesis_fast.storage.directory import TEMPORARY, Content, Directory, shown
from kinesis_fast.storage.spool.chunk_file import (
    FIRST_BYTES,
    Header,
    UnknownVersion,
    header_length,
    parse_header,
    parse_progress,
    payload_digest,
)

CHUNK: Final = ".chunk"
PROGRESS: Final = ".progress"
DAMAGED: Final = ".damaged"
NS: Final = 1_000_000_000
# The time sorts the names, the random number makes them unique.
_NAME: Final = re.compile(
    rf"(?P<chunk>[0-9]{{20}}-[0-9a-f]{{16}}\{CHUNK})"
    rf"(?P<suffix>\{DAMAGED}|\{PROGRESS}|(?:\{PROGRESS})?\{TEMPORARY})?",
    re.ASCII,
)
_SUB_DIRECTORY: Final = re.compile(r"(?P<stream>[A-Za-z0-9_.-]{1,128})\.(?P<number>[0-9]{1,9})")


class Size(NamedTuple):
    """Name and bytes of a chunk's file, bytes of its progress, and whether it was set aside."""

    name: str
    n_bytes: int
    n_progress: int
    is_set_aside: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The file of a chunk, damaged or not.

    Attributes:
        name: of the file.
        n_bytes: its size.
        header: None when it cannot be read.
        problem: why the chunk cannot be used, empty when it can.
        is_damaged: whether its content is not what was written. Any other problem may be temporary.
    """

    name: str
    n_bytes: int
    header: Header | None
    problem: str = ""
    is_damaged: bool = False


def chunk_name(time_ns: int, number: int) -> str:
    """Return the name of a new chunk's file; number: 64 random bits."""
    return f"{time_ns:020d}-{number:016x}{CHUNK}"


def spooled_at(name: str) -> int:
    """Return when a chunk was spooled, seconds since 1970, by the name of its file."""
    return int(name.partition("-")[0]) // NS


def sub_directories(root: Directory) -> list[tuple[str, str]]:
    """Return stream and name of each output's directory, sorted by stream and number."""
    matches = (match for name in root.names() if (match := _SUB_DIRECTORY.fullmatch(name)))
    found = sorted((match["stream"], int(match["number"]), match[0]) for match in matches)
    return [(stream, name) for stream, _, name in found]


def look_through(directory: Directory) -> list[Found]:
    """Return the chunks in a directory, oldest first, with those that were set aside."""
    return list(each_chunk(directory))


def each_chunk(directory: Directory) -> Iterator[Found]:
    """Yield what look_through() returns, one by one: a spool may hold a great many chunks."""
    for name in directory.names():
        if found := _find(directory, name):
            yield found


def each_size(directory: Directory) -> Iterator[Size]:
    """Yield the sizes of the chunks in a directory, oldest first, without reading them."""
    names = directory.names()
    with_progress = {name for name in names if name.endswith(PROGRESS)}
    for name in names:
        match = _NAME.fullmatch(name)
        if not match or match["suffix"] not in {None, DAMAGED}:
            continue
        n_bytes = directory.size(name)
        if n_bytes is not None:
            progress = name + PROGRESS
            n_progress = directory.size(progress) if progress in with_progress else 0
            yield Size(name, n_bytes, n_progress or 0, match["suffix"] == DAMAGED)


def _find(directory: Directory, name: str) -> Found | None:
    match = _NAME.fullmatch(name)
    if not match or match["suffix"] not in {None, DAMAGED}:
        return None
    n_bytes = 0
    try:
        content = directory.read(name, FIRST_BYTES)
        if content is None:  # removed since
            return None
        n_bytes = content.n_bytes
        if match["suffix"]:
            return Found(name, n_bytes, None, "set aside as damaged", is_damaged=True)
        n_header = header_length(content.data)
        if n_header > len(content.data):
            content = directory.read(name, n_header) or content
        return Found(name, n_bytes, parse_header(content.data, n_bytes))
    except (StorageError, UnknownVersion) as error:
        return Found(name, n_bytes, None, str(error))
    except (ValueError, KeyError, RecursionError) as error:
        return Found(name, n_bytes, None, str(error), is_damaged=True)


def set_aside(directory: Directory, name: str, problem: str, log: Log) -> None:
    """Rename a damaged chunk, so that it is never sent, and log an error."""
    path = shown(f"{directory.path}/{name}")
    try:
        directory.rename(name, name + DAMAGED)
    except StorageError as error:
        log.error("%s is damaged: %s; %s", path, problem, error)
    else:
        log.error("%s is damaged: %s; it is renamed to %s%s", path, problem, name, DAMAGED)


def tidy(directory: Directory, chunks: Collection[str]) -> None:
    """Remove what a process left unfinished when it ended; the directory must be locked.

    That is an unfinished file, whose flush has never said OK, and the progress of a removed chunk.
    """
    names = frozenset(chunks)
    for name in directory.names():
        match = _NAME.fullmatch(name)
        if not match or not match["suffix"]:
            continue
        is_orphan = match["suffix"] == PROGRESS and match["chunk"] not in names
        if match["suffix"].endswith(TEMPORARY) or is_orphan:
            directory.remove(name)


def read_payload(directory: Directory, name: str, header: Header) -> bytes | None:
    """Return the payload of a chunk, None when the file is damaged or missing."""
    content = directory.read(name)
    try:
        return None if content is None else _payload(content, header)
    except ValueError:
        return None


def read_chunk(directory: Directory, name: str) -> tuple[Header, bytes] | None:
    """Return header and payload of a chunk, None when the file is missing.

    Raises:
        UnknownVersion: another version of this package wrote it.
        ValueError: it is damaged; the text says how.
    """
    content = directory.read(name)
    if content is None:
        return None
    try:
        header = parse_header(content.data, content.n_bytes)
    except (KeyError, RecursionError) as error:
        raise ValueError(f"its header cannot be read: {error!r}") from error
    return header, _payload(content, header)


def _payload(content: Content, header: Header) -> bytes:
    with memoryview(content.data) as view:
        payload = bytes(view[header.n_bytes :])
    if payload_digest(payload) != header.payload_digest:
        raise ValueError("the checksum of its payload is wrong")
    return payload


def progress_of(directory: Directory, name: str, header: Header) -> bytes:
    """Return the bits of a chunk's settled events, none when its progress cannot be read."""
    try:
        content = directory.read(name + PROGRESS)
    except StorageError:  # progress only avoids duplicates, so the chunk can be sent without it
        return b""
    return b"" if content is None else parse_progress(header.digest, content.data)


def each_directory(root: Directory, log: Log) -> Iterator[tuple[str, Directory]]:
    """Yield stream and open directory of each output; the caller closes the directory.

    A directory that cannot be opened is logged and skipped.
    """
    for stream, name in sub_directories(root):
        try:
            directory = root.child(name)
        except StorageError as error:
            log.error("skipped one directory of the spool: %s", error)
            continue
        yield stream, directory
