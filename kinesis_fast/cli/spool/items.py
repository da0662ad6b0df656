"""What `spool` works on: items (chunks or dead letters), their source, and their selection."""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from kinesis_fast.cli.sources import events
from kinesis_fast.config import OutputConfig

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
        path: its file; for a letter also the line.
        n_bytes: size of the chunk or of the event.
        time_ns: when a chunk was spooled, or the time of a letter's event; nanoseconds since
            1970, None when it cannot be read.
        tag: Fluent Bit's name for the source.
        region: region of the stream.
        stream: the stream it is for.
        n_records: number of its records.
        n_settled: number of its events that are already delivered or dead.
        remark: which options differ, what is wrong, or why a letter is dead.
        payload: its events; empty when it is damaged.
        settled: a bit per event, see SpooledChunk.
        options: the options a chunk was spooled with; empty for a letter.
        line: the line of a letter's file; empty for a chunk.
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
    """A directory with items.

    Attributes:
        noun: what an item is called.
        is_one_record: whether each item is a single record.
        is_in_use: whether sift() left out a directory because a running output uses it.
    """

    noun: str
    is_one_record: bool
    is_in_use: bool

    def items(self) -> Iterator[Item]:
        """Yield all items, oldest first, without any lock."""

    def sift(self, visit: Visit) -> None:
        """Call visit with every item, under the locks needed; remove it if visit returns True."""


@dataclass(frozen=True)
class Selection:
    """Which items are selected.

    Attributes:
        older_than_ns: at least this old; None for any age.
        stream: name or ARN of the stream they are for; None for any.
        damaged: whether only damaged ones are selected.
    """

    older_than_ns: int | None = None
    stream: str | None = None
    damaged: bool = False

    def holds(self, item: Item) -> bool:
        """Tell whether an item is selected; one without a time never is, if an age is given."""
        if self.damaged and item.state != DAMAGED:
            return False
        if self.stream is not None and item.stream != self.stream:
            return False
        if self.older_than_ns is None:
            return True
        return item.time_ns is not None and item.time_ns <= time.time_ns() - self.older_than_ns


class Task(NamedTuple):
    """What one action has to do; config is None when no options of an output were given."""

    source: Source
    selection: Selection
    config: OutputConfig | None
    arguments: Namespace


def is_set(bits: bytes, number: int) -> bool:
    """Tell whether a bit is 1; the lowest bit of a byte is its first, bits beyond the end are 0."""
    octet, bit = divmod(number, 8)
    return octet < len(bits) and bool(bits[octet] >> bit & 1)


def n_set(bits: bytes) -> int:
    """Return how many bits are 1."""
    return int.from_bytes(bits).bit_count()
