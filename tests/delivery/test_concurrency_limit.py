"""The window: it narrows while the stream throttles, and widens again within seconds."""

import hashlib
import json
from base64 import b64decode

import pytest
from chunks import output_config
from fake_transport import THROTTLED, FakeTime, FakeTransport, entries_answer, fail, fail_all
from outputs import assert_stats, new_output, numbered

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.concurrency_limit import MAX_PAUSE_S, MIN_WINDOW, AdaptiveConcurrency
from kinesis_fast.delivery.in_flight import RetryBudget
from kinesis_fast.transport import Response


def test_the_window_starts_at_its_maximum() -> None:
    limit = AdaptiveConcurrency(4, lambda: 0.5)
    assert (limit.in_flight, limit.pause_s()) == (4, 0.0)


def test_it_falls_by_the_share_that_failed() -> None:
    limit = AdaptiveConcurrency(4, lambda: 0.5)
    limit.throttled(0.5)
    assert limit.in_flight == 3
    limit.throttled(1.0)
    assert limit.in_flight == 1
    assert limit.pause_s() == 0.0


def test_below_one_in_flight_there_are_pauses() -> None:
    limit = AdaptiveConcurrency(1, lambda: 0.999)
    bounds = []
    for _ in range(10):
        limit.throttled(1.0)
        bounds.append(limit.pause_s())
    assert bounds == sorted(bounds)
    assert 0.15 < bounds[0] < 0.25
    assert MAX_PAUSE_S * 0.99 < bounds[-1] < MAX_PAUSE_S
    assert limit._window == MIN_WINDOW
    assert limit.in_flight == 1


def test_pauses_are_random_between_nothing_and_a_bound() -> None:
    chances = iter([0.0, 0.25, 0.75])
    limit = AdaptiveConcurrency(1, lambda: next(chances))
    limit.throttled(1.0)
    assert limit.pause_s() == 0.0
    assert limit.pause_s() * 3 == pytest.approx(limit.pause_s())


def test_it_recovers_after_a_few_requests() -> None:
    limit = AdaptiveConcurrency(4, lambda: 0.5)
    for _ in range(20):
        limit.throttled(1.0)
    waited_s, n_requests = 0.0, 0
    while limit.in_flight < 4:
        waited_s += limit.pause_s()
        limit.accepted()
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


def test_pauses_spend_the_retry_budget() -> None:
    output = new_output(FakeTransport(), FakeTime(chance=0.5))
    assert output._parts is not None
    context, budget = output._parts.context, RetryBudget()
    context.concurrency.throttled(1.0)
    assert budget.pace_s(context) > 0
    assert budget.retrying_s is None  # no attempt has failed yet
    assert budget.pause_s(context, 1, 3.0) == 0.25
    pause_s = budget.pace_s(context)
    assert budget.retrying_s == 0.25 + pause_s


def test_pauses_count_as_retrying() -> None:
    clock = FakeTime(chance=0.9)
    output = new_output(FakeTransport(then=fail(0)), clock)
    for _ in range(6):
        began = clock.now
        assert output.flush(numbered(range(5000))) is FlushResult.RETRY
        assert clock.now - began < 8.0


class Shards:
    """A transport to shards, each of which takes so many records a second; a request takes 10 ms.

    Args:
        clock: what it goes by.
        n_shards: number of shards.
        records_per_s: rate of each shard.
    """

    def __init__(self, clock: FakeTime, n_shards: int, records_per_s: float) -> None:
        self._clock = clock
        self._rate = records_per_s
        self._room = [records_per_s] * n_shards
        self._since = clock.now
        self.kept: list[int] = []
        self.n_refused = 0

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        self._clock.advance(0.01)
        gained = (self._clock.now - self._since) * self._rate
        self._since = self._clock.now
        self._room = [min(self._rate, room + gained) for room in self._room]
        codes = [self._take(entry) for entry in json.loads(bytes(body))["Records"]]
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


def test_a_small_stream_is_used_up_and_few_records_are_refused() -> None:
    clock = FakeTime()
    service = Shards(clock, 2, 1000.0)
    output = KinesisOutput(output_config(max_in_flight="1"), service, timing=clock.timing())
    began, n_records = clock.now, 0
    while clock.now - began < 15:
        chunk = numbered(range(n_records, n_records + 5000))
        while output.flush(chunk) is not FlushResult.OK:
            pass
        n_records += 5000
    elapsed_s = clock.now - began
    output.close()
    assert sorted(service.kept) == list(range(n_records))
    assert_stats(output, delivered=n_records)
    assert n_records > 0.5 * 2000 * elapsed_s
    assert service.n_refused < 2 * n_records
