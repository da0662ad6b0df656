"""Which events were settled of chunks that went back to the host; only the rest is sent again."""

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from kinesis_fast.limits import RESUME_MAX_AGE_S, RESUME_MAX_BYTES

DIGEST_BYTES = 16
ENTRY_BYTES = 256  # of an entry besides its bits and its tag, roughly


class _Identity(NamedTuple):
    tag: str
    n_bytes: int
    digest: bytes


class _Entry(NamedTuple):
    settled: bytes
    since: float


class ResumeMemory:
    """Remembers a bit per event of each chunk that was returned after a part of it arrived.

    A chunk is recognised by its tag, its length, and a hash keyed with a secret of this process, so
    that the author of a log line cannot make two chunks look alike. Equal chunks are remembered as
    often as they were returned, and `take` forgets one of them: so a new chunk that equals an old
    one is never mistaken for its retry twice. Any thread may call any method.

    Args:
        clock: returns seconds that never go back.
        max_bytes: bytes for all entries, roughly; the oldest are forgotten first.
        max_age_s: seconds after which an entry is forgotten.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = RESUME_MAX_BYTES,
        max_age_s: float = RESUME_MAX_AGE_S,
    ) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._secret = os.urandom(32)
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Identity, tuple[_Entry, ...]] = OrderedDict()
        # What an exception keeps from being counted down only costs a hash, or a few bytes.
        self._shapes: Counter[tuple[str, int]] = Counter()  # entries by tag and length alone
        self._n_bytes = 0

    def take(self, chunk: bytes | bytearray | memoryview, tag: str) -> bytes | None:
        """Return the bits of a chunk that comes again, and forget them; None for a new chunk.

        It hashes the chunk only if one of the same tag and length is remembered.
        """
        with memoryview(chunk) as view:
            shape = (tag, view.nbytes)
            with self._lock:
                self._forget_old()
                if shape not in self._shapes:
                    return None
            identity = self._identify(view, tag)
        with self._lock:
            return self._drop(identity, -1).settled if identity in self._entries else None

    def put(self, chunk: bytes | bytearray | memoryview, tag: str, settled: bytes) -> None:
        """Remember a chunk that goes back to the host, if any of its events is settled.

        Args:
            chunk: the whole chunk.
            tag: its tag.
            settled: bit i % 8 of byte i // 8 is set if event i needs no more sending.
        """
        if not any(settled):
            return
        with memoryview(chunk) as view:
            identity = self._identify(view, tag)
        with self._lock:
            self._shapes[identity[:2]] += 1
            self._n_bytes += _n_bytes(identity, settled)
            entry = _Entry(settled, self._clock())
            self._entries[identity] = (*self._entries.get(identity, ()), entry)
            while self._entries and self._n_bytes > self._max_bytes:
                self._drop(next(iter(self._entries)), 0)

    def __len__(self) -> int:
        """Return the number of chunks that are remembered."""
        with self._lock:
            return sum(map(len, self._entries.values()))

    @property
    def n_bytes(self) -> int:
        """Bytes of all entries, roughly; reading it waits for no lock."""
        return self._n_bytes

    @property
    def n_chunks(self) -> int:
        """The same as `len`, without waiting for a lock; after an exception it may be higher."""
        return sum(dict(self._shapes).values())

    def _identify(self, view: memoryview, tag: str) -> _Identity:
        digest = blake2b(view, digest_size=DIGEST_BYTES, key=self._secret).digest()
        return _Identity(tag, view.nbytes, digest)

    def _forget_old(self) -> None:
        limit = self._clock() - self._max_age_s
        while self._entries:
            identity, equal = next(iter(self._entries.items()))
            if equal[0].since > limit:
                return
            self._drop(identity, 0)

    def _drop(self, identity: _Identity, index: int) -> _Entry:
        """Forget the oldest of equal entries, index 0, or the newest one, -1."""
        equal = self._entries[identity]
        entry = equal[index]
        if len(equal) == 1:
            del self._entries[identity]
        else:
            self._entries[identity] = equal[:-1] if index else equal[1:]
            if not index:
                self._entries.move_to_end(identity)
        shape = identity[:2]
        self._shapes[shape] -= 1
        if not self._shapes[shape]:
            del self._shapes[shape]
        self._n_bytes -= _n_bytes(identity, entry.settled)
        return entry


def _n_bytes(identity: _Identity, settled: bytes) -> int:
    return ENTRY_BYTES + len(identity.tag) + len(settled)
