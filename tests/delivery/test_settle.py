"""Random faults: each record ends where a simple model says, and the account is balanced."""

import random
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from fake_transport import (
    FakeTime,
    FakeTransport,
    Reply,
    Step,
    accept,
    error,
    fail,
    fail_all,
    raise_it,
    raw,
    refuse_if,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from outputs import assert_balanced, eventually, new_output, numbered, numbers

from kinesis_fast import FlushResult, TransportError
from kinesis_fast.stats import ChunkAccount, Counters
from kinesis_fast.transport import NotSentError

BATCH, ATTEMPTS = 500, 4
MAY_PASS = {
    "lost": raise_it(TransportError("reset")),
    "busy": error(503, "ServiceUnavailable"),
    "throttled": error(400, "ProvisionedThroughputExceededException"),
    "garbage": raw(b"garbage"),
    "none": fail_all(),
}
BLOCKED = {"denied": error(400, "AccessDeniedException"), "unsent": raise_it(NotSentError("no"))}


def every(nth: int) -> Step:
    """Return a step that refuses every nth entry."""
    return lambda records: fail(*range(0, len(records), nth))(records)


@dataclass
class Model:
    """What a delivery must do, one request after the other."""

    faults: list[str | int]
    kept: list[int] = field(default_factory=list)
    resent: int = 0
    requests: int = 0

    def flush(self, batches: list[list[int]]) -> bool:
        return all(self.deliver(batch, is_new=True) for batch in batches)

    def deliver(self, batch: list[int], is_new: bool) -> bool:
        in_vain = 0
        while in_vain < ATTEMPTS:
            fault = self.faults.pop(0) if self.faults else "accept"
            if fault == "unsent":
                return False
            self.requests += 1
            self.resent += 0 if is_new else len(batch)
            is_new = False
            if fault in BLOCKED:
                return False
            if fault == "accept":
                self.kept += batch
                return True
            if isinstance(fault, int):
                self.kept += [n for i, n in enumerate(batch) if i % fault]
                in_vain = 0 if batch[::fault] != batch else in_vain
                batch = batch[::fault]
            in_vain += 1
        return False


faults = st.sampled_from([*MAY_PASS, *BLOCKED, "accept", "accept", 2, 3, 7])


@settings(max_examples=150, deadline=None)
@example(20, ["lost", 2, "lost", "lost", "lost"])  # what was accepted between proves nothing
@given(
    n_records=st.one_of(st.integers(0, 20), st.integers(0, 1600)),
    faults=st.lists(faults, max_size=20),
)
def test_a_flush_does_what_the_model_does(n_records: int, faults: list[str | int]) -> None:
    named = {**MAY_PASS, **BLOCKED, "accept": accept}
    steps = [every(fault) if isinstance(fault, int) else named[fault] for fault in faults]
    transport = FakeTransport(*steps)
    output = new_output(transport, FakeTime(chance=0.0))

    batches = [list(range(n_records))[i : i + BATCH] for i in range(0, n_records, BATCH)]
    model = Model(list(faults))
    is_settled = model.flush(batches)

    result = output.flush(numbered(range(n_records)))
    stats = output.stats()
    assert_balanced(stats)
    assert result is (FlushResult.OK if is_settled else FlushResult.RETRY)
    assert numbers(transport.kept) == model.kept
    assert stats["in"] == n_records
    assert stats["delivered"] == len(model.kept) == len(set(model.kept))
    assert stats["dead"] == 0
    assert stats["pending"] == 0
    assert stats["retried"] == model.resent
    assert stats["requests"] == model.requests


@settings(max_examples=60, deadline=None)
@given(
    n_records=st.one_of(st.integers(1, 20), st.integers(1, 1600)),
    bad=st.frozensets(st.integers(0, 1600), max_size=6),
    in_flight=st.sampled_from(["1", "4"]),
)
def test_refused_records_are_dead_and_all_others_arrive(
    n_records: int, bad: frozenset[int], in_flight: str
) -> None:
    """Of a chunk in which the service accepts no record at all, everything is returned."""
    here = bad & set(range(n_records))
    service = refuse_if(lambda data: numbers([data])[0] in bad)
    transport = FakeTransport(then=service)
    output = new_output(transport, FakeTime(chance=0.0), max_in_flight=in_flight)
    is_settled = len(here) < n_records
    result = output.flush(numbered(range(n_records)))
    assert result is (FlushResult.OK if is_settled else FlushResult.RETRY)
    stats = output.stats()
    assert_balanced(stats)
    assert sorted(numbers(transport.kept)) == sorted(set(range(n_records)) - here)
    assert stats["dead"] == (len(here) if is_settled else 0)
    output.close()


def unreliable(seed: int) -> Step:
    """Return a step with random faults of every kind."""
    chance = random.Random(seed)
    lock = threading.Lock()
    accept_good = refuse_if(lambda data: numbers([data])[0] % 400 == 7)
    faults = [*MAY_PASS.values(), *BLOCKED.values(), every(2), every(3)]

    def step(records: list[bytes]) -> Reply:
        with lock:
            chosen = chance.choice(faults) if chance.random() < 0.1 else accept_good
        return chosen(records)

    return step


def watch(output_stats: Iterator[dict[str, int]], stop: threading.Event, seen: list[str]) -> None:
    while not stop.is_set():
        try:
            assert_balanced(next(output_stats))
        except AssertionError as failure:
            seen.append(str(failure))
            return


@pytest.fixture
def short_switch_interval() -> Iterator[None]:
    """Let the interpreter switch threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("short_switch_interval")
@pytest.mark.parametrize("concurrency", ["0", "3"])
def test_the_account_is_balanced_at_any_moment(concurrency: str) -> None:
    transport = FakeTransport(then=unreliable(1))
    output = new_output(
        transport,
        FakeTime(chance=0.0),
        experimental_concurrency=concurrency,
        experimental_concurrency_retries="1",
    )
    stop = threading.Event()
    seen: list[str] = []
    snapshots = iter(output.stats, {})
    watcher = threading.Thread(target=watch, args=(snapshots, stop, seen))
    watcher.start()
    chunk = numbered(range(700)) + b"\x92\x00\x07" + b"\xc1"

    def bring() -> None:
        for _ in range(12):
            output.flush(chunk)

    threads = [threading.Thread(target=bring) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: output.stats()["pending"] == 0)  # close() would end a try that has progress
    output.close()
    stop.set()
    watcher.join()
    assert seen == []
    stats = output.stats()
    assert_balanced(stats)
    assert stats["in"] + stats["resumed"] == 3 * 12 * 702
    assert stats["pending"] == 0
    assert stats["delivered"] == len(transport.kept)
    assert stats["returned"] > 0
    assert stats["dead"] > 0


@pytest.mark.usefixtures("short_switch_interval")
def test_counters_that_belong_together_are_never_seen_apart() -> None:
    stats = Counters()
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            account = ChunkAccount(stats)
            account.taken_over(3)
            account.delivered(1, 10)
            account.dead(1)
            account.close()

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5000):
            assert_balanced(stats.snapshot())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert stats.snapshot()["delivered"] == stats.snapshot()["in"] // 3 > 0
