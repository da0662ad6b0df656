"""What `send` and `preview` read: files and pipes of several formats, as chunks of events.

A reader is fed the blocks of its input and returns chunks of whole events. It holds at most one
chunk, one block and one unfinished event.
"""

import codecs
import json
import math
import os
import re
import select
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgpack

from kinesis_fast.cli.common import UsageError, complain
from kinesis_fast.errors import KinesisFastError

BLOCK_BYTES: Final = 256 * 1024
CHUNK_BYTES: Final = 1024 * 1024  # a chunk is taken as soon as it is this large
MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
IDLE_S: Final = 0.2  # how long to wait for a pipe before yielding an empty block
NS: Final = 1_000_000_000

# msgpack arrays (fixarray of two elements, array 16, array 32): what an event may begin with.
EVENT_FIRST_BYTES: Final = frozenset({0x92, 0xDC, 0xDD})

MAX_BAD_LINES_SHOWN: Final = 10
# The integers that msgpack can hold; all that are shorter than the first number of characters fit.
MAX_INTEGER: Final = 2**64 - 1
MIN_INTEGER: Final = -(2**63)
SAFE_DIGITS, MAX_DIGITS = 19, 20
NOT_UTF8: Final = "bytes that are not UTF-8, now U+FFFD"
TOO_LARGE: Final = "integers beyond 64 bits, now doubles"
LONE_SURROGATE: Final = "lone surrogates, now U+FFFD"
JSON_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
LONE_BYTE: Final = re.compile("[\udc80-\udcff]")  # as surrogateescape decodes a bad byte
# Byte order marks; that of UTF-32 begins as that of UTF-16.
FOREIGN_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class InputError(KinesisFastError):
    """Reading the input failed; the text says at which byte and why."""


class Reader(ABC):
    """An input format: turns blocks of bytes into chunks of events.

    Attributes:
        position: in the input, after the last event that was taken.
        broken_at: position from which on the input cannot be read, None while it can.
        n_bytes: bytes of the events that are ready.
    """

    def __init__(self) -> None:
        self.position = 0
        self.broken_at: int | None = None
        self.n_bytes = 0

    @abstractmethod
    def feed(self, block: bytes) -> None:
        """Take the next block of the input and find the events in it."""

    @abstractmethod
    def finish(self) -> None:
        """Take the end of the input."""

    @abstractmethod
    def take(self) -> bytes:
        """Return the events that are ready, as a chunk."""


class Remarks:
    """What a reader of lines has to say.

    Args:
        tell: takes a sentence for the user.

    Attributes:
        n_bad_lines: lines that cannot be sent.
        changed: by what was changed in a line, and to what, how often.
    """

    def __init__(self, tell: Callable[[str], None] = complain) -> None:
        self.tell = tell
        self.n_bad_lines = 0
        self.changed: Counter[str] = Counter()

    def bad_line(self, number: int, reason: str) -> None:
        """Count a line that cannot be sent, and tell why; of many only the first."""
        self.n_bad_lines += 1
        if self.n_bad_lines <= MAX_BAD_LINES_SHOWN:
            self.tell(f"line {number:,}: {reason}")
        elif self.n_bad_lines == MAX_BAD_LINES_SHOWN + 1:
            self.tell("more bad lines follow; they are counted but not shown")


class MsgpackReader(Reader):
    """Reads Fluent Bit events that follow each other, as in a chunk.

    When the input is malformed or ends within an event, the last chunk includes the rest, so that
    it is counted as malformed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._raw = bytearray()  # its first n_bytes are whole events
        self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_EVENT_BYTES)

    def feed(self, block: bytes) -> None:
        self._raw += block
        try:
            self._unpacker.feed(block)
            while self.n_bytes < len(self._raw):
                if self._raw[self.n_bytes] not in EVENT_FIRST_BYTES:
                    raise msgpack.FormatError
                self._unpacker.skip()
                self.n_bytes = self._unpacker.tell() - self.position
        except msgpack.OutOfData:
            return
        except (msgpack.UnpackException, ValueError):
            self._break()

    def finish(self) -> None:
        if self.n_bytes < len(self._raw):
            self._break()

    def take(self) -> bytes:
        chunk = bytes(self._raw[: self.n_bytes])
        del self._raw[: self.n_bytes]
        self.position += self.n_bytes
        self.n_bytes = 0
        return chunk

    def _break(self) -> None:
        self.broken_at = self.position + self.n_bytes
        self.n_bytes = len(self._raw)


class LineReader(Reader):
    """Reads text; each line becomes an event with the current time.

    Args:
        body_of: returns the body of a line's event, or None to skip the line; raises ValueError
            with the reason when the line cannot be sent.
        unicode_errors: how surrogates in the body become bytes.
        remarks: takes what there is to say about the lines.
    """

    def __init__(
        self,
        body_of: Callable[[bytes], dict[str, Any] | None],
        unicode_errors: str,
        remarks: Remarks,
    ) -> None:
        super().__init__()
        self._body_of = body_of
        self._remarks = remarks
        self._events = bytearray()
        self._unfinished = b""
        self._is_too_long = False
        self._n_lines = 0
        self._read_to = 0
        self._pack = msgpack.Packer(unicode_errors=unicode_errors).pack

    def feed(self, block: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + block).split(b"\n")
        for line in lines:
            self._add(line, len(line) + 1)
        if len(self._unfinished) > MAX_LINE_BYTES:
            self._read_to += len(self._unfinished)
            self._unfinished = b""
            self._is_too_long = True

    def finish(self) -> None:
        if self._unfinished or self._is_too_long:  # a last line without a line end
            self._add(self._unfinished, len(self._unfinished))
            self._unfinished = b""

    def take(self) -> bytes:
        chunk = bytes(self._events)
        self._events.clear()
        self.n_bytes = 0
        self.position = self._read_to
        return chunk

    def _add(self, line: bytes, n_bytes: int) -> None:
        self._n_lines += 1
        self._read_to += n_bytes
        try:
            if self._is_too_long or len(line) > MAX_LINE_BYTES:
                self._is_too_long = False
                raise ValueError(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
            if self._n_lines == 1:
                line = self._without_mark(line)
            body = self._body_of(line)
            if body is not None:
                self._events += self._pack([event_time(time.time_ns()), body])
                self.n_bytes = len(self._events)
        except (ValueError, OverflowError, RecursionError) as error:
            self._remarks.bad_line(self._n_lines, str(error))

    def _without_mark(self, line: bytes) -> bytes:
        """Return the first line of the input without a byte order mark; warn of a foreign one."""
        for mark, encoding in FOREIGN_MARKS.items():
            if line.startswith(mark):
                self._remarks.tell(
                    f"warning: the input begins as {encoding} text, but is read as UTF-8; convert "
                    f"it first: iconv -f {encoding} -t UTF-8"
                )
                break
        return line.removeprefix(codecs.BOM_UTF8)


def events(payload: bytes) -> Iterator[bytes]:
    """Yield each event of a chunk, then the rest when it is malformed."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(MAX_EVENT_BYTES, len(payload)))
    unpacker.feed(payload)
    begin = 0
    while begin < len(payload):
        try:
            unpacker.skip()
            end = unpacker.tell()
        except (msgpack.UnpackException, ValueError):
            end = len(payload)
        yield payload[begin:end]
        begin = end


def malformed(position: int) -> str:
    """Return what to say about an input that is malformed from a byte on."""
    text = f"malformed from byte {position:,} on: the rest cannot be read"
    hint = "; it was read as msgpack, the default: for text give --format jsonl or --format lines"
    return text if position else text + hint


def event_time(time_ns: int) -> msgpack.ExtType:
    """Return Fluent Bit's EventTime: seconds and nanoseconds, 32 bits each, big-endian."""
    return msgpack.ExtType(0, struct.pack(">II", *divmod(time_ns, NS)))


def body_of_text(line: bytes) -> dict[str, Any]:
    """Return the body for a line of plain text; bytes that are not UTF-8 are kept."""
    return {"log": line.removesuffix(b"\r").decode("utf-8", "surrogateescape")}


class JsonLines:
    """Makes bodies of lines of JSON.

    Args:
        changed: counts by sentence what is changed.
    """

    def __init__(self, changed: Counter[str]) -> None:
        self._changed = changed
        decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=self._number)
        self._decode = decoder.decode

    def body_of(self, line: bytes) -> dict[str, Any] | None:
        """Return the object in a line, None for an empty line; a byte order mark is ignored.

        Each byte that is not UTF-8 becomes U+FFFD, as in the records of other inputs.
        """
        line = line.removeprefix(codecs.BOM_UTF8)  # in the middle of the input: of a second file
        if not line.strip():
            return None
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text, n_bad = LONE_BYTE.subn("\ufffd", line.decode("utf-8", "surrogateescape"))
            self._changed[NOT_UTF8] += n_bad
        if "\\ud" in text or "\\uD" in text:
            text = JSON_ESCAPE.sub(self._without_lone_surrogate, text)
        try:
            body = self._decode(text)
        except json.JSONDecodeError as error:
            problem = f"{error.msg.removesuffix(' at')} at character {error.pos + 1} of the line"
            raise ValueError(f"not JSON: {problem}") from None
        if not isinstance(body, dict):
            raise ValueError(f"not a JSON object but {_json_name(body)}")
        return body

    def _number(self, digits: str) -> int | float:
        """Return an integer, or the nearest double, maybe infinite, if msgpack cannot hold it."""
        if len(digits) < SAFE_DIGITS or (
            len(digits) <= MAX_DIGITS and MIN_INTEGER <= int(digits) <= MAX_INTEGER
        ):
            return int(digits)
        value = float(digits)
        if math.isfinite(value):  # the encoder makes null of an infinite one, and counts it
            self._changed[TOO_LARGE] += 1
        return value

    def _without_lone_surrogate(self, escape: re.Match[str]) -> str:
        if escape[1] is None:
            return escape[0]
        self._changed[LONE_SURROGATE] += 1
        return r"\ufffd"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"not JSON: {name} is not a JSON number")


def _json_name(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


FORMATS: Final[dict[str, Callable[[Remarks], Reader]]] = {
    "msgpack": lambda _remarks: MsgpackReader(),
    "jsonl": lambda remarks: LineReader(JsonLines(remarks.changed).body_of, "strict", remarks),
    "lines": lambda remarks: LineReader(body_of_text, "surrogateescape", remarks),
}
FORMATS_HELP: Final = (
    "formats (the time of a line is the time when it is read):\n"
    "  msgpack  Fluent Bit events: [time, record] or [[time, metadata], record], concatenated\n"
    "  jsonl    a JSON object on each line; empty lines are skipped. Integers beyond 64 bits\n"
    "           become doubles, bytes that are not UTF-8 and lone surrogates become U+FFFD;\n"
    "           all are counted\n"
    '  lines    any text; a line becomes {"log": line}\n'
)


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file for reading; "-" is stdin, which stays open."""
    if name == "-":
        if sys.stdin is None:
            raise UsageError("stdin is closed")
        yield sys.stdin.buffer
        return
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"{name} is a directory; give a file, or - for stdin")
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
    """Yield blocks of a file or pipe as they come, and b"" whenever a pipe is idle.

    Raises:
        InputError: the system reports an error.
    """
    descriptor = file.fileno()
    n_read = 0
    while True:
        ready, _, _ = select.select([descriptor], [], [], IDLE_S)
        try:
            block = os.read(descriptor, BLOCK_BYTES) if ready else b""
        except OSError as error:
            raise InputError(
                f"cannot read the input from byte {n_read:,} on: {error.strerror}"
            ) from error
        if ready and not block:
            return
        n_read += len(block)
        yield block
