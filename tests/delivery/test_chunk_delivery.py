"""Several requests in flight: lanes, the order of keys, helping threads, bounds."""

import json
import threading
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from chunks import chunk_of, output_config
from fake_transport import (
    FakeTime,
    FakeTransport,
    Reply,
    accept,
    entries_answer,
    error,
    fail,
    fail_all,
    raise_it,
    refuse_if,
)
from outputs import PATIENCE_S, assert_balanced, assert_stats, new_output, numbered, numbers

from kinesis_fast import FlushResult, KinesisOutput, RecordEncoder
from kinesis_fast._core.request import Request
from kinesis_fast._core.request_stream import RequestStream
from kinesis_fast.delivery.concurrency_limit import RISE
from kinesis_fast.delivery.leader_followers import LeaderFollowers
from kinesis_fast.delivery.protocols import Chunk
from kinesis_fast.transport import Response

OK, RETRY = FlushResult.OK, FlushResult.RETRY


class Service:
    """A transport that notes which records of each partition key arrived, in which order.

    Args:
        n_together: so many requests, the first ones, wait until all of them are in flight.
        hold: every request waits until this is set.

    Attributes:
        most_in_flight: the largest number of requests in flight.
        most_at_first: the same, before the first response.
    """

    def __init__(self, n_together: int = 1, hold: threading.Event | None = None) -> None:
        self.arrived: dict[str, list[int]] = defaultdict(list)
        self.sizes: list[int] = []
        self.most_in_flight = self.most_at_first = 0
        self._in_flight = self._n_begun = 0
        self._together = threading.Barrier(n_together)
        self._hold = hold
        self._lock = threading.Lock()

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        entries = json.loads(bytes(body))["Records"]
        with self._lock:
            self._in_flight += 1
            self._n_begun += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            if not self.sizes:
                self.most_at_first = self._in_flight
            is_early = self._n_begun <= self._together.parties
        if is_early:
            self._together.wait(PATIENCE_S)
        if self._hold is not None:
            assert self._hold.wait(PATIENCE_S)
        with self._lock:
            self._in_flight -= 1
            self.sizes.append(n_records)
            found = numbers(b64decode(entry["Data"]) for entry in entries)
            for entry, number in zip(entries, found, strict=True):
                self.arrived[entry["PartitionKey"]].append(number)
        return entries_answer([None] * n_records)


@pytest.fixture
def standstill(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set as soon as a thread of a delivery finds that no job may begin."""
    event, follow = threading.Event(), LeaderFollowers.follow

    def noted(workers: LeaderFollowers, wait_s: float | None) -> None:
        if wait_s is None:
            event.set()
        follow(workers, wait_s)

    monkeypatch.setattr(LeaderFollowers, "follow", noted)
    return event


def keyed(n: int, n_keys: int, seed: int = 1) -> bytes:
    rng = Random(seed)
    return chunk_of({"n": i, "k": f"key {rng.randrange(n_keys)}"} for i in range(n))


def output_for(transport: Any, **options: str) -> KinesisOutput:
    return KinesisOutput(output_config(options), transport, timing=FakeTime().timing())


@pytest.mark.parametrize("max_in_flight", [1, 4, 7])
@pytest.mark.parametrize("n_records", [1, 500, 501, 2600])
def test_every_record_arrives_once(max_in_flight: int, n_records: int) -> None:
    service = Service()
    with output_for(service, max_in_flight=str(max_in_flight)) as output:
        assert output.flush(numbered(range(n_records))) is OK
    assert sorted(n for arrived in service.arrived.values() for n in arrived) == list(
        range(n_records)
    )
    full, rest = divmod(n_records, 500)
    assert sorted(service.sizes, reverse=True) == [500] * full + [rest] * (rest > 0)
    assert service.most_in_flight <= max_in_flight
    assert_stats(output, in_=n_records, delivered=n_records)


def test_as_many_requests_as_allowed_are_in_flight() -> None:
    service = Service(n_together=3)
    with output_for(service, max_in_flight="3") as output:
        assert output.flush(numbered(range(6000))) is OK
    assert service.most_in_flight == 3


@pytest.mark.parametrize(("n_throttles", "most"), [(0, 4), (1, 2), (2, 1), (6, 1)])
def test_no_more_requests_are_in_flight_than_the_window_allows(
    n_throttles: int, most: int, standstill: threading.Event
) -> None:
    service = Service(n_together=most, hold=standstill)
    with output_for(service, max_in_flight="4") as output:
        assert output._parts is not None
        for _ in range(n_throttles):
            output._parts.context.concurrency.throttled(1.0)
        assert output.flush(numbered(range(10_000))) is OK
    # Accepted requests widen the window, so more may follow as soon as the hold is over.
    assert service.most_at_first == most


def test_a_throttled_request_narrows_the_window() -> None:
    transport = FakeTransport(fail_all(), fail(0, 1))
    with new_output(transport, max_in_flight="4") as output:
        assert output.flush(numbered(range(4))) is OK
        assert output._parts is not None
        window = output._parts.context.concurrency._window
    assert window == 4 * 0.5 * 0.75 + RISE


@pytest.mark.parametrize("n_keys", [1, 2, 5, 300])
@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_records_of_a_key_arrive_in_order(n_keys: int, max_in_flight: int) -> None:
    service = Service()
    options = {"partition_key": "k", "max_in_flight": str(max_in_flight)}
    with output_for(service, **options) as output:
        assert output.flush(keyed(6000, n_keys)) is OK
    assert len(service.arrived) == n_keys
    for arrived in service.arrived.values():
        assert arrived == sorted(arrived)
    assert sum(map(len, service.arrived.values())) == 6000
    assert service.most_in_flight <= max_in_flight
    assert len(service.sizes) <= 6000 // 500 + max_in_flight


def test_a_lane_has_one_request_in_flight(standstill: threading.Event) -> None:
    service = Service(hold=standstill)
    with output_for(service, partition_key="k", max_in_flight="4") as output:
        assert output.flush(keyed(5000, 1)) is OK
    assert service.most_in_flight == 1


def test_lanes_are_in_flight_together() -> None:
    service = Service(n_together=4)
    with output_for(service, partition_key="k", max_in_flight="4") as output:
        assert output.flush(keyed(12_000, 100)) is OK
    assert service.most_in_flight == 4


@pytest.mark.parametrize(
    ("n_records", "n_lanes"), [(1, 1), (999, 1), (1000, 2), (1999, 3), (2000, 4), (9000, 4)]
)
def test_no_more_lanes_than_full_requests(n_records: int, n_lanes: int) -> None:
    encoder = RecordEncoder(output_config(partition_key="k"))
    stream = encoder.requests(keyed(n_records, 1000), max_lanes=4)
    assert stream.n_lanes == n_lanes
    assert {request.lane for request in stream} == set(range(n_lanes))


def test_a_single_key_has_a_single_lane() -> None:
    stream = RecordEncoder(output_config(partition_key="k")).requests(keyed(5000, 1), max_lanes=4)
    requests = list(stream)
    assert [request.n_records for request in requests] == [500] * 10
    assert len({request.lane for request in requests}) == 1


def test_records_without_the_key_do_not_disturb_the_order() -> None:
    rng = Random(3)
    bodies: Iterable[dict[str, object]] = (
        {"n": i} if rng.random() < 0.5 else {"n": i, "k": f"{rng.randrange(50)}"}
        for i in range(6000)
    )
    service = Service()
    with output_for(service, partition_key="k") as output:
        assert output.flush(chunk_of(bodies)) is OK
    assert sorted(n for arrived in service.arrived.values() for n in arrived) == list(range(6000))
    for key in map(str, range(50)):
        assert service.arrived[key] == sorted(service.arrived[key])
    assert len(service.sizes) <= 12 + 4


class CountingStream:
    """A stream that reports each request that it writes."""

    def __init__(self, stream: RequestStream, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def take(self, max_open: int, /) -> Request | None:
        request = self._stream.take(max_open)
        if request is not None:
            self._count(1)
        return request


@pytest.mark.parametrize(("options", "most"), [({}, 5), ({"partition_key": "k"}, 8)])
def test_requests_in_memory_are_bounded(
    options: dict[str, str], most: int, standstill: threading.Event
) -> None:
    config = output_config(options)
    lock = threading.Lock()
    alive = [0]

    class CountingEncoder(RecordEncoder):
        def requests(self, chunk: Chunk, **more: Any) -> Any:
            return CountingStream(super().requests(chunk, **more), count)

    class CountingService(Service):
        def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
            response = super().send(body, n_records, timeout_s)
            count(-1)
            return response

    def count(change: int) -> None:
        with lock:
            alive.append(alive[-1] + change)

    with KinesisOutput(
        config, CountingService(hold=standstill), make_encoder=CountingEncoder
    ) as output:
        assert output.flush(keyed(10_000, 1000)) is OK
    assert 4 <= max(alive) <= most


@pytest.mark.parametrize("options", [{}, {"partition_key": "k"}])
@pytest.mark.parametrize("seed", range(6))
def test_random_faults(options: dict[str, str], seed: int) -> None:
    rng = Random(seed)
    lock = threading.Lock()

    def failing(records: list[bytes]) -> Reply:
        with lock:
            kind = rng.randrange(10)
            failed = rng.sample(range(len(records)), rng.randint(0, len(records)))
        if kind == 0:
            return raise_it(ConnectionError("reset"))(records)
        if kind == 1:
            return error(500, "InternalFailure")(records)
        if kind == 2:
            return error(400, "AccessDeniedException")(records)
        if kind <= 5:
            return fail(*failed)(records)
        return refuse_if(lambda data: numbers([data])[0] % 997 == 5)(records)

    transport = FakeTransport(then=failing)
    output = new_output(transport, FakeTime(chance=0.0), max_in_flight="4", **options)
    chunk = keyed(4000, 40, seed)
    for _ in range(200):
        result = output.flush(chunk)
        assert_balanced(output.stats())
        assert output.stats()["pending"] == 0
        if result is OK:
            break
    assert result is OK
    stats = output.stats()
    kept = numbers(transport.kept)
    assert len(kept) == len(set(kept)) == stats["delivered"]
    assert {n for n in range(4000) if n % 997 != 5} <= set(kept)
    assert stats["dead"] == 4000 - len(kept)
    assert stats["in"] - stats["returned"] == 4000


def test_a_request_that_fails_stops_the_others() -> None:
    transport = FakeTransport(then=error(400, "AccessDeniedException"))
    output = new_output(transport, max_in_flight="4")
    assert output.flush(numbered(range(50_000))) is RETRY
    assert len(transport.sizes) <= 4
    assert_stats(output, in_=50_000, returned=50_000, delivered=0)


def test_when_no_thread_can_start_the_caller_does_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    service = Service()
    output = output_for(service)
    assert output.flush(numbered(range(5000))) is OK
    assert service.most_in_flight == 1
    assert_stats(output, in_=5000, delivered=5000)


def test_an_exception_of_a_helper_reaches_the_caller() -> None:
    first_arrived, second_failed = threading.Event(), threading.Event()

    def step(records: list[bytes]) -> Reply:
        if numbers(records[:1]) == [0]:
            first_arrived.set()
            assert second_failed.wait(PATIENCE_S)
            return accept(records)
        assert first_arrived.wait(PATIENCE_S)
        second_failed.set()
        return raise_it(SystemExit(5))(records)

    output = new_output(FakeTransport(then=step), max_in_flight="2")
    with pytest.raises(SystemExit):
        output.flush(numbered(range(1000)))
    assert_stats(output, in_=1000, delivered=500, returned=500)


def test_several_flushes_at_once() -> None:
    service = Service()
    output = output_for(service, partition_key="k")
    results: list[FlushResult] = []
    chunks = [
        chunk_of({"n": i, "k": f"{caller} {i % 7}"} for i in range(1500)) for caller in range(8)
    ]
    threads = [
        threading.Thread(target=lambda chunk=chunk: results.append(output.flush(chunk)))
        for chunk in chunks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output.close()
    assert results == [OK] * 8
    assert_stats(output, in_=12_000, delivered=12_000)
    assert all(arrived == sorted(arrived) for arrived in service.arrived.values())


@pytest.mark.parametrize("partition_key", ["", "k"])
def test_one_thread_does_all_jobs_while_each_is_quick(
    monkeypatch: pytest.MonkeyPatch, partition_key: str
) -> None:
    monkeypatch.setattr("kinesis_fast.delivery.leader_followers.PATIENCE_S", PATIENCE_S)
    threads: list[int] = []

    class Quick(Service):
        def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
            threads.append(threading.get_ident())
            return super().send(body, n_records, timeout_s)

    with output_for(Quick(), partition_key=partition_key) as output:
        assert output.flush(keyed(10_000, 50), "tag") is OK
    assert len(threads) >= 20
    assert set(threads) == {threading.get_ident()}
