"""Which records and requests are to blame when the service refuses or fails: a memory of them."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

DIGEST_BYTES: Final = 16
MAX_RECORDS: Final = 4096  # that are remembered, some 200 bytes each; the oldest are forgotten


class Failure(NamedTuple):
    """What is known about a request that failed.

    Attributes:
        since: how many records the service had accepted when it failed first.
        n_before: earlier deliveries in which it failed.
        is_to_blame: whether others were accepted since, and none failed before it after that.
    """

    since: int
    n_before: int
    is_to_blame: bool


class Refusals:
    """Tells a record that can never be delivered from a service that refuses everything.

    A chunk may consist of such records alone, or come back without the records that were accepted.
    Then no other record of the chunk can show that the service works, but records of other chunks
    can: they go the same way to the same stream. A record is to blame when it is refused alone,
    some record is accepted, and then it is refused alone again.

    A service may go bad again after that. So between two acceptances at most one record is to
    blame, the first one that is refused. Any thread may call any method.

    A request that always fails, though it is not refused, is told from a service that is out of
    order in the same way. A firewall may take one of its records for an attack, for instance.

    Args:
        n_accepted: returns how many records the service has accepted so far.
    """

    def __init__(self, n_accepted: Callable[[], int]) -> None:
        self._n_accepted = n_accepted
        self._secret = os.urandom(32)  # so that the author of an event cannot imitate another one
        self._lock = threading.Lock()
        # Accepted records when a record was refused first, and when a request failed first.
        self._refused_at: OrderedDict[bytes, int] = OrderedDict()
        self._failed_at: OrderedDict[bytes, int] = OrderedDict()
        self._n_failed: OrderedDict[bytes, int] = OrderedDict()  # deliveries
        # Accepted records, and the first one that was refused, or failed, since.
        self._refused_first = self._failed_first = (-1, b"")

    def refused(self, event: bytes | memoryview) -> bool:
        """Take in that a request with one record was refused. Returns whether that is to blame.

        Args:
            event: of the record, as it stands in the chunk; equal events count as one.
        """
        digest = self._digest(event)
        with self._lock:
            n_accepted = self._n_accepted()
            if self._refused_first[0] != n_accepted:
                self._refused_first = (n_accepted, digest)
            first_at = _remember(self._refused_at, digest, n_accepted)
            is_to_blame = n_accepted > first_at and self._refused_first[1] == digest
            if is_to_blame:
                del self._refused_at[digest]
            return is_to_blame

    def failed(self, event: bytes, n_records: int, before: Failure | None) -> Failure:
        """Take in that a request failed for a reason that is not known to be in its content.

        Args:
            event: the first one of the request, as it stands in the chunk.
            n_records: of the request; with the event, it tells requests from each other.
            before: what is known of it, or of the request that it is a part of.
        """
        digest = self._digest(b"%d records: %b" % (n_records, event))
        with self._lock:
            n_accepted = self._n_accepted()
            if self._failed_first[0] != n_accepted:
                self._failed_first = (n_accepted, digest)
            n_before = before.n_before if before else self._n_failed.get(digest, 0)
            _remember(self._n_failed, digest, 1)
            if before is None:
                self._n_failed[digest] = n_before + 1
            since = _remember(self._failed_at, digest, before.since if before else n_accepted)
            return Failure(since, n_before, n_accepted > since and self._failed_first[1] == digest)

    def _digest(self, event: bytes | memoryview) -> bytes:
        return blake2b(event, digest_size=DIGEST_BYTES, key=self._secret).digest()


def _remember(memory: OrderedDict[bytes, int], digest: bytes, number: int) -> int:
    """Return what is remembered, from now on this number if there was nothing."""
    remembered = memory.setdefault(digest, number)
    if len(memory) > MAX_RECORDS:
        memory.popitem(last=False)
    return remembered
