"""The spool: chunks on disk, from before a flush says OK until their last record is settled.

`docs/spool.md` says what an operator can rely on. This package knows nothing of msgpack or the
network, and makes all its system calls through `storage.directory`.
"""

from kinesis_fast.storage.spool.store import Spool, SpooledChunk, SpooledContent

__all__ = ["Spool", "SpooledChunk", "SpooledContent"]
