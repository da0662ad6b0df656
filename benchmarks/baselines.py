"""Plain Python without kinesis_fast: msgpack, a JSON package, base64 and a JSON body.

Where there is a choice, the faster way that is still plain Python is taken: the time text is made
once a second, a random key is one call, and records above the size limit are not looked for.
"""

import functools
import importlib.util
import itertools
import json
import random
import struct
import time
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgpack
from workloads import STREAM, Shape

MAX_REQUEST_RECORDS = 500
MAX_REQUEST_BYTES = 5 * 1024 * 1024

PlainRecord = tuple[bytes, str]
Dumps = Callable[[object], bytes]
ExtHook = Callable[[int, bytes], object]
ARRAY_32 = 0xDD  # msgpack: four bytes with the number of elements follow


class Baseline(NamedTuple):
    """One set of packages.

    unpack: the events of a chunk, given what is made of an extension type.
    dumps: compact JSON.
    to_data: the `Data` of an entry as `dumps` wants it.
    """

    unpack: Callable[[bytes, ExtHook], Iterable[Any]]
    dumps: Dumps
    to_data: Callable[[bytes], object]


def baselines() -> dict[str, Baseline]:
    """The packages to compare with, by the name of the JSON package; only what is installed."""
    found = {"json": Baseline(unpack_each, json_dumps, base64_text)}
    if importlib.util.find_spec("orjson"):
        orjson = importlib.import_module("orjson")
        found["orjson"] = Baseline(unpack_each, orjson.dumps, base64_text)
    if importlib.util.find_spec("msgspec"):
        msgspec = importlib.import_module("msgspec")
        # It writes bytes as base64 by itself.
        found["msgspec"] = Baseline(unpack_all, msgspec.json.encode, bytes)
    return found


def json_dumps(value: object) -> bytes:
    """Compact JSON by the standard library."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def base64_text(data: bytes) -> str:
    """Base64 as text, which is what JSON packages take."""
    return b2a_base64(data, newline=False).decode()


def unpack_each(chunk: bytes, ext_hook: ExtHook) -> Iterator[Any]:
    """The events one by one, by msgpack."""
    unpacker = msgpack.Unpacker(strict_map_key=False, ext_hook=ext_hook)
    unpacker.feed(chunk)
    yield from unpacker


def unpack_all(chunk: bytes, ext_hook: ExtHook) -> Iterable[Any]:
    """All events at once, by msgspec, which cannot read one value after the other.

    The number of events is not for free in practice; here it is.
    """
    decode = importlib.import_module("msgspec").msgpack.decode
    events: list[Any] = decode(
        struct.pack(">BI", ARRAY_32, count_events(chunk)) + chunk,
        ext_hook=lambda code, data: ext_hook(code, bytes(data)),
    )
    return events


@functools.lru_cache
def count_events(chunk: bytes) -> int:
    """The values in a chunk."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(chunk)
    for number in itertools.count():
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            return number
    raise AssertionError


def bodies(chunk: bytes, baseline: Baseline, shape: Shape | None) -> Iterator[bytes]:
    """The finished request bodies of a chunk, of at most 500 records and 5 MiB each."""
    make = plain_records if shape is None else partial(shaped_records, shape=shape)
    for entries in batches(make(chunk, baseline), baseline.to_data):
        yield baseline.dumps({"StreamName": STREAM, "Records": entries})


def batches(
    records: Iterable[PlainRecord], to_data: Callable[[bytes], object]
) -> Iterator[list[dict[str, object]]]:
    """The entries of each request, of at most 500 records and 5 MiB; to_data makes `Data`."""
    entries: list[dict[str, object]] = []
    total = 0
    for data, key in records:
        n_bytes = len(data) + len(key.encode())
        if len(entries) == MAX_REQUEST_RECORDS or total + n_bytes > MAX_REQUEST_BYTES:
            yield entries
            entries, total = [], 0
        entries.append({"Data": to_data(data), "PartitionKey": key})
        total += n_bytes
    if entries:
        yield entries


def plain_records(chunk: bytes, baseline: Baseline) -> Iterator[PlainRecord]:
    """Every record as it is, with a random partition key."""
    for _, body in baseline.unpack(chunk, msgpack.ExtType):
        yield baseline.dumps(body), random_key()


def shaped_records(chunk: bytes, baseline: Baseline, shape: Shape) -> Iterator[PlainRecord]:
    """Every record with all shaping options applied."""
    path = shape.partition_key.split("->")
    wanted = {*shape.data_keys.split(","), shape.time_key}
    time_text = time_formatter(shape.time_key_format)
    for (timestamp, _), body in baseline.unpack(chunk, _event_time):
        body[shape.time_key] = time_text(timestamp)
        key = partition_key(body, path)
        kept = {name: value for name, value in body.items() if name in wanted}
        yield baseline.dumps(replace_dots(kept, shape.replace_dots)) + b"\n", key


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
