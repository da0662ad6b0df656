"""What `spool` works on: a chunk or a dead letter, whichever it is, and which of them are meant."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgpack

from kinesis_fast.cli.sources import MAX_EVENT_BYTES
from kinesis_fast.storage.dead_letters import NS

WAITING: Final = "waiting"
DEAD: Final = "dead"
CUT: Final = "cut"
OTHER_OPTIONS: Final = "other options"
OTHER_STREAM: Final = "other stream"
DAMAGED: Final = "damaged"
UNREADABLE: Final = "unreadable"
SENDABLE: Final = frozenset({WAITING, DEAD, OTHER_OPTIONS, OTHER_STREAM})


@dataclass(frozen=True)
class Item:
    """A spooled chunk or a dead letter.

    Attributes:
        state: one of the constants above.
        path: where it lies.
        n_bytes: of the chunk or of the event.
        time_ns: when it was spooled, or of the event; None when that cannot be read.
        tag: Fluent Bit's name for the source.
        region: of the stream.
        stream: what it is for.
        n_records: records of it.
        n_settled: events of it that were delivered or are dead already.
        remark: what differs, what is wrong, or why the letter is dead.
        payload: events; empty when it is damaged.
        settled: a bit per event, see SpooledChunk.
        options: what it was spooled with; empty for a letter.
        line: of a letter, as it stands in its file.
    """

    state: str
    path: str
    n_bytes: int
    time_ns: int | None = None
    tag: str = ""
    region: str = ""
    stream: str = ""
    n_records: int = 0
    n_settled: int = 0
    remark: str = ""
    payload: bytes = field(default=b"", repr=False)
    settled: bytes = field(default=b"", repr=False)
    options: dict[str, str] = field(default_factory=dict)
    line: bytes = field(default=b"", repr=False)

    @property
    def unsettled(self) -> bytes:
        """The payload without the events that are settled."""
        if not any(self.settled):
            return self.payload
        return b"".join(
            event
            for number, event in enumerate(events(self.payload))
            if not is_set(self.settled, number)
        )


Visit = Callable[[Item], bool]


class Source(Protocol):
    """A place where items lie."""

    noun: str  # what an item is called

    def items(self) -> Iterator[Item]:
        """Yield all items, oldest first, without any lock."""

    def sift(self, visit: Visit) -> None:
        """Show every item to visit, with whatever lock is needed, and remove it if it says so."""


@dataclass(frozen=True)
class Selection:
    """Which items are meant.

    Attributes:
        older_than_ns: at least this old; None for any age.
        stream: what they are for, the name or the ARN; None for any.
        damaged: whether only damaged ones are meant.
    """

    older_than_ns: int | None = None
    stream: str | None = None
    damaged: bool = False

    def holds(self, item: Item) -> bool:
        """Tell whether an item is meant; one without a time is of any age only."""
        if self.damaged and item.state != DAMAGED:
            return False
        if self.stream is not None and item.stream != self.stream:
            return False
        if self.older_than_ns is None:
            return True
        return item.time_ns is not None and item.time_ns <= time.time_ns() - self.older_than_ns


def is_set(bits: bytes, number: int) -> bool:
    """Tell whether a bit is 1; lowest bit of each byte first, those beyond the end are 0."""
    octet, bit = divmod(number, 8)
    return octet < len(bits) and bool(bits[octet] >> bit & 1)


def n_set(bits: bytes) -> int:
    """Return how many bits are 1."""
    return int.from_bytes(bits).bit_count()


def events(payload: bytes) -> Iterator[bytes]:
    """Yield each event of a chunk, and what is left when it cannot be read on."""
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
        if end == len(payload):
            return
        begin = end


def seconds_ns(seconds: float) -> int:
    """Return nanoseconds."""
    return int(seconds * NS)
