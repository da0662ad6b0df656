"""Records that were refused alone, remembered beyond their delivery: which of them are to blame."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 16
MAX_RECORDS: Final = 4096  # that are remembered, some 200 bytes each; the oldest are forgotten


class Refusals:
    """Tells a record that can never be delivered from a service that refuses everything.

    A chunk may consist of such records alone, or come back without the records that were accepted.
    Then no other record of the chunk can show that the service works, but records of other chunks
    can: they go the same way to the same stream. A record is to blame when it is refused alone,
    some record is accepted, and then it is refused alone again.

    A service may go bad again after that. So between two acceptances at most one record is to
    blame, the first one that is refused. Any thread may call any method.

    Args:
        n_accepted: returns how many records the service has accepted so far.
    """

    def __init__(self, n_accepted: Callable[[], int]) -> None:
        self._n_accepted = n_accepted
        self._secret = os.urandom(32)  # so that the author of an event cannot imitate another one
        self._lock = threading.Lock()
        self._first_at: OrderedDict[bytes, int] = OrderedDict()  # accepted records at that time
        self._suspect = (-1, b"")  # accepted records, and the first that was refused since

    def refused(self, event: bytes | memoryview) -> bool:
        """Take in that a request with one record was refused. Returns whether that is to blame.

        Args:
            event: of the record, as it stands in the chunk; equal events count as one.
        """
        digest = blake2b(event, digest_size=DIGEST_BYTES, key=self._secret).digest()
        with self._lock:
            n_accepted = self._n_accepted()
            if self._suspect[0] != n_accepted:
                self._suspect = (n_accepted, digest)
            first_at = self._first_at.setdefault(digest, n_accepted)
            is_to_blame = n_accepted > first_at and self._suspect[1] == digest
            if is_to_blame:
                del self._first_at[digest]
            elif len(self._first_at) > MAX_RECORDS:
                self._first_at.popitem(last=False)
            return is_to_blame
