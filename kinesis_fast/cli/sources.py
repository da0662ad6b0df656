"""What `send` and `preview` read: files and pipes of several formats, as chunks of events.

A reader is fed the blocks of its input as they come and gives out chunks that end between two
events. It holds at most one chunk, one block and one unfinished event.
"""

import codecs
import json
import os
import select
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import msgpack

from kinesis_fast.cli.common import UsageError
from kinesis_fast.errors import KinesisFastError

BLOCK_BYTES: Final = 256 * 1024
CHUNK_BYTES: Final = 1024 * 1024  # a chunk is handed out as soon as it holds this much
MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
IDLE_S: Final = 0.2  # how long to wait for a pipe before looking after other things
NS: Final = 1_000_000_000

# msgpack arrays (fixarray of two elements, array 16, array 32): what an event may begin with.
EVENT_FIRST_BYTES: Final = frozenset({0x92, 0xDC, 0xDD})

BadLine = Callable[[int, str], None]


class InputError(KinesisFastError):
    """The input cannot be read on; the text says from where on, and why."""


class Reader(Protocol):
    """A format: it turns blocks of bytes into chunks of events."""

    position: int  # in the input, behind the last event handed out
    broken_at: int | None  # position from which on nothing can be read, None while all is well

    @property
    def n_bytes(self) -> int:
        """Bytes of the events that are ready."""

    def feed(self, block: bytes) -> None:
        """Take the next block of the input."""

    def finish(self) -> None:
        """Take the end of the input."""

    def take(self) -> bytes:
        """Hand out the events that are ready, as a chunk."""


class MsgpackReader:
    """A file of Fluent Bit events, one after the other, as in a chunk."""

    def __init__(self) -> None:
        self.position = 0
        self.broken_at: int | None = None
        self._raw = bytearray()
        self._n_ready = 0  # bytes of _raw that are whole events
        self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_EVENT_BYTES)

    @property
    def n_bytes(self) -> int:
        """Bytes of the events that are ready."""
        return self._n_ready

    def feed(self, block: bytes) -> None:
        """Take the next block of the input and find the ends of the events in it."""
        self._raw += block
        try:
            self._unpacker.feed(block)
            while self._n_ready < len(self._raw):
                if self._raw[self._n_ready] not in EVENT_FIRST_BYTES:
                    raise msgpack.FormatError
                self._unpacker.skip()
                self._n_ready = self._unpacker.tell() - self.position
        except msgpack.OutOfData:
            return
        except (msgpack.UnpackException, ValueError):
            self._break()

    def finish(self) -> None:
        """Let the chunk end with what is left, so that it is counted as what it is: malformed."""
        if self._n_ready < len(self._raw):
            self._break()

    def take(self) -> bytes:
        """Hand out the events that are ready, as a chunk."""
        chunk = bytes(self._raw[: self._n_ready])
        del self._raw[: self._n_ready]
        self.position += self._n_ready
        self._n_ready = 0
        return chunk

    def _break(self) -> None:
        self.broken_at = self.position + self._n_ready
        self._n_ready = len(self._raw)


class LineReader:
    """Text, each line an event of now.

    Args:
        body_of: returns the body of a line's event; a ValueError says why there is none, and a
            line of which it returns None is passed over.
        unicode_errors: how surrogates in the body become bytes.
        on_bad_line: is told the number of a line that cannot be sent, and why.
    """

    def __init__(
        self,
        body_of: Callable[[bytes], dict[str, Any] | None],
        unicode_errors: str,
        on_bad_line: BadLine,
    ) -> None:
        self.position = 0
        self.broken_at: int | None = None
        self._body_of = body_of
        self._on_bad_line = on_bad_line
        self._events = bytearray()
        self._unfinished = b""
        self._is_too_long = False
        self._n_lines = 0
        self._read_to = 0
        self._pack = msgpack.Packer(unicode_errors=unicode_errors).pack

    @property
    def n_bytes(self) -> int:
        """Bytes of the events that are ready."""
        return len(self._events)

    def feed(self, block: bytes) -> None:
        """Take the next block of the input and make events of the lines that are complete."""
        *lines, self._unfinished = (self._unfinished + block).split(b"\n")
        for line in lines:
            self._add(line, len(line) + 1)
        if len(self._unfinished) > MAX_LINE_BYTES:
            self._read_to += len(self._unfinished)
            self._unfinished = b""
            self._is_too_long = True

    def finish(self) -> None:
        """Make an event of a last line without a line end."""
        if self._unfinished or self._is_too_long:
            self._add(self._unfinished, len(self._unfinished))
            self._unfinished = b""

    def take(self) -> bytes:
        """Hand out the events that are ready, as a chunk."""
        chunk = bytes(self._events)
        self._events.clear()
        self.position = self._read_to
        return chunk

    def _add(self, line: bytes, n_bytes: int) -> None:
        self._n_lines += 1
        self._read_to += n_bytes
        try:
            if self._is_too_long or len(line) > MAX_LINE_BYTES:
                self._is_too_long = False
                raise ValueError(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
            body = self._body_of(line)
            if body is not None:
                self._events += self._pack([event_time(time.time_ns()), body])
        except (ValueError, OverflowError, RecursionError) as error:
            self._on_bad_line(self._n_lines, str(error))


def event_time(time_ns: int) -> msgpack.ExtType:
    """Return Fluent Bit's EventTime: seconds and nanoseconds, 32 bits each, big-endian."""
    return msgpack.ExtType(0, struct.pack(">II", *divmod(time_ns, NS)))


def body_of_text(line: bytes) -> dict[str, Any]:
    """Return the body for a line of plain text; bytes that are no UTF-8 stay what they are."""
    return {"log": line.removesuffix(b"\r").decode("utf-8", "surrogateescape")}


def body_of_json(line: bytes) -> dict[str, Any] | None:
    """Return the object that a line of JSON holds, None for an empty line.

    A byte order mark, which begins the files of some editors, is passed over.
    """
    if not line.removeprefix(codecs.BOM_UTF8).strip():
        return None
    try:
        text = line.decode().removeprefix("\ufeff")
        body = json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 at byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        problem = error.msg.removesuffix(" at")
        raise ValueError(f"no JSON: {problem} at character {error.pos + 1} of the line") from None
    if not isinstance(body, dict):
        raise ValueError(f"a JSON object is needed, this is {_json_name(body)}")
    return body


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"no JSON: {name} is no number there")


def _json_name(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


FORMATS: Final[dict[str, Callable[[BadLine], Reader]]] = {
    "msgpack": lambda on_bad_line: MsgpackReader(),
    "jsonl": lambda on_bad_line: LineReader(body_of_json, "surrogatepass", on_bad_line),
    "lines": lambda on_bad_line: LineReader(body_of_text, "surrogateescape", on_bad_line),
}
FORMATS_HELP: Final = (
    "formats (the time of a line is the time of reading it):\n"
    "  msgpack  Fluent Bit events: [time, record] or [[time, metadata], record], end to end\n"
    "  jsonl    a JSON object on each line; empty lines are passed over\n"
    '  lines    any text; a line becomes {"log": line}\n'
)


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file for reading, "-" being stdin, which stays open."""
    if name == "-":
        if sys.stdin is None:
            raise UsageError("stdin is closed")
        yield sys.stdin.buffer
        return
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"{name} is a directory, a file or - for stdin is needed")
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file


def size_of(file: BinaryIO) -> int | None:
    """Return the size of a regular file, None for a pipe or a terminal."""
    return os.fstat(file.fileno()).st_size if file.seekable() else None


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield what a file or pipe gives as it comes, and b"" whenever a pipe is idle.

    Raises:
        InputError: the system reports an error instead of the next bytes.
    """
    descriptor = file.fileno()
    n_read = 0
    while True:
        ready, _, _ = select.select([descriptor], [], [], IDLE_S)
        try:
            block = os.read(descriptor, BLOCK_BYTES) if ready else b""
        except OSError as error:
            raise InputError(f"cannot read on from byte {n_read:,}: {error.strerror}") from error
        if ready and not block:
            return
        n_read += len(block)
        yield block
