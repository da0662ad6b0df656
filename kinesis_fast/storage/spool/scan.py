"""What lies in the directories of a spool; reading only, but for what set_aside() and tidy() do."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kinesis_fast.errors import StorageError
from kinesis_fast.logs import Log, printable
from kinesis_fast.storage.directory import MAX_PATH, TEMPORARY, Directory
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
# The time keeps them in order, the random number apart.
_NAME: Final = re.compile(
    rf"(?P<chunk>[0-9]{{20}}-[0-9a-f]{{16}}\{CHUNK})"
    rf"(?P<suffix>\{DAMAGED}|\{PROGRESS}|(?:\{PROGRESS})?\{TEMPORARY})?",
    re.ASCII,
)
_SUB_DIRECTORY: Final = re.compile(r"(?P<stream>[A-Za-z0-9_.-]{1,128})\.(?P<number>[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a chunk.

    Attributes:
        name: of the file.
        n_bytes: its size.
        header: what it says of itself, None when that cannot be read.
        problem: why it cannot be used, empty when it can.
        is_damaged: whether it is not what was written; otherwise a problem may pass.
    """

    name: str
    n_bytes: int
    header: Header | None
    problem: str = ""
    is_damaged: bool = False


def chunk_name(time_ns: int, number: int) -> str:
    """Return the name for a chunk's file; number: 64 random bits."""
    return f"{time_ns:020d}-{number:016x}{CHUNK}"


def sub_directories(root: Directory) -> list[tuple[str, str]]:
    """Return stream and name of each instance's directory, by stream and number."""
    matches = (match for name in root.names() if (match := _SUB_DIRECTORY.fullmatch(name)))
    found = sorted((match["stream"], int(match["number"]), match[0]) for match in matches)
    return [(stream, name) for stream, _, name in found]


def look_through(directory: Directory) -> list[Found]:
    """Return the chunks in a directory, oldest first, those set aside included."""
    return [found for name in directory.names() if (found := _look_at(directory, name))]


def _look_at(directory: Directory, name: str) -> Found | None:
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
    """Rename a damaged chunk, so that nothing takes it for a whole one; a line tells."""
    path = printable(f"{directory.path}/{name}", MAX_PATH)
    try:
        directory.rename(name, name + DAMAGED)
    except StorageError as error:
        log.error("%s is damaged: %s; %s", path, problem, error)
    else:
        log.error("%s is damaged: %s; it is kept as %s%s", path, problem, name, DAMAGED)


def tidy(directory: Directory, chunks: list[Found]) -> None:
    """Remove what an end of the process has left half done; the directory has to be locked.

    That is a file that was being written, whose flush has never said OK, and the progress of a
    chunk that is gone.
    """
    there = {found.name for found in chunks}
    for name in directory.names():
        match = _NAME.fullmatch(name)
        if not match or not match["suffix"]:
            continue
        is_progress_of_none = match["suffix"] == PROGRESS and match["chunk"] not in there
        if match["suffix"].endswith(TEMPORARY) or is_progress_of_none:
            directory.remove(name)


def read_payload(directory: Directory, name: str, header: Header) -> bytes | None:
    """Return the payload of a chunk, None when it is not what was written, or gone."""
    content = directory.read(name)
    if content is None:
        return None
    with memoryview(content.data) as view:
        payload = bytes(view[header.n_bytes :])
    return payload if payload_digest(payload) == header.payload_digest else None


def progress_of(directory: Directory, found: Found) -> bytes:
    """Return the bits of a chunk's settled events, none when nothing is known of them."""
    try:
        content = directory.read(found.name + PROGRESS)
    except StorageError:  # it only saves sending again what has arrived
        return b""
    if content is None or found.header is None:
        return b""
    return parse_progress(found.header.digest, content.data)


def each_directory(root: Directory, log: Log) -> Iterator[tuple[str, Directory]]:
    """Yield stream and directory of each instance, opened for the caller to close.

    One that cannot be opened is named in a line and left out.
    """
    for stream, name in sub_directories(root):
        try:
            directory = root.child(name)
        except StorageError as error:
            log.error("part of the spool is left out: %s", error)
            continue
        yield stream, directory
