"""How the oracle reads a chunk: msgpack's Unpacker reads values, this module the structure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgpack
from oracle_text import Ext, Pairs, Unwritable

MAX_NESTING: Final = 128


class Malformed(Exception):
    """The bytes end early or are not msgpack."""


class Event(NamedTuple):
    """One event of a chunk; a malformed tail has neither time nor body."""

    offset: int  # where it starts in the chunk
    end: int  # where it ends
    moment: Any = None
    body: Any = None
    is_malformed: bool = False


@lru_cache(maxsize=32)
def read_events(chunk: bytes) -> list[Event]:
    """Return the events of a chunk; a malformed tail is the last event and ends with the chunk."""
    reader = Reader(chunk)
    events: list[Event] = []
    while reader.offset < len(chunk):
        offset = reader.offset
        try:
            moment, body = reader.event()
        except Malformed:
            return [*events, Event(offset, len(chunk), is_malformed=True)]
        events.append(Event(offset, reader.offset, moment, body))
    return events


class Reader:
    """Reads a chunk value by value."""

    def __init__(self, chunk: bytes) -> None:
        self._chunk = chunk
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=2**31 - 1)
        self._unpacker.feed(chunk)

    @property
    def offset(self) -> int:
        """Return how many bytes were read."""
        return int(self._unpacker.tell())

    def event(self) -> tuple[Any, Any]:
        """Read the time and the body of an event."""
        if self._kind() != "array" or self._call("read_array_header") != 2:
            raise Malformed
        return self._time(), self._value(1)

    def _time(self) -> Any:
        """Read the time of either layout: `time` or `[time, metadata]`."""
        if self._kind() != "array":
            return self._value(1)
        if self._call("read_array_header") != 2:
            raise Malformed
        moment = self._value(1)
        self._skip()
        return moment

    def _value(self, depth: int) -> Any:
        """Read one value; `depth` is the level of a map or an array here (the body is at 1)."""
        kind = self._kind()
        if kind == "scalar":
            return self._call("unpack")
        if kind == "ext":
            return self._ext()
        if depth > MAX_NESTING:
            self._skip()
            return Unwritable("skipped_too_deep")
        n_items = self._call(f"read_{kind}_header")
        if kind == "array":
            return [self._value(depth + 1) for _ in range(n_items)]
        return Pairs((self._key(), self._value(depth + 1)) for _ in range(n_items))

    def _key(self) -> Any:
        if self._kind() in ("map", "array"):
            self._skip()
            return Unwritable("skipped_bad_key")
        return self._value(0)

    def _skip(self) -> None:
        """Skip one value of any depth."""
        n_values = 1
        while n_values:
            n_values -= 1
            match self._kind():
                case "map":
                    n_values += 2 * self._call("read_map_header")
                case "array":
                    n_values += self._call("read_array_header")
                case "ext":
                    self._ext()
                case _:
                    self._call("unpack")

    def _kind(self) -> str:
        """Return the kind of value that the next byte starts."""
        offset = self.offset
        if offset == len(self._chunk):
            raise Malformed
        first = self._chunk[offset]
        if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
            return "map"
        if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
            return "array"
        if 0xC7 <= first <= 0xC9 or 0xD4 <= first <= 0xD8:
            return "ext"
        return "scalar"

    def _ext(self) -> Ext:
        """Read an extension; msgpack's own reader fails on invalid timestamps."""
        first = self._bytes(1)[0]
        if first >= 0xD4:
            n_bytes = 1 << (first - 0xD4)
        else:
            n_bytes = int.from_bytes(self._bytes(1 << (first - 0xC7)), "big")
        code = int.from_bytes(self._bytes(1), "big", signed=True)
        return Ext(code, self._bytes(n_bytes))

    def _bytes(self, n_bytes: int) -> bytes:
        data = bytes(self._unpacker.read_bytes(n_bytes))
        if len(data) < n_bytes:
            raise Malformed
        return data

    def _call(self, method: str) -> Any:
        try:
            return getattr(self._unpacker, method)()
        except (ValueError, msgpack.UnpackException) as error:
            raise Malformed from error
