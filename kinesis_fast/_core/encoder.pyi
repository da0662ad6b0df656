from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

from kinesis_fast._core.request_stream import RequestStream

class Zstd(Protocol):
    def compress(self, data: memoryview) -> bytes: ...
    def compress_all(
        self, texts: memoryview | list[memoryview], spans: memoryview | None = None
    ) -> Sequence[Any]: ...

@final
class Encoder:
    def __init__(
        self,
        *,
        tail: bytes,
        cbor_tail: bytes,
        data_keys: tuple[bytes, ...],
        path: tuple[bytes, ...],
        log_key: bytes | None,
        time_key: bytes | None,
        time_format: bytes,
        subsecond_digits: bytes,
        is_utc: bool,
        replace_dots: bytes | None,
        append_newline: bool,
        max_record_bytes: int,
        max_request_bytes: int,
        aggregation: str,
        max_aggregate_bytes: int,
        hash_keys: tuple[bytes, ...],
        codec: str,
        level: int,
        new_zstd: Callable[[], Zstd] | None,
        n_arenas: int,
    ) -> None: ...
    def requests(
        self,
        chunk: bytes | bytearray | memoryview,
        *,
        now_ns: int,
        seed: int,
        max_lanes: int = 1,
        settled: bytes | None = None,
        keep_skipped: bool = False,
        alone: bool = False,
        as_cbor: bool = False,
    ) -> RequestStream: ...
    def count(self, chunk: bytes | bytearray | memoryview, settled: bytes | None = None) -> int: ...
    def span(self, chunk: bytes | bytearray | memoryview, start: int) -> tuple[int, int]: ...
