"""The chunks that are measured: three captured from Fluent Bit, four made from a fixed seed."""

import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

CHUNKS = Path(__file__).resolve().parent.parent / "tests" / "data" / "chunks"
SYNTHETIC_BYTES = 2_000_000
SEED = 20_480
FIRST_SECOND = 1_790_000_000
LARGE_HOST = "ip-10-0-0-1"

SHA256 = "sha256"

STREAM = "benchmark"
BASE_OPTIONS = {"region": "us-east-1", "stream": STREAM}


@dataclass(frozen=True)
class Shape:
    """Every shaping option at once; `time_key_format` must hold one `%L`, the milliseconds."""

    partition_key: str
    data_keys: str
    replace_dots: str = "_"
    time_key: str = "@timestamp"
    time_key_format: str = "%Y-%m-%dT%H:%M:%S.%L%z"

    def options(self) -> dict[str, str]:
        """The options as Fluent Bit passes them."""
        return {
            "partition_key": self.partition_key,
            "data_keys": self.data_keys,
            "replace_dots": self.replace_dots,
            "append_newline": "true",
            "time_key": self.time_key,
            "time_key_format": self.time_key_format,
        }


@dataclass(frozen=True)
class Workload:
    """A chunk, options that fit its records, and the targets for its encoding.

    targets: name of a baseline, or SHA256 -> the ratio to reach with plain records.
    """

    name: str
    about: str
    chunk: bytes
    shape: Shape
    targets: Mapping[str, float] = field(default_factory=dict)


def all_workloads() -> list[Workload]:
    """Every chunk that the encoder is measured on."""
    return [
        Workload(
            "access_0",
            "access log, ~200 B, captured",
            captured("access_0"),
            Shape("host", "host,method,path,code,size,agent"),
            targets={"json": 32, "orjson": 11},
        ),
        Workload(
            "k8s_1",
            "kubernetes, ~700 B, nested, captured",
            captured("k8s_1"),
            Shape("kubernetes->pod_name", "log,stream,source,kubernetes"),
            targets={"json": 38, "orjson": 14},
        ),
        Workload(
            "typed_0",
            "numbers, null, arrays, ~190 B, captured",
            captured("typed_0"),
            Shape("msg", "i,neg,big,f,t,n,arr,a.b,lat_ms,msg"),
            targets={"json": 12, "orjson": 3.5},
        ),
        Workload(
            "small_48",
            "48 B of JSON, synthetic",
            _chunk(_small_record),
            Shape("msg", "level,msg"),
            targets={"json": 65},
        ),
        Workload(
            "escapes_20k",
            "20 KB full of escapes, synthetic",
            _chunk(_escape_record),
            Shape("host", "host,log"),
            targets={"json": 9, "orjson": 5},
        ),
        Workload(
            "non_ascii",
            "~500 B Cyrillic, CJK, emoji, synthetic",
            _chunk(_non_ascii_record),
            Shape("имя", "имя,сообщение,сервис.регион"),
        ),
        Workload(
            "large_10k",
            "500 of 10 KB, synthetic",
            events_of(500, 10_000),
            Shape("host", "host,log"),
            targets={SHA256: 4},
        ),
    ]


def captured(name: str) -> bytes:
    """A chunk as Fluent Bit handed it to an output plugin."""
    return (CHUNKS / f"{name}.msgpack").read_bytes()


def events_of(n_events: int, record_bytes: int) -> bytes:
    """A chunk of equal plain records whose JSON has `record_bytes` bytes (at least 32)."""
    text = "the quick brown fox jumps over the lazy dog; "
    frame = json.dumps({"host": LARGE_HOST, "log": ""}, separators=(",", ":"))
    log = (text * (record_bytes // len(text) + 1))[: record_bytes - len(frame)]
    return b"".join(_event(number, {"host": LARGE_HOST, "log": log}) for number in range(n_events))


def _chunk(make: Callable[[random.Random], Mapping[str, object]]) -> bytes:
    return b"".join(_events_up_to(SYNTHETIC_BYTES, make))


def _events_up_to(
    n_bytes: int, make: Callable[[random.Random], Mapping[str, object]]
) -> Iterator[bytes]:
    rng = random.Random(SEED)
    number = total = 0
    while total < n_bytes:
        event = _event(number, make(rng))
        yield event
        number, total = number + 1, total + len(event)


def _event(number: int, body: Mapping[str, object]) -> bytes:
    # About 500 events a second, in order, as a busy log file has them.
    seconds, step = divmod(number, 500)
    time = struct.pack(">II", FIRST_SECOND + seconds, step * 2_000_123 % 1_000_000_000)
    packed: bytes = msgpack.packb([[msgpack.ExtType(0, time), {}], body])
    return packed


def _small_record(rng: random.Random) -> dict[str, object]:
    return {"level": "info", "msg": f"user {rng.randrange(10**9):09d} comes in"}


def _escape_record(rng: random.Random) -> dict[str, object]:
    lines = []
    length = 0
    while length < 20_000:
        lines.append(_escape_line(rng))
        length += len(lines[-1])
    return {"host": f"ip-10-0-{rng.randrange(256)}-{rng.randrange(256)}", "log": "".join(lines)}


def _escape_line(rng: random.Random) -> str:
    number = rng.randrange(10**6)
    return rng.choice(
        (
            f'{{"id":{number},"path":"C:\\logs\\app","ok":true,"user":"anna","tags":["a","b"]}}\n',
            f'\tat com.example.Main.run(Main.java:{number})\r\n\t\tcaused by "timeout"\n',
            f"\x1b[31mERROR\x1b[0m worker {number} stopped\n",
            f'"GET /api/v1/items?q=\\"{number}\\"" 200 "Mozilla/5.0" "https://www.example.com/"\n',
        )
    )


_WORDS = (
    "запрос", "выполнен", "ошибка", "соединение", "请求", "超时", "连接已关闭", "処理", "完了",
    "größe", "café", "señal", "🚀", "✅", "user", "id=42", "données", "שלום", "مرحبا", "한국어",
)  # fmt: skip


def _non_ascii_record(rng: random.Random) -> dict[str, object]:
    return {
        "имя": f"сервер-{rng.randrange(100)}",
        "сообщение": " ".join(rng.choices(_WORDS, k=40)),
        "сервис.регион": "東京",
    }
