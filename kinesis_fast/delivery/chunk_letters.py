"""Records of a chunk that can never be delivered, on their way to the dead letters."""

from collections.abc import Callable, Iterable
from typing import Final

from kinesis_fast.delivery.context import Letters
from kinesis_fast.delivery.protocols import Chunk

REFUSED: Final = "refused"


class ChunkLetters:
    """Writes the events of one chunk down as they stood in it.

    Args:
        letters: where they are written.
        span: gives the end and the time, in ns since 1970 or -1, of the event at an offset.
        chunk: the chunk; looked at during calls only.
        tag: of the chunk.
    """

    def __init__(
        self,
        letters: Letters,
        span: Callable[[Chunk, int], tuple[int, int]],
        chunk: Chunk,
        tag: str,
    ) -> None:
        self._letters = letters
        self._span = span
        self._chunk = chunk
        self._tag = tag

    def skipped(self, events: Iterable[tuple[str, int, int, int]]) -> None:
        """Write down events that the encoder skipped: (reason, start, end, time_ns or -1)."""
        for reason, start, end, time_ns in events:
            self._write(reason, start, end, time_ns, "")

    def refused(self, start: int, why: str) -> None:
        """Write down the event at an offset, which the service refuses for good."""
        end, time_ns = self._span(self._chunk, start)
        self._write(REFUSED, start, end, time_ns, why)

    def _write(self, reason: str, start: int, end: int, time_ns: int, detail: str) -> None:
        with memoryview(self._chunk) as view:
            event = bytes(view[start:end])
        self._letters.add(reason, self._tag, event, None if time_ns < 0 else time_ns, detail)
