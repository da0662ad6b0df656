"""A stream that takes less than there is: the sender slows down, and recovers within seconds."""

import hashlib
import json
import threading
import time
from base64 import b64decode

import pytest
from chunks import output_config
from fake_transport import THROTTLED, FakeTime, FakeTransport, entries_answer, fail, fail_all
from outputs import assert_stats, new_output, numbered

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.concurrency_limit import MAX_PAUSE_S, MIN_WINDOW, AdaptiveConcurrency
from kinesis_fast.transport import Response


def test_the_window_starts_open() -> None:
    pace = AdaptiveConcurrency(4, lambda: 0.5)
    assert (pace.in_flight, pace.pause_s()) == (4, 0.0)


def test_it_falls_by_the_share_that_failed() -> None:
    pace = AdaptiveConcurrency(4, lambda: 0.5)
    pace.throttled(0.5)
    assert pace.in_flight == 3
    pace.throttled(1.0)
    assert pace.in_flight == 1
    assert pace.pause_s() == 0.0


def test_below_one_in_flight_there_are_pauses() -> None:
    pace = AdaptiveConcurrency(1, lambda: 0.999)
    bounds = []
    for _ in range(10):
        pace.throttled(1.0)
        bounds.append(pace.pause_s())
    assert bounds == sorted(bounds)
    assert 0.15 < bounds[0] < 0.25
    assert MAX_PAUSE_S * 0.99 < bounds[-1] < MAX_PAUSE_S
    assert pace._window == MIN_WINDOW
    assert pace.in_flight == 1


def test_pauses_are_random_between_nothing_and_a_bound() -> None:
    chances = iter([0.0, 0.25, 0.75])
    pace = AdaptiveConcurrency(1, lambda: next(chances))
    pace.throttled(1.0)
    assert pace.pause_s() == 0.0
    assert pace.pause_s() * 3 == pytest.approx(pace.pause_s())


def test_it_recovers_after_a_few_requests() -> None:
    pace = AdaptiveConcurrency(4, lambda: 0.5)
    for _ in range(20):
        pace.throttled(1.0)
    waited_s, n_requests = 0.0, 0
    while pace.in_flight < 4:
        waited_s += pace.pause_s()
        pace.accepted()
        n_requests += 1
    assert n_requests <= 8
    assert waited_s < 3.0


def test_other_failures_do_not_slow_down() -> None:
    for code, slows in ((THROTTLED, True), ("InternalFailure", False)):
        transport, clock = FakeTransport(*[fail_all(code)] * 3), FakeTime(chance=0.01)
        output = new_output(transport, clock)
        assert output.flush(numbered([1])) is FlushResult.OK
        n_sleeps = len(clock.waits)
        assert output.flush(numbered([2])) is FlushResult.OK
        assert (len(clock.waits) > n_sleeps) is slows


def test_pauses_count_as_retrying() -> None:
    clock = FakeTime(chance=0.9)
    output = new_output(FakeTransport(then=fail(0)), clock)
    for _ in range(6):
        began = clock.now
        assert output.flush(numbered(range(5000))) is FlushResult.RETRY
        assert clock.now - began < 8.0


class Shards:
    """A service of shards that take so many records a second each."""

    def __init__(self, n_shards: int, records_per_s: float) -> None:
        self._rate = records_per_s
        self._room = [records_per_s] * n_shards
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self.kept: list[int] = []
        self.n_requests = self.n_refused = 0

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        entries = json.loads(bytes(body))["Records"]
        with self._lock:
            now = time.monotonic()
            for shard, room in enumerate(self._room):
                self._room[shard] = min(self._rate, room + (now - self._since) * self._rate)
            self._since = now
            codes = [self._take(entry) for entry in entries]
            self.n_requests += 1
            self.n_refused += sum(code is not None for code in codes)
        return entries_answer(codes)

    def _take(self, entry: dict[str, str]) -> str | None:
        digest = hashlib.md5(entry["PartitionKey"].encode()).digest()
        shard = digest[0] % len(self._room)
        if self._room[shard] < 1:
            return THROTTLED
        self._room[shard] -= 1
        self.kept.append(json.loads(b64decode(entry["Data"]))["n"])
        return None


@pytest.mark.slow
def test_under_a_small_stream_few_records_are_sent_in_vain() -> None:
    service = Shards(2, 4000.0)
    output = KinesisOutput(output_config(), service)
    began = time.monotonic()
    n_records = 0
    while time.monotonic() - began < 4:
        chunk = numbered(range(n_records, n_records + 5000))
        while output.flush(chunk) is not FlushResult.OK:
            pass
        n_records += 5000
    elapsed_s = time.monotonic() - began
    output.close()
    assert sorted(service.kept) == list(range(n_records))
    assert_stats(output, delivered=n_records)
    assert n_records > 0.5 * 8000 * elapsed_s  # what the stream takes is used
    assert service.n_refused < 2 * n_records  # and it is not hammered
