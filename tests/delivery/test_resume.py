"""A chunk that comes again after RETRY: only the records that are not settled are sent."""

import threading
from random import Random

import pytest
from chunks import chunk_of, event, event_time
from fake_transport import (
    FakeTime,
    FakeTransport,
    Reply,
    accept,
    error,
    fail,
    raise_it,
    refuse_if,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import assert_stats, new_output, numbered, numbers

from kinesis_fast import FlushResult, SendFailureTimeout, TransportError
from kinesis_fast.delivery.resume import ENTRY_BYTES, ResumeMemory
from kinesis_fast.stats import ChunkAccount

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")


def test_only_the_rest_is_sent() -> None:
    transport = FakeTransport(accept, fail(3, 5), DENIED)
    output = new_output(transport)
    chunk = numbered(range(1200))
    assert output.flush(chunk, "a") is RETRY
    assert_stats(output, in_=1200, delivered=998, returned=202, resumed=0)
    assert output.flush(bytearray(chunk), "a") is OK
    assert_stats(output, in_=1402, delivered=1200, returned=202, resumed=998)
    assert sorted(numbers(transport.kept)) == list(range(1200))
    assert output.flush(chunk, "a") is OK  # a new chunk that equals the first
    assert_stats(output, delivered=2400, resumed=998)


def test_a_flush_that_is_interrupted_at_its_end_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    close, n_calls = ChunkAccount.close, 0

    def interrupted(account: ChunkAccount, counter: str = "returned") -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise KeyboardInterrupt
        close(account, counter)

    monkeypatch.setattr(ChunkAccount, "close", interrupted)
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    transport = FakeTransport(accept, DENIED)
    output = new_output(transport)
    with pytest.raises(KeyboardInterrupt):
        output.flush(numbered(range(700)), "a")
    assert_stats(output, in_=700, delivered=500, returned=200)
    assert output._parts is not None
    assert not output._parts.context.watchdog._active
    assert output.flush(numbered(range(700)), "a") is OK
    assert_stats(output, delivered=700, resumed=500)
    assert numbers(transport.kept) == list(range(700))


@pytest.mark.parametrize(("tag", "change"), [("b", False), ("a", True)])
def test_another_chunk_is_sent_whole(tag: str, change: bool) -> None:
    output = new_output(FakeTransport(accept, DENIED))
    assert output.flush(numbered(range(600)), "a") is RETRY
    chunk = numbered([*range(599), 600 if change else 599])
    assert output.flush(chunk, tag) is OK
    assert_stats(output, in_=1200, delivered=1100, resumed=0)


def test_two_equal_chunks_are_both_delivered() -> None:
    transport = FakeTransport(accept, DENIED, fail(1), DENIED)
    output = new_output(transport)
    chunk = numbered(range(1000))
    assert output.flush(chunk) is RETRY  # 0 to 499 arrived
    assert output.flush(chunk) is RETRY  # that was its retry: 500 to 999 but 501 arrived
    assert output.flush(chunk) is OK
    assert output.flush(chunk) is OK
    assert sorted(numbers(transport.kept)) == sorted([*range(1000)] * 2)


def test_two_equal_chunks_at_once() -> None:
    lock = threading.Lock()
    n_requests = 0

    def step(records: list[bytes]) -> Reply:
        nonlocal n_requests
        with lock:
            n_requests += 1
            number = n_requests
        return DENIED(records) if number in {3, 5} else accept(records)

    transport = FakeTransport(then=step)
    output = new_output(transport)
    chunk = numbered(range(1000))
    results: list[FlushResult] = []

    def bring() -> None:
        results.append(output.flush(chunk))

    while results.count(OK) < 2:
        threads = [threading.Thread(target=bring) for _ in range(2 - results.count(OK))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers(transport.kept)) == sorted([*range(1000)] * 2)


def test_skipped_and_dead_records_count_once(caplog: pytest.LogCaptureFixture) -> None:
    bad = b"\x92\x92\x00\x80\x07"
    marker = event({}, event_time(-1))
    chunk = marker + numbered([0]) + bad + numbered(range(1, 700)) + bad + b"\xc1"
    transport = FakeTransport(then=refuse_if(lambda data: data == b'{"n":7}'))
    output = new_output(transport)
    assert output.flush(chunk) is OK
    assert_stats(output, in_=703, delivered=699, skipped=3, dead=1)

    output = new_output(FakeTransport(accept, DENIED))
    assert output.flush(chunk) is RETRY
    assert_stats(output, delivered=500, returned=200, in_=703, skipped=3, skipped_malformed=1)
    assert output.flush(chunk) is OK
    assert_stats(output, delivered=700, skipped=3, skipped_malformed=1, resumed=503, in_=903)


def test_a_lost_response_is_no_acknowledgement() -> None:
    def stored_but_lost(records: list[bytes]) -> Reply:
        return Reply(TransportError("reset"), range(len(records)))

    transport = FakeTransport(accept, then=stored_but_lost)
    output = new_output(transport, FakeTime(chance=0.0))
    assert output.flush(numbered(range(600))) is RETRY
    assert_stats(output, delivered=500, returned=100)
    assert numbers(transport.kept).count(599) == 4


def test_a_chunk_is_remembered_when_the_watchdog_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    time = FakeTime(chance=0.0)

    def slow(records: list[bytes]) -> Reply:
        time.advance(20)
        return DENIED(records)

    transport = FakeTransport(accept, slow)
    output = new_output(transport, time)
    with pytest.raises(SendFailureTimeout):
        output.flush(numbered(range(600)))
    assert output.flush(numbered(range(600))) is OK
    assert sorted(numbers(transport.kept)) == list(range(600))


def test_a_chunk_is_not_remembered_when_nothing_arrived() -> None:
    output = new_output(FakeTransport(DENIED))
    assert output.flush(numbered(range(10))) is RETRY
    assert output.flush(numbered(range(10))) is OK
    assert_stats(output, resumed=0, delivered=10)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_records=st.integers(1, 3000),
    max_in_flight=st.sampled_from(["1", "4"]),
    keyed=st.booleans(),
)
def test_no_record_is_sent_twice_whatever_fails(
    seed: int, n_records: int, max_in_flight: str, keyed: bool
) -> None:
    rng = Random(seed)
    lock = threading.Lock()

    def failing(records: list[bytes]) -> Reply:
        with lock:
            kind = rng.randrange(4)
            failed = rng.sample(range(len(records)), rng.randint(0, len(records)))
        if kind == 0:
            return DENIED(records)
        if kind == 1:
            return raise_it(TransportError("refused"))(records)
        return fail(*failed)(records)

    transport = FakeTransport(then=failing)
    options = {"partition_key": "k"} if keyed else {}
    output = new_output(transport, FakeTime(chance=0.0), max_in_flight=max_in_flight, **options)
    chunk = chunk_of({"n": n, "k": str(n % 13)} for n in range(n_records))
    while output.flush(chunk) is not OK:
        pass
    assert sorted(numbers(transport.kept)) == list(range(n_records))
    assert_stats(output, delivered=n_records, pending=0)


# --- the memory itself ---


def test_an_entry_is_taken_once() -> None:
    memory = ResumeMemory()
    memory.put(b"abc", "t", b"\x01")
    memory.put(b"abc", "t", b"\x03")
    assert len(memory) == 2
    assert {memory.take(b"abc", "t"), memory.take(b"abc", "t")} == {b"\x01", b"\x03"}
    assert memory.take(b"abc", "t") is None
    assert len(memory) == 0


def test_other_tags_lengths_and_bytes_are_other_chunks() -> None:
    memory = ResumeMemory()
    memory.put(b"abc", "t", b"\x01")
    assert [memory.take(*other) for other in [(b"abd", "t"), (b"abc", "u"), (b"abcd", "t")]] == [
        None,
        None,
        None,
    ]
    assert memory.take(memoryview(b"abc"), "t") == b"\x01"


def test_the_hash_has_a_secret() -> None:
    one, other = ResumeMemory(), ResumeMemory()
    with memoryview(b"abc") as view:
        assert one._identify(view, "t").digest != other._identify(view, "t").digest


def test_old_entries_are_forgotten() -> None:
    now = 0.0
    memory = ResumeMemory(lambda: now, max_age_s=100)
    memory.put(b"a", "t", b"\x01")
    now = 50.0
    memory.put(b"b", "t", b"\x02")
    now = 120.0
    assert memory.take(b"a", "t") is None
    assert memory.take(b"b", "t") == b"\x02"


def test_memory_is_bounded() -> None:
    room_for_10 = 10 * (ENTRY_BYTES + 1 + 100)
    memory = ResumeMemory(max_bytes=room_for_10)
    for number in range(50):
        memory.put(b"%d" % number, "t", b"\x01" * 100)
    assert len(memory) == 10
    assert memory.take(b"39", "t") is None
    assert memory.take(b"40", "t") is not None
    memory.put(b"big", "t", b"\x01" * room_for_10)
    assert len(memory) == 0
    assert memory._n_bytes == 0
    assert not memory._shapes
    assert not memory._entries
