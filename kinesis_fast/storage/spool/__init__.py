"""The spool: chunks on disk, from before a flush says OK until their last record is settled.

`docs/spool.md` tells an operator what is promised. This room knows no msgpack and no network;
every call of the operating system is in `files`.
"""

from kinesis_fast.storage.spool.store import Spool, SpooledChunk

__all__ = ["Spool", "SpooledChunk"]
