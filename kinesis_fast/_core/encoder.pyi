from typing import Self, final

from kinesis_fast._core.request import Request
from kinesis_fast._core.tally import Tally

@final
class Encoder:
    def __init__(
        self,
        *,
        tail: bytes,
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
    ) -> RequestStream: ...
    def count(self, chunk: bytes | bytearray | memoryview, settled: bytes | None = None) -> int: ...
    def span(self, chunk: bytes | bytearray | memoryview, start: int) -> tuple[int, int]: ...

@final
class RequestStream:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Request: ...
    def take(self, max_open: int) -> Request | None: ...
    @property
    def n_lanes(self) -> int: ...
    @property
    def n_open(self) -> int: ...
    @property
    def n_events(self) -> int: ...
    @property
    def is_exhausted(self) -> bool: ...
    def take_skipped(self) -> list[tuple[str, int, int, int]]: ...
    def mark_skipped(self, bits: bytearray) -> None: ...
    def take_tally(self) -> Tally: ...
    def count_rest(self) -> int: ...
    def close(self) -> None: ...
