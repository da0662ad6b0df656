"""What one would write without kinesis_fast: msgpack, a JSON package, base64 and a JSON body.

Where there is a choice, the faster way that is still plain Python is taken: the time text is made
once a second, a random key is one call, and records above the size limit are not looked for.
"""

import importlib.util
import json
import random
import struct
import time
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
from workloads import STREAM, Shape

MAX_REQUEST_RECORDS = 500
MAX_REQUEST_BYTES = 5 * 1024 * 1024

Dumps = Callable[[object], bytes]
PlainRecord = tuple[bytes, str]


def json_dumps(value: object) -> bytes:
    """Compact JSON by the standard library."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def encoders() -> dict[str, Dumps]:
    """The JSON encoders to compare with; orjson only where it is installed."""
    found: dict[str, Dumps] = {"json": json_dumps}
    if importlib.util.find_spec("orjson"):
        found["orjson"] = importlib.import_module("orjson").dumps
    return found


def bodies(chunk: bytes, dumps: Dumps, shape: Shape | None) -> Iterator[bytes]:
    """The finished request bodies of a chunk, of at most 500 records and 5 MiB each."""
    records = plain_records(chunk, dumps) if shape is None else shaped_records(chunk, dumps, shape)
    entries: list[dict[str, str]] = []
    total = 0
    for data, key in records:
        n_bytes = len(data) + len(key.encode())
        if len(entries) == MAX_REQUEST_RECORDS or total + n_bytes > MAX_REQUEST_BYTES:
            yield dumps({"StreamName": STREAM, "Records": entries})
            entries, total = [], 0
        entries.append({"Data": b2a_base64(data, newline=False).decode(), "PartitionKey": key})
        total += n_bytes
    if entries:
        yield dumps({"StreamName": STREAM, "Records": entries})


def plain_records(chunk: bytes, dumps: Dumps) -> Iterator[PlainRecord]:
    """Every record as it is, with a random partition key."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(chunk)
    for _, body in unpacker:
        yield dumps(body), random_key()


def shaped_records(chunk: bytes, dumps: Dumps, shape: Shape) -> Iterator[PlainRecord]:
    """Every record with all shaping options applied."""
    unpacker = msgpack.Unpacker(strict_map_key=False, ext_hook=_event_time)
    unpacker.feed(chunk)
    path = shape.partition_key.split("->")
    wanted = {*shape.data_keys.split(","), shape.time_key}
    time_text = time_formatter(shape.time_key_format)
    for (timestamp, _), body in unpacker:
        body[shape.time_key] = time_text(timestamp)
        key = partition_key(body, path)
        kept = {name: value for name, value in body.items() if name in wanted}
        yield dumps(replace_dots(kept, shape.replace_dots)) + b"\n", key


def random_key() -> str:
    """Eight random characters."""
    return f"{random.getrandbits(32):08x}"


def partition_key(body: dict[str, Any], path: list[str]) -> str:
    """The string at `path`, or a random key where there is none."""
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value[:256] if isinstance(value, str) and value else random_key()


def replace_dots(value: Any, replacement: str) -> Any:
    """`value` with the dots in the keys of all its maps replaced."""
    if isinstance(value, dict):
        return {
            name.replace(".", replacement): (
                replace_dots(item, replacement) if isinstance(item, dict | list) else item
            )
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [replace_dots(item, replacement) for item in value]
    return value


def time_formatter(time_format: str) -> Callable[[tuple[int, int]], str]:
    """A function from (seconds, nanoseconds) to local time text; one strftime per second."""
    head, tail = time_format.split("%L")
    cached_second = -1
    cached_head = cached_tail = ""

    def text(timestamp: tuple[int, int]) -> str:
        nonlocal cached_second, cached_head, cached_tail
        second, nanoseconds = timestamp
        if second != cached_second:
            local = time.localtime(second)
            cached_second = second
            cached_head, cached_tail = time.strftime(head, local), time.strftime(tail, local)
        return f"{cached_head}{nanoseconds // 1_000_000:03d}{cached_tail}"

    return text


def _event_time(code: int, data: bytes) -> object:
    return struct.unpack(">II", data) if code == 0 else msgpack.ExtType(code, data)
