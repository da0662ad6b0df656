"""Records of a chunk that can never be delivered, on their way to the dead letters."""

from collections.abc import Callable, Iterable
from typing import Final

from kinesis_fast.delivery.protocols import Chunk, DeadLetters, Letter, SkippedEvent

REFUSED: Final = "refused"


class ChunkLetters:
    """Adds events of one chunk to the dead letters, each as it stood in the chunk.

    Args:
        dead_letters: where they are kept.
        span: returns the end and the time (ns since 1970, or -1) of the event at an offset.
        chunk: the chunk; looked at during calls only.
        tag: of the chunk.
    """

    def __init__(
        self,
        dead_letters: DeadLetters,
        span: Callable[[Chunk, int], tuple[int, int]],
        chunk: Chunk,
        tag: str,
    ) -> None:
        self._dead_letters = dead_letters
        self._span = span
        self._chunk = chunk
        self._tag = tag

    def skipped(self, events: Iterable[SkippedEvent]) -> None:
        """Add events that the encoder skipped."""
        self._dead_letters.add_all(self._letter(*event, "") for event in events)

    def refused(self, start: int, why: str) -> None:
        """Add the event at an offset, which the service refuses for good."""
        end, time_ns = self._span(self._chunk, start)
        self._dead_letters.add_all([self._letter(REFUSED, start, end, time_ns, why)])

    def _letter(self, reason: str, start: int, end: int, time_ns: int, detail: str) -> Letter:
        with memoryview(self._chunk) as view:
            event = bytes(view[start:end])
        return reason, self._tag, event, None if time_ns < 0 else time_ns, detail
