"""RecordEncoder: what an OutputConfig makes of a chunk."""

import base64
import json
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from kinesis_fast._core.encoder import Encoder, RequestStream
from kinesis_fast.config import OutputConfig
from kinesis_fast.config.time_format import split_subseconds
from kinesis_fast.errors import ConfigError
from kinesis_fast.limits import (
    DEFAULT_MAX_RECORD_BYTES,
    MAX_LARGE_REQUEST_BYTES,
    MAX_REQUEST_BYTES,
)
from kinesis_fast.logs import printable


class Record(NamedTuple):
    """One Kinesis record: `data` as the stream holds it, and the key that chooses its shard."""

    data: bytes
    partition_key: str


def _tail(stream: str) -> bytes:
    """What follows the entries in the body of a request."""
    field = "StreamARN" if stream.startswith("arn:") else "StreamName"
    return f'],"{field}":{json.dumps(stream)}}}'.encode()


def _max_request_bytes(max_record_size: int) -> int:
    if max_record_size > DEFAULT_MAX_RECORD_BYTES:
        return MAX_LARGE_REQUEST_BYTES
    return MAX_REQUEST_BYTES


def _core_of(config: OutputConfig) -> Encoder:
    strftime, digits = split_subseconds(config.time_key_format)
    return Encoder(
        tail=_tail(config.stream),
        data_keys=tuple(name.encode() for name in config.data_keys),
        path=tuple(name.encode() for name in config.partition_key),
        log_key=config.log_key.encode() if config.log_key else None,
        time_key=config.time_key.encode() if config.time_key else None,
        time_format=strftime.encode(),
        subsecond_digits=bytes(digits),
        replace_dots=config.replace_dots.encode() if config.replace_dots else None,
        append_newline=config.append_newline,
        max_record_bytes=config.max_record_size,
        max_request_bytes=_max_request_bytes(config.max_record_size),
        n_arenas=2 * config.max_in_flight,
    )


class RecordEncoder:
    """Turns chunks into PutRecords requests, or into single records.

    It holds no state of a chunk, so any number of threads may use one encoder at once. ConfigError
    if this system's strftime does not know the time_key_format.
    """

    def __init__(self, config: OutputConfig) -> None:
        try:
            self._core = _core_of(config)
        except ValueError as error:
            raise ConfigError(
                f"option time_key_format is '{printable(config.time_key_format, 120)}': {error}; "
                "allowed is what the strftime(3) of this system knows"
            ) from None

    def requests(
        self,
        chunk: bytes | bytearray | memoryview,
        *,
        max_lanes: int = 1,
        settled: bytes | None = None,
        keep_skipped: bool = False,
    ) -> RequestStream:
        """The finished PutRecords requests of a chunk, one compiled call each, the GIL released.

        Args:
            chunk: any contiguous bytes-like object, as Fluent Bit hands it over; it is held, not
                copied, until the stream is exhausted or closed.
            max_lanes: with partition_key, records go to at most so many lanes, 1 to 32, by a hash
                of the key, and to no more lanes than there are full requests; see Request.lane.
            settled: a bit for each event that is left out: bit i % 8 of byte i // 8 is event i.
            keep_skipped: whether `take_skipped` of the stream is to tell which events were skipped.

        Raises:
            TypeError: the chunk is not bytes-like.
            MemoryError: during the iteration, a request does not fit into memory.
        """
        return self._core.requests(
            chunk,
            now_ns=time.time_ns(),
            seed=int.from_bytes(os.urandom(8)),
            max_lanes=max_lanes,
            settled=settled,
            keep_skipped=keep_skipped,
        )

    def records(self, chunk: bytes | bytearray | memoryview) -> Iterator[Record]:
        """The records of a chunk one by one: convenient, and slower than `requests`."""
        for request in self.requests(chunk):  # of one lane, so they come in order
            for index in range(request.n_records):
                entry = json.loads(request.entry(index))
                yield Record(base64.b64decode(entry["Data"]), entry["PartitionKey"])
            request.release()

    def count(self, chunk: bytes | bytearray | memoryview, settled: bytes | None = None) -> int:
        """Number of records in a chunk: every event that is no group marker, those that will be
        skipped included, and one for a malformed tail; `settled` as for `requests`. Nothing is
        encoded."""
        return self._core.count(chunk, settled)

    def span(self, chunk: bytes | bytearray | memoryview, start: int) -> tuple[int, int]:
        """Where the event that begins at an offset of the chunk ends, and its time.

        The time is nanoseconds since 1970, -1 for none. ValueError if there is no whole event.
        """
        return self._core.span(chunk, start)
