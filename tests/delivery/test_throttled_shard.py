"""Records with random keys get new ones when they are sent again, so a full shard stops none."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode
from random import Random
from typing import Any, Final

import pytest
from chunks import chunk_of, output_config
from fake_transport import (
    INTERNAL,
    THROTTLED,
    FakeTime,
    FakeTransport,
    Step,
    entries_answer,
    error,
    fail,
    raise_it,
)
from outputs import assert_stats, eventually, numbered

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.transport import Response

N_SHARDS: Final = 4
HASHES_PER_SHARD: Final = 2**128 // N_SHARDS  # a shard owns a range of the MD5 hashes of keys


class FullShard:
    """A stream of four shards, the first of which throttles every record."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        return entries_answer([self._take(entry) for entry in json.loads(bytes(body))["Records"]])

    def _take(self, entry: dict[str, str]) -> str | None:
        hashed = int.from_bytes(hashlib.md5(entry["PartitionKey"].encode()).digest())
        if hashed < HASHES_PER_SHARD:
            return THROTTLED
        self.kept.append(json.loads(b64decode(entry["Data"]))["n"])
        return None


class KeyNotes(FakeTransport):
    """Notes the keys of each record, one for each attempt; may keep a view of every body."""

    def __init__(self, *steps: Step, keeps_views: bool = False) -> None:
        super().__init__(*steps)
        self.keys: dict[int, list[str]] = {}
        self.views: list[tuple[memoryview, bytes]] = []
        self._keeps_views = keeps_views

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        for entry in json.loads(bytes(body))["Records"]:
            number = json.loads(b64decode(entry["Data"]))["n"]
            self.keys.setdefault(number, []).append(entry["PartitionKey"])
        if self._keeps_views:
            self.views.append((memoryview(body), bytes(body)))
        return super().send(body, n_records, timeout_s)


@pytest.fixture(autouse=True)
def reproducible_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", Random(7).randbytes)


def new_output(transport: Any, chance: float, **options: str) -> KinesisOutput:
    return KinesisOutput(output_config(options), transport, timing=FakeTime(chance).timing())


def test_a_flush_goes_round_a_full_shard() -> None:
    """Four attempts with the same keys would leave a quarter of the records."""
    stream = FullShard()
    output = new_output(stream, 0.0, max_in_flight="1")
    assert output.flush(numbered(range(1600))) is FlushResult.OK
    assert sorted(stream.kept) == list(range(1600))
    assert_stats(output, in_=1600, delivered=1600)


def test_the_time_of_a_flush_stays_bounded() -> None:
    stream, clock = FullShard(), FakeTime()
    output = KinesisOutput(output_config(max_in_flight="1"), stream, timing=clock.timing())
    began, n_flushes = clock.now, 1
    while output.flush(numbered(range(6000))) is not FlushResult.OK:
        n_flushes += 1
        assert len(stream.kept) > 500 * n_flushes  # and not one request
        assert clock.now - began < 7.0 * n_flushes
    assert sorted(stream.kept) == list(range(6000))


@pytest.mark.parametrize(
    ("n_records", "options"),
    [(1600, {}), (8000, {"experimental_concurrency_retries": "1", "max_in_flight": "1"})],
)
def test_nothing_is_given_up_in_the_background(n_records: int, options: dict[str, str]) -> None:
    stream = FullShard()
    output = new_output(stream, 0.5, experimental_concurrency="1", **options)
    assert output.flush(numbered(range(n_records))) is FlushResult.OK
    eventually(lambda: not output.stats()["pending"])
    assert_stats(output, in_=n_records, delivered=n_records, dead=0)
    assert sorted(stream.kept) == list(range(n_records))


def mixed_chunk() -> bytes:
    """Records 0, 2 and 4 have a key of their own, the others none."""
    return chunk_of({"n": n, "k": f"key-{n}"} if n % 2 == 0 else {"n": n} for n in range(6))


@pytest.mark.parametrize("keeps_views", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        fail(0, 1, 2, 3),
        fail(1, 2, 3, code=INTERNAL),
        error(500, INTERNAL),
        error(400, THROTTLED),
        raise_it(TimeoutError("too late")),
        error(400, "ValidationException"),  # the request is divided
    ],
)
def test_only_random_keys_change(failure: Step, keeps_views: bool) -> None:
    transport = KeyNotes(failure, failure, keeps_views=keeps_views)
    output = new_output(transport, 0.0, max_in_flight="1", partition_key="k")
    assert output.flush(mixed_chunk()) is FlushResult.OK
    assert max(map(len, transport.keys.values())) >= 2
    for number, keys in transport.keys.items():
        expected = 1 if number % 2 == 0 else len(keys)
        assert len(set(keys)) == expected, (number, keys)
        assert number % 2 or keys[0] == f"key-{number}"
    assert all(bytes(view) == body for view, body in transport.views)


def test_a_request_that_never_left_keeps_its_keys() -> None:
    class Unsent(TimeoutError):
        n_sent = 0

    transport = KeyNotes(raise_it(Unsent()))
    assert new_output(transport, 0.0).flush(mixed_chunk()) is FlushResult.OK
    assert all(len(keys) == 2 and len(set(keys)) == 1 for keys in transport.keys.values())
