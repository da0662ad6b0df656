"""Deliveries that the host waits for: a flush returns when the chunk is settled, or comes back."""

from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Chunk
from kinesis_fast.stats import ChunkAccount


class Foreground:
    """Delivers each chunk within the call that brings it; what fails goes back to the host.

    Args:
        context: what deliveries work with.
    """

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context

    def take_over(self, chunk: Chunk, tag: str) -> bool:
        """Deliver a chunk; of one that was returned before, only what is left.

        Returns:
            Whether every record is settled. If not, the rest counts as returned.

        Raises:
            SendFailureTimeout: the watchdog's time is up; the rest counts as returned.
            TypeError: the chunk is not bytes-like.
        """
        context = self._context
        chunk = as_octets(chunk)
        account = ChunkAccount(context.stats)
        settled = bytearray(context.resume.take(chunk, tag) or b"")
        is_done = False
        try:
            context.watchdog.begin(account)
            if settled:
                count = context.encoder.count
                account.resumed(count(chunk) - count(chunk, bytes(settled)))
            delivery = ChunkDelivery(context, chunk, tag, account, settled)
            try:
                context.stats.chunk(n_bytes_of(chunk))
                is_complete = delivery.run()
            finally:
                n_left = delivery.close()
            if delivery.failure_reason:
                context.log.error(
                    "chunk '%s': returning %d of %d records to Fluent Bit (RETRY): %s",
                    *(delivery.tag, n_left, account.n_in, delivery.failure_reason),
                )
            is_done = is_complete
            return is_done
        finally:
            try:
                if not is_done:
                    context.resume.put(chunk, tag, bytes(settled))
            finally:
                try:
                    self._end(account, is_done)
                except BaseException:
                    self._end(account, is_done)  # what the exception kept it from
                    raise

    def _end(self, account: ChunkAccount, is_done: bool) -> None:
        account.close()
        self._context.watchdog.end(account, returned=not is_done)

    def close(self, timeout_s: float) -> bool:
        """End the pauses: a delivery ends with its call. Returns whether nothing is in flight."""
        self._context.pauses.end()
        return True

    def n_unread(self) -> int:
        """Return how many chunks of an earlier run wait to be read: there are none."""
        return 0


def as_octets(chunk: Chunk) -> Chunk:
    """Return a chunk whose items are its bytes: itself, or a copy; TypeError for no chunk.

    Places in a chunk are offsets in bytes, and an array of larger items has others.
    """
    with memoryview(chunk) as view:
        return chunk if view.itemsize == view.ndim == 1 else view.tobytes()


def n_bytes_of(chunk: Chunk) -> int:
    """Return the size of a bytes-like object; TypeError for any other."""
    with memoryview(chunk) as view:
        return view.nbytes
