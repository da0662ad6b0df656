"""What a sample becomes in one way, and the CPU time that takes on this machine."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.limits import HASH_KEYS
from kinesis_fast.plan.ways import Way
from kinesis_fast.stats import REMARKS, SKIP_REASONS

PUT_UNIT_BYTES: Final = 25 * 1024  # a provisioned stream charges for each that an entry begins
BILLED_BYTES: Final = 1024  # an on-demand stream rounds each entry up to these
MAX_SHARDS: Final = 64  # for which the share of the fullest is computed
N_PLACES: Final = 1 << 16  # equal parts of the hash space; a shard is some of them
MIN_CPU_S: Final = 0.05  # the sample is encoded until it took so long
MAX_HOTTEST: Final = 5


@dataclass
class Load:
    """Entries and bytes that go to one place."""

    entries: int = 0
    n_bytes: int = 0

    def add(self, n_bytes: int) -> None:
        """Count an entry."""
        self.entries += 1
        self.n_bytes += n_bytes


@dataclass
class Spread:
    """Where entries go: by the place of their hash key, and evenly those with a random one."""

    places: dict[int, Load] = field(default_factory=dict)
    even: Load = field(default_factory=Load)

    def fullest(self, n_shards: int) -> tuple[float, float]:
        """Return the shares of the fullest of so many shards: of the entries, of the bytes."""
        shards = [Load() for _ in range(n_shards)]
        for place, load in self.places.items():
            shard = shards[place * n_shards // N_PLACES]
            shard.entries += load.entries
            shard.n_bytes += load.n_bytes
        entries = sum(shard.entries for shard in shards) + self.even.entries
        n_bytes = sum(shard.n_bytes for shard in shards) + self.even.n_bytes
        if not entries:
            return 1 / n_shards, 1 / n_shards
        most = max(shard.entries for shard in shards) + self.even.entries / n_shards
        most_bytes = max(shard.n_bytes for shard in shards) + self.even.n_bytes / n_shards
        return most / entries, most_bytes / max(n_bytes, 1)


@dataclass(frozen=True)
class Hot:
    """A partition key, and its share of the bytes of all entries."""

    key: str
    share: float


@dataclass(frozen=True)
class Measured:
    """What the sample becomes in one way.

    Attributes:
        n_bytes: of the sample, as it was read.
        records: that are sent.
        entry_bytes: data and partition keys of the entries.
        put_units: PUT payload units.
        billed_bytes: what an on-demand stream charges for.
        remarks: what was left out or changed, by the name of its counter.
        cpu_s_per_gb: CPU seconds of encoding and hashing for 10^9 bytes of the sample.
        spread: where the entries go.
        hottest: the partition keys with the most bytes; empty with aggregation or random keys.
    """

    way: Way
    n_bytes: int
    records: int
    requests: int
    entries: int
    entry_bytes: int
    put_units: int
    billed_bytes: int
    remarks: dict[str, int]
    cpu_s_per_gb: float
    spread: Spread
    hottest: list[Hot]


def measure(
    way: Way,
    chunks: Sequence[bytes],
    n_bytes: int,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Measured:
    """Encode a sample in one way.

    Args:
        way: how.
        chunks: the events of the sample.
        n_bytes: of the sample, as it was read; above 0.
        cpu_clock: returns CPU seconds of this process.
    """
    encoder = RecordEncoder(way.config())
    counted = _Counting(has_keys=bool(way.key) and way.aggregation == "none")
    for chunk in chunks:
        counted.take(encoder, chunk)
    cpu_s = _cpu_s(encoder, chunks, cpu_clock)
    return counted.result(way, n_bytes, cpu_s * 1e9 / n_bytes)


def _cpu_s(
    encoder: RecordEncoder, chunks: Sequence[bytes], cpu_clock: Callable[[], float]
) -> float:
    """Return the CPU time of the fastest of several passes over the sample."""
    passes: list[float] = []
    while sum(passes) < MIN_CPU_S:
        begin = cpu_clock()
        for chunk in chunks:
            for request in encoder.requests(chunk, as_cbor=False):
                hashlib.sha256(request.body).digest()  # as the signature needs it
                request.release()
        passes.append(cpu_clock() - begin)
    return min(passes)


class _Counting:
    def __init__(self, *, has_keys: bool) -> None:
        self._has_keys = has_keys
        self._requests = self._records = self._entries = 0
        self._entry_bytes = self._put_units = self._billed_bytes = 0
        self._remarks: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._spread = Spread()

    def take(self, encoder: RecordEncoder, chunk: bytes) -> None:
        stream = encoder.requests(chunk, as_cbor=False)
        for request in stream:
            self._requests += 1
            for index, entry in enumerate(json.loads(bytes(request.body))["Records"]):
                self._take_entry(entry, is_random=request.has_random_key(index))
            request.release()
        tally = stream.take_tally()
        self._records += tally.records
        for name in (*SKIP_REASONS, *REMARKS):
            self._remarks[name] += getattr(tally, name)

    def _take_entry(self, entry: dict[str, Any], *, is_random: bool) -> None:
        data, key = entry["Data"], entry["PartitionKey"]
        encoded_key = key.encode()
        n_bytes = len(data) // 4 * 3 - data[-2:].count("=") + len(encoded_key)
        self._entries += 1
        self._entry_bytes += n_bytes
        self._put_units += ceil(n_bytes / PUT_UNIT_BYTES)
        self._billed_bytes += ceil(n_bytes / BILLED_BYTES) * BILLED_BYTES
        if is_random:
            self._spread.even.add(n_bytes)
            return
        position = entry.get("ExplicitHashKey") or int.from_bytes(
            hashlib.md5(encoded_key, usedforsecurity=False).digest()
        )
        place = int(position) * N_PLACES // HASH_KEYS
        self._spread.places.setdefault(place, Load()).add(n_bytes)
        if self._has_keys:
            self._keys[key] += n_bytes

    def result(self, way: Way, n_bytes: int, cpu_s_per_gb: float) -> Measured:
        hottest = [
            Hot(key, key_bytes / max(self._entry_bytes, 1))
            for key, key_bytes in self._keys.most_common(MAX_HOTTEST)
        ]
        return Measured(
            way,
            n_bytes,
            self._records,
            self._requests,
            self._entries,
            self._entry_bytes,
            self._put_units,
            self._billed_bytes,
            {name: number for name, number in self._remarks.items() if number},
            cpu_s_per_gb,
            self._spread,
            hottest,
        )
