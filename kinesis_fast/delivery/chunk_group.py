"""Spooled chunks that share a delivery: small ones of the same tag, so that they share requests.

Events of msgpack stand one after the other, so the payloads of several chunks are the payload of
one. Only chunks that consist of whole events are put together: after a malformed one, nothing can
be read. Their bits stand one after the other as well, and each chunk is removed when all of its own
bits are set, whatever became of the others.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Chunk, StoredChunk
from kinesis_fast.delivery.settle import MAX_TAG
from kinesis_fast.limits import KIB, MIB
from kinesis_fast.logs import printable
from kinesis_fast.stats import ChunkAccount

REQUESTS_PER_NOTE: Final = 8  # settled requests after which progress is written down
MAX_SHARING_BYTES: Final = 256 * KIB  # of a chunk's file; a larger one is delivered alone
MIN_GROUP_BYTES: Final = 64 * KIB  # of files that are put together even while workers are idle
MAX_GROUP_BYTES: Final = 2 * MIB  # of files that are put together
NOT_COUNTED: Final = -1
MAX_PATH: Final = 500  # characters in a log line


@dataclass(order=True, slots=True)
class Entry:
    """A chunk on disk that is to be delivered; entries are ordered by when they are due.

    There may be a great many, so an entry has no account of its own while it waits.

    Attributes:
        due: when it may be tried, in seconds of the clock.
        number: entries that are due at the same time go in this order.
        stored: the chunk.
        n_pending: its records in the counter `pending`; NOT_COUNTED before the first try of an
            earlier run's chunk.
        n_failures: how often it failed.
        failed_after: how many groups had been delivered when it last failed; -1: it has not.
        is_done: whether nothing is left to do for it.
        settled: what its last try knew, a bit per event; the disk may know less.
    """

    due: float
    number: int
    stored: StoredChunk = field(compare=False)
    n_pending: int = field(compare=False, default=NOT_COUNTED)
    n_failures: int = field(compare=False, default=0)
    failed_after: int = field(compare=False, default=-1)
    is_done: bool = field(compare=False, default=False)
    settled: bytes = field(compare=False, default=b"")

    @property
    def may_share(self) -> bool:
        """Whether it may be delivered with others: what failed is tried alone."""
        return not self.n_failures and self.stored.n_bytes <= MAX_SHARING_BYTES


@dataclass(slots=True, eq=False)
class LoadedChunk:
    """A chunk in memory.

    Attributes:
        entry: what it belongs to.
        tag: Fluent Bit's name for its source.
        payload: its events.
        settled: a bit per event that needs no sending any more, as noted on disk.
        n_events: of a chunk that shares a delivery; a marker of a group of records is one.
    """

    entry: Entry
    tag: str
    payload: bytes
    settled: bytes
    n_events: int = 0


class ChunkGroup:
    """One chunk, or several that share a delivery.

    Args:
        context: what deliveries work with.
        chunks: of the same tag; if there are several, their n_events are known.
    """

    def __init__(self, context: DeliveryContext, chunks: Sequence[LoadedChunk]) -> None:
        self._chunks = chunks
        self._count = context.encoder.count
        self._lock = threading.Lock()
        self._n_settled = 0  # requests
        self._account = ChunkAccount(context.stats)  # `end` gives what is left to the entries
        self._account.adopt(sum(chunk.entry.n_pending for chunk in chunks))
        self._is_single = len(chunks) == 1
        self.tag = chunks[0].tag
        self.entries = [chunk.entry for chunk in chunks]

    @property
    def name(self) -> str:
        """What log lines call it."""
        tag = printable(self.tag, MAX_TAG)
        n_chunks = len(self._chunks)
        return f"chunk '{tag}'" if n_chunks == 1 else f"{n_chunks} chunks '{tag}'"

    def new_delivery(self, context: DeliveryContext) -> ChunkDelivery:
        """Return a delivery of all events that are not settled."""
        delivery = ChunkDelivery(
            context,
            b"".join(chunk.payload for chunk in self._chunks),
            self.tag,
            self._account,
            bytearray(self._joined_bits()),
            on_settled=self._note_request,
        )
        if not self._is_single:
            delivery.name_events(self._name_event)
        return delivery

    def _name_event(self, event: int) -> str:
        """Return how log lines call an event: by its place in its own chunk."""
        for chunk in self._chunks:
            if event < chunk.n_events:
                break
            event -= chunk.n_events
        tag, path = printable(self.tag, MAX_TAG), printable(chunk.entry.stored.path, MAX_PATH)
        return f"event {event} of chunk '{tag}' in {path}"

    def note(self, delivery: ChunkDelivery) -> None:
        """Write down which events are settled."""
        with self._lock:  # held while it is written: no older note overtakes a newer one
            self._save(delivery.settled_events())

    def end(self, delivery: ChunkDelivery, *, is_complete: bool) -> None:
        """Remove the chunks that are settled, and count what is pending of the others.

        Args:
            delivery: closed.
            is_complete: what its run() returned.
        """
        n_pending = self._account.n_pending
        left: list[tuple[Entry, int, bytes]] = []
        for chunk, bits in self._split_bits(delivery.settled_events()):
            is_whole = is_complete if self._is_single else _is_whole(bits, chunk.n_events)
            if not is_whole:
                left.append((chunk.entry, self._count(chunk.payload, bits), bits))
        for number, (entry, n_own, bits) in enumerate(left):  # the last one has what is left over
            entry.settled = bits
            entry.n_pending = n_own if number < len(left) - 1 else n_pending
            n_pending -= n_own
        left_numbers = {entry.number for entry, _, _ in left}
        for entry in self.entries:
            if entry.number not in left_numbers:
                entry.n_pending = 0
                entry.stored.remove()
                entry.is_done = True

    def _note_request(self, delivery: ChunkDelivery) -> None:
        """Count a request that is settled; write the progress down every few requests."""
        with self._lock:
            self._n_settled += 1
            if self._n_settled % REQUESTS_PER_NOTE == 0:
                self._save(delivery.settled_events())

    def _save(self, settled: bytes) -> None:
        for chunk, bits in self._split_bits(settled):
            if bits == chunk.settled:
                continue
            chunk.settled = bits
            if not self._is_single and _is_whole(bits, chunk.n_events):
                chunk.entry.stored.remove()
            else:
                chunk.entry.stored.save_progress(bits)

    def _joined_bits(self) -> bytes:
        if self._is_single:
            return self._chunks[0].settled
        bits = n_events = 0
        for chunk in self._chunks:
            own = int.from_bytes(chunk.settled, "little") & _mask(chunk.n_events)
            bits |= own << n_events
            n_events += chunk.n_events
        return bits.to_bytes(_n_octets(n_events), "little") if bits else b""

    def _split_bits(self, settled: bytes) -> Iterator[tuple[LoadedChunk, bytes]]:
        if self._is_single:
            yield self._chunks[0], settled
            return
        start = 0
        for chunk in self._chunks:
            first, shift = divmod(start, 8)
            start += chunk.n_events
            own = int.from_bytes(settled[first : _n_octets(start)], "little") >> shift
            own &= _mask(chunk.n_events)
            yield chunk, own.to_bytes(_n_octets(chunk.n_events), "little") if own else b""


def groups_of(
    context: DeliveryContext, chunks: Sequence[LoadedChunk]
) -> Iterator[list[LoadedChunk]]:
    """Yield the chunks that are to share a delivery, in the order of the first of each group."""
    by_tag: dict[str, list[LoadedChunk]] = {}
    for chunk in chunks:
        by_tag.setdefault(chunk.tag, []).append(chunk)
    for same in by_tag.values():
        if len(same) > 1:
            for chunk in same:
                chunk.n_events = _n_whole_events(context.encoder.span, chunk.payload)
        whole = [chunk for chunk in same if chunk.n_events or len(same) == 1]
        if whole:
            yield whole
        for chunk in same:
            if chunk not in whole:
                yield [chunk]


def _n_whole_events(span: Callable[[Chunk, int], tuple[int, int]], payload: bytes) -> int:
    """Return how many events a payload consists of, 0 when its end is not the end of an event."""
    n_events = at = 0
    try:
        while at < len(payload):
            at, _ = span(payload, at)
            n_events += 1
    except ValueError:
        return 0
    return n_events


def _is_whole(bits: bytes, n_events: int) -> bool:
    return int.from_bytes(bits, "little") == _mask(n_events)


def _mask(n_events: int) -> int:
    return (1 << n_events) - 1


def _n_octets(n_events: int) -> int:
    return (n_events + 7) // 8
