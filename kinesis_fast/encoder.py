"""RecordEncoder: turns chunks into PutRecords requests as an OutputConfig says."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kinesis_fast._core.encoder import Encoder
from kinesis_fast._core.request_stream import RequestStream
from kinesis_fast.compression import Zstd, zstd_compressors
from kinesis_fast.config import OutputConfig
from kinesis_fast.config.time_format import split_subseconds
from kinesis_fast.errors import ConfigError
from kinesis_fast.limits import (
    DEFAULT_MAX_RECORD_BYTES,
    HASH_KEYS,
    MAX_LARGE_REQUEST_BYTES,
    MAX_REQUEST_BYTES,
)
from kinesis_fast.logs import printable


class Record(NamedTuple):
    """One Kinesis record: the `data` that the stream stores, and the key that selects its shard."""

    data: bytes
    partition_key: str


def _stream_member(stream: str) -> str:
    return "StreamARN" if stream.startswith("arn:") else "StreamName"


def _tail(stream: str) -> bytes:
    """Return the text that follows the entries in the JSON body of a request."""
    return f'],"{_stream_member(stream)}":{json.dumps(stream)}}}'.encode()


def _cbor_tail(stream: str) -> bytes:
    """Return what follows the entries in the CBOR body of a request: two texts."""
    return _cbor_text(_stream_member(stream)) + _cbor_text(stream)


def empty_cbor_body(stream: str) -> bytes:
    """Return the CBOR body of a request without records, which the service refuses."""
    return b"\xa2gRecords\x80" + _cbor_tail(stream)


def _cbor_text(text: str) -> bytes:
    encoded = text.encode()
    return b"\x79" + len(encoded).to_bytes(2) + encoded


def _max_request_bytes(max_record_size: int) -> int:
    if max_record_size > DEFAULT_MAX_RECORD_BYTES:
        return MAX_LARGE_REQUEST_BYTES
    return MAX_REQUEST_BYTES


def _aggregation(config: OutputConfig) -> str:
    if config.aggregation:
        return "kpl"
    return "lines" if config.simple_aggregation else "none"


def _hash_keys(n_buckets: int) -> tuple[bytes, ...]:
    """Return the middle of each of `n_buckets` equal ranges of hash keys, in decimal digits."""
    half = HASH_KEYS // (2 * n_buckets)
    return tuple(b"%d" % ((2 * bucket + 1) * half) for bucket in range(n_buckets))


def _core_of(config: OutputConfig, new_zstd: Callable[[], Zstd] | None) -> Encoder:
    strftime, digits = split_subseconds(config.time_key_format)
    return Encoder(
        tail=_tail(config.stream),
        cbor_tail=_cbor_tail(config.stream),
        data_keys=tuple(name.encode() for name in config.data_keys),
        path=tuple(name.encode() for name in config.partition_key),
        log_key=config.log_key.encode() if config.log_key else None,
        time_key=config.time_key.encode() if config.time_key else None,
        time_format=strftime.encode(),
        subsecond_digits=bytes(digits),
        is_utc=config.time_zone == "utc",
        replace_dots=config.replace_dots.encode() if config.replace_dots else None,
        append_newline=config.append_newline,
        max_record_bytes=config.max_record_size,
        max_request_bytes=_max_request_bytes(config.max_record_size),
        aggregation=_aggregation(config),
        max_aggregate_bytes=config.aggregation_max_size or 0,
        hash_keys=_hash_keys(config.aggregation_buckets) if config.partition_key else (),
        codec=config.compression,
        level=0 if new_zstd else config.compression_level or 0,
        new_zstd=new_zstd,
        n_arenas=2 * config.max_in_flight,
    )


class RecordEncoder:
    """Turns chunks into PutRecords requests, or into single records.

    It keeps no state of a chunk, so any number of threads may use one encoder at once.

    Args:
        config: the options that shape records.

    Raises:
        ConfigError: the strftime of this system does not support time_key_format, or the library
            that compression needs is missing.
    """

    def __init__(self, config: OutputConfig) -> None:
        level = config.compression_level or 0
        new_zstd = zstd_compressors(level) if config.compression == "zstd" else None
        try:
            self._core = _core_of(config, new_zstd)
            self._as_cbor = config.protocol == "cbor"
        except ValueError as error:
            raise ConfigError(
                f"option time_key_format is '{printable(config.time_key_format, 120)}': {error}; "
                "allowed: what the strftime(3) of this system supports"
            ) from None

    def requests(
        self,
        chunk: bytes | bytearray | memoryview,
        *,
        max_lanes: int = 1,
        settled: bytes | None = None,
        keep_skipped: bool = False,
        alone: bool = False,
        as_cbor: bool | None = None,
    ) -> RequestStream:
        """Return an iterator over the finished PutRecords requests of a chunk.

        Each step is one compiled call that releases the GIL.

        Args:
            chunk: msgpack events in any contiguous bytes-like object; it is referenced, not copied,
                until the iterator is exhausted or closed.
            max_lanes: the maximum number of lanes, 1 to 32. With partition_key, a hash of the key
                assigns each record to a lane; there are no more lanes than full requests.
            settled: one bit for each event; bit i % 8 of byte i // 8 is set if event i is left out.
            keep_skipped: whether `take_skipped` of the iterator returns the skipped events.
            alone: whether each record becomes an entry of its own, in spite of aggregation.
            as_cbor: whether the bodies are CBOR, not JSON; None: as the option protocol says.

        Raises:
            TypeError: the chunk is not bytes-like.
            MemoryError: during the iteration, there is no memory for a request.
        """
        return self._core.requests(
            chunk,
            now_ns=time.time_ns(),
            seed=int.from_bytes(os.urandom(8)),
            max_lanes=max_lanes,
            settled=settled,
            keep_skipped=keep_skipped,
            alone=alone,
            as_cbor=self._as_cbor if as_cbor is None else as_cbor,
        )

    def records(self, chunk: bytes | bytearray | memoryview) -> Iterator[Record]:
        """Yield the records of a chunk one by one; convenient, but slower than `requests`.

        They are not aggregated.
        """
        for request in self.requests(chunk, alone=True, as_cbor=False):  # one lane: in their order
            for index in range(request.n_entries):
                entry = json.loads(request.entry(index))
                yield Record(base64.b64decode(entry["Data"]), entry["PartitionKey"])
            request.release()

    def count(self, chunk: bytes | bytearray | memoryview, settled: bytes | None = None) -> int:
        """Return the number of records in a chunk, without encoding it.

        Every event except group markers counts, including events that will be skipped; a malformed
        end of the chunk counts as one record.

        Args:
            chunk: as for `requests`.
            settled: as for `requests`; these events do not count.
        """
        return self._core.count(chunk, settled)

    def span(self, chunk: bytes | bytearray | memoryview, start: int) -> tuple[int, int]:
        """Return the end of the event that starts at an offset, and the time of the event.

        Args:
            chunk: as for `requests`.
            start: byte offset of the event in the chunk.

        Returns:
            The byte offset after the event, and nanoseconds since 1970, -1 if it has no time.

        Raises:
            ValueError: there is no complete event at this offset.
        """
        return self._core.span(chunk, start)
