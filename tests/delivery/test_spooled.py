"""Chunks that are on disk before their flush returns OK: tries, waits, restarts, the account."""

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chunks import chunk_of, output_config
from fake_transport import FakeTime, FakeTransport, Reply, accept, error, fail, raise_it
from outputs import PATIENCE_S, Gate, assert_balanced, assert_stats, eventually, numbered, numbers

from kinesis_fast import FlushResult, KinesisOutput, SendFailureTimeout
from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.chunk_group import REQUESTS_PER_NOTE
from kinesis_fast.delivery.in_flight import InFlightRequest
from kinesis_fast.delivery.spooled import Spooled
from kinesis_fast.limits import SPOOL_START_SPREAD_S
from kinesis_fast.storage.dead_letters import FILE, DeadLetters
from kinesis_fast.storage.spool import SpooledChunk, SpooledContent
from kinesis_fast.transport import secrets

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")


def spooling(
    transport: FakeTransport, root: Path, clock: FakeTime | None = None, **options: str
) -> KinesisOutput:
    defaults = {
        "spool_dir": str(root / "spool"),
        "experimental_concurrency": "1",
        "max_in_flight": "1",
    }
    timing = (clock or FakeTime(chance=0.0)).timing()
    return KinesisOutput(output_config(defaults | options), transport, timing=timing)


def chunk_files(root: Path) -> list[Path]:
    return sorted((root / "spool").glob("*/*.chunk"))


def mode_of(output: KinesisOutput) -> Spooled:
    mode = output._parts.mode if output._parts else None
    assert isinstance(mode, Spooled)
    return mode


def test_a_chunk_is_on_disk_until_it_is_delivered(tmp_path: Path) -> None:
    gate = Gate()
    transport = FakeTransport(then=gate)
    output = spooling(transport, tmp_path)
    chunk = bytearray(numbered(range(700)))
    assert output.flush(chunk, "app") is OK
    gate.wait_for_arrivals(1)
    (file,) = chunk_files(tmp_path)
    assert file.read_bytes().endswith(bytes(chunk))
    chunk[:] = b""
    assert output.stats()["pending"] == 700
    gate.open()
    eventually(lambda: output.stats()["delivered"] == 700)
    eventually(lambda: not chunk_files(tmp_path))
    output.close()
    assert numbers(transport.kept) == list(range(700))


def test_a_start_without_a_backlog_does_not_wait(tmp_path: Path) -> None:
    clock = FakeTime(chance=0.99)
    with spooling(FakeTransport(), tmp_path, clock) as output:
        assert output.flush(numbered([1])) is OK
    assert_stats(output, delivered=1)
    assert clock.waits == []


def test_more_chunks_than_slots_are_taken_over(tmp_path: Path) -> None:
    gate = Gate()
    transport = FakeTransport(then=gate)
    output = spooling(transport, tmp_path, experimental_concurrency="2")
    for first in range(0, 200, 10):
        assert output.flush(numbered(range(first, first + 10))) is OK
    assert len(chunk_files(tmp_path)) == 20
    assert output.stats()["pending"] == 200
    gate.open()
    eventually(lambda: output.stats()["pending"] == 0)
    output.close()
    assert sorted(numbers(transport.kept)) == list(range(200))


def test_a_full_spool_returns_chunks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    output = spooling(FakeTransport(then=gate), tmp_path, spool_max_bytes="10M")
    chunk = numbered(range(200_000))
    results = [output.flush(chunk) for _ in range(5)]
    assert results[0] is OK
    assert results[-1] is RETRY
    assert_stats(output, returned=200_000 * results.count(RETRY))
    assert len([line for line in caplog.messages if "would exceed" in line]) == 1
    output.close(0.0)
    gate.open()
    eventually(lambda: not mode_of(output)._workers)


def test_chunks_are_sent_oldest_first(tmp_path: Path) -> None:
    gate = Gate()
    transport = FakeTransport(gate)
    with spooling(transport, tmp_path) as output:
        for number in range(6):
            assert output.flush(numbered([number])) is OK
        gate.open()
        eventually(lambda: output.stats()["delivered"] == 6)
    assert numbers(transport.kept) == list(range(6))


def test_the_first_log_line_says_what_a_full_spool_means(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spooling(FakeTransport(), tmp_path).close()
    (line,) = [line for line in caplog.messages if "Retry_Limit" in line]
    assert str(tmp_path / "spool" / "logs.0") in line


def test_the_next_start_sends_what_is_left_oldest_first(tmp_path: Path) -> None:
    output = spooling(FakeTransport(then=DENIED), tmp_path)
    for number in range(5):
        assert output.flush(numbered([number]), f"tag {number}") is OK
    output.close(PATIENCE_S)
    assert len(chunk_files(tmp_path)) == 5
    assert_balanced(output.stats())

    transport = FakeTransport()
    output = spooling(transport, tmp_path)
    eventually(lambda: output.stats()["delivered"] == 5)
    output.close()
    assert numbers(transport.kept) == [0, 1, 2, 3, 4]
    assert not chunk_files(tmp_path)
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["in"], stats["pending"]) == (5, 0)


def test_the_start_of_a_backlog_is_spread(tmp_path: Path) -> None:
    with spooling(FakeTransport(then=DENIED), tmp_path) as output:
        assert output.flush(numbered([1])) is OK
    transport, clock = FakeTransport(), FakeTime(chance=0.5, is_manual=True)
    with spooling(transport, tmp_path, clock) as output:
        eventually(lambda: clock.waits or transport.requests)
        assert clock.waits == [0.5 * SPOOL_START_SPREAD_S]
        assert transport.requests == []
        clock.advance(0.5 * SPOOL_START_SPREAD_S)
        eventually(lambda: output.stats()["delivered"] == 1)


def test_what_arrived_before_a_restart_is_not_sent_again(tmp_path: Path) -> None:
    transport, clock = FakeTransport(accept, fail(7, 9), then=DENIED), FakeTime(is_manual=True)
    output = spooling(transport, tmp_path, clock)
    assert output.flush(numbered(range(1200))) is OK
    eventually(lambda: len(clock.waits) == 1)  # before the second attempt of two records
    clock.advance(clock.waits[0])
    eventually(lambda: len(clock.waits) == 2)  # before the second try
    assert list((tmp_path / "spool").glob("*/*.progress"))
    output.close()
    assert_stats(output, delivered=998, pending=202)

    later = FakeTransport()
    output = spooling(later, tmp_path)
    eventually(lambda: output.stats()["delivered"] == 202)
    output.close()
    assert sorted(numbers(transport.kept + later.kept)) == list(range(1200))
    assert_stats(output, in_=202, resumed=998)


def test_nothing_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport(*[DENIED] * 12)
    output = spooling(transport, tmp_path, experimental_concurrency_retries="2")
    for number in range(3):
        assert output.flush(numbered([number])) is OK
    eventually(lambda: output.stats()["delivered"] == 3)
    output.close()
    assert numbers(transport.kept) == [0, 1, 2]
    levels = [
        record.levelname for record in caplog.records if "wait in the spool" in record.message
    ]
    assert levels == ["WARNING"] * 2 + ["ERROR"] * 10
    assert output.stats()["dead"] == 0


def test_waits_grow_and_the_chunks_take_turns(tmp_path: Path) -> None:
    transport = FakeTransport(*[DENIED] * 7)
    clock = FakeTime(chance=0.5)
    output = spooling(transport, tmp_path, clock, experimental_concurrency_retries="6")
    output.flush(numbered([0]))
    output.flush(numbered([1]))
    eventually(lambda: output.stats()["delivered"] == 2)
    output.close()
    assert clock.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 32.0]
    tried = [numbers(request)[0] for request in transport.requests]
    both = tried[tried.index(1) :]
    assert both == [(both[0] + index) % 2 for index in range(len(both))]
    assert len(tried) == 9


def test_after_a_success_the_waits_begin_anew(tmp_path: Path) -> None:
    transport = FakeTransport(DENIED, DENIED, accept, DENIED)
    clock = FakeTime(chance=0.5)
    with spooling(transport, tmp_path, clock) as output:
        output.flush(numbered([0]))
        eventually(lambda: output.stats()["delivered"] == 1)
        output.flush(numbered([1]))
        eventually(lambda: output.stats()["delivered"] == 2)
    assert clock.waits == [0.5, 1.0, 0.5]


def test_no_chunk_is_sent_before_the_wait_is_over(tmp_path: Path) -> None:
    transport, clock = FakeTransport(DENIED), FakeTime(chance=0.5, is_manual=True)
    output = spooling(transport, tmp_path, clock, experimental_concurrency="2")
    output.flush(numbered([0]))
    eventually(lambda: clock.waits or len(transport.requests) > 1)
    assert clock.waits == [0.5]
    output.flush(numbered([1]))
    eventually(lambda: len(clock.waits) >= 3 or len(transport.requests) > 1)
    n_waits = len(clock.waits)
    clock.advance(0.25)
    eventually(lambda: len(clock.waits) >= n_waits + 2 or len(transport.requests) > 1)
    assert transport.sizes == [1]
    clock.advance(0.25)
    eventually(lambda: output.stats()["delivered"] == 2)
    output.close()
    assert sorted(numbers(transport.kept)) == [0, 1]


def test_close_does_not_wait_for_the_next_try(tmp_path: Path) -> None:
    transport, clock = FakeTransport(DENIED), FakeTime(chance=0.5, is_manual=True)
    output = spooling(transport, tmp_path, clock)
    output.flush(numbered([0]))
    eventually(lambda: clock.waits)
    mode = mode_of(output)
    assert mode.close(2.0)  # True: within the time
    output.close()
    assert transport.sizes == [1]
    assert len(chunk_files(tmp_path)) == 1


def test_failed_tries_do_not_stop_the_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    transport = FakeTransport(*[DENIED] * 6)  # at 0, 0.5, 1.5, 3.5, 7.5 and 15.5 s
    output = spooling(transport, tmp_path, FakeTime(chance=0.5))
    assert output.flush(numbered([1])) is OK
    eventually(lambda: output.stats()["delivered"] == 1)
    with pytest.raises(SendFailureTimeout):
        output.flush(numbered([2]))
    assert output.flush(numbered([2])) is OK
    output.close()
    assert_stats(output, in_=3, delivered=2, returned=1)


def test_a_delivered_chunk_stops_the_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "10s")
    clock = FakeTime(chance=0.0)
    output = spooling(FakeTransport(accept, DENIED), tmp_path, clock)
    for number in range(3):
        assert output.flush(numbered([number])) is OK
        eventually(lambda: not chunk_files(tmp_path) and not mode_of(output)._workers)
        clock.advance(100.0)
    output.close()
    assert_stats(output, delivered=3)


def test_a_damaged_chunk_is_set_aside_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    transport = FakeTransport(gate)
    output = spooling(transport, tmp_path)
    for number in range(3):
        output.flush(numbered([number]))
    eventually(lambda: len(transport.requests) == 1)
    middle = chunk_files(tmp_path)[1]
    middle.write_bytes(middle.read_bytes()[:-1] + b"\xc0")
    gate.open()
    eventually(lambda: output.stats()["pending"] == 0)
    output.close()
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["delivered"], stats["dead"]) == (2, 1)
    assert "is damaged" in caplog.text
    assert list((tmp_path / "spool").glob("*/*.damaged"))


def test_other_chunks_go_first_after_an_unexpected_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(secrets, "_lasting", ["a/secret+key"])
    transport = FakeTransport(then=accept)
    output = spooling(transport, tmp_path)
    sender = output._parts
    assert sender is not None
    requests, first = sender.context.encoder.requests, True

    def fail_once(*args: Any, **more: Any) -> Any:
        nonlocal first
        if first:
            first = False
            raise MemoryError("no memory for a/secret+key")
        return requests(*args, **more)

    object.__setattr__(sender.context.encoder, "requests", fail_once)
    assert output.flush(numbered([0])) is OK
    assert output.flush(numbered([1])) is OK
    eventually(lambda: output.stats()["delivered"] == 2)
    output.close()
    assert "MemoryError('no memory for ***')" in caplog.text
    assert "a/secret+key" not in caplog.text
    assert sorted(numbers(transport.kept)) == [0, 1]


def test_a_transport_that_raises_system_exit(tmp_path: Path) -> None:
    transport = FakeTransport(raise_it(SystemExit(3)))
    output = spooling(transport, tmp_path)
    assert output.flush(numbered([1])) is OK
    eventually(lambda: len(transport.requests) >= 1)
    assert output.flush(numbered([2])) is OK
    eventually(lambda: output.stats()["delivered"] == 2)
    output.close()
    assert_balanced(output.stats())
    assert not chunk_files(tmp_path)


def test_close_leaves_the_rest_in_the_spool(tmp_path: Path) -> None:
    gate = Gate()
    n_requests = REQUESTS_PER_NOTE + 3
    transport = FakeTransport(*[accept] * n_requests, then=gate)
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(500 * 20))) is OK
    eventually(lambda: len(transport.requests) == n_requests + 1)
    output.close(0.05)
    (file,) = chunk_files(tmp_path)
    later = FakeTransport()
    again = spooling(later, tmp_path)
    eventually(lambda: again.stats()["delivered"] > 0 and again.stats()["pending"] == 0)
    again.close()
    left = set(range(500 * 20)) - set(numbers(transport.kept))
    assert set(numbers(later.kept)) == left
    assert not file.exists()
    gate.open()
    eventually(lambda: not mode_of(output)._workers)


def test_progress_is_written_after_every_few_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_settled: list[int] = []
    save = SpooledChunk.save_progress

    def noted(chunk: SpooledChunk, bits: bytes) -> bool:
        n_settled.append(int.from_bytes(bits, "little").bit_count())
        return save(chunk, bits)

    monkeypatch.setattr(SpooledChunk, "save_progress", noted)
    output = spooling(FakeTransport(), tmp_path)
    assert output.flush(numbered(range(500 * (2 * REQUESTS_PER_NOTE + 3)))) is OK
    output.close(PATIENCE_S)
    # Another thread may have settled one more request when a note is written.
    assert [n // 500 // REQUESTS_PER_NOTE for n in n_settled] == [1, 2]
    assert all(n // 500 % REQUESTS_PER_NOTE <= 2 for n in n_settled)
    assert not list((tmp_path / "spool").glob("*/*.progress"))


class _Taking:
    """A stream that calls a function before it writes a request."""

    def __init__(self, stream: Any, on_take: Callable[[int], None]) -> None:
        self._stream = stream
        self._on_take = on_take
        self._n_taken = 0

    def take(self, max_open: int) -> Any:
        self._n_taken += 1
        self._on_take(self._n_taken)
        return self._stream.take(max_open)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def test_progress_is_written_while_another_thread_writes_a_request(tmp_path: Path) -> None:
    gate = Gate()
    writing = threading.Event()

    def last_before_note(records: list[bytes]) -> Reply:
        assert writing.wait(PATIENCE_S)
        return accept(records)

    def on_take(n_taken: int) -> None:
        if n_taken == REQUESTS_PER_NOTE + 2:
            writing.set()
            eventually(lambda: any((tmp_path / "spool").glob("*/*.progress")))

    first = [accept] * (REQUESTS_PER_NOTE - 1)
    transport = FakeTransport(*first, last_before_note, then=gate)
    output = spooling(transport, tmp_path, max_in_flight="2")
    assert output._parts is not None
    encoder = output._parts.context.encoder
    requests = encoder.requests
    object.__setattr__(
        encoder, "requests", lambda *given, **more: _Taking(requests(*given, **more), on_take)
    )
    assert output.flush(numbered(range(500 * 15))) is OK
    eventually(lambda: any((tmp_path / "spool").glob("*/*.progress")))
    gate.open()
    output.close(PATIENCE_S)


def test_progress_only_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long each write takes, the next one holds more, and is never far behind."""
    notes: list[int] = []
    save = SpooledChunk.save_progress

    def slowly(chunk: SpooledChunk, bits: bytes) -> bool:
        time.sleep(0.005 if len(notes) % 2 else 0)  # so that notes can overtake each other
        notes.append(int.from_bytes(bits, "little"))
        return save(chunk, bits)

    monkeypatch.setattr(SpooledChunk, "save_progress", slowly)
    transport = FakeTransport()
    output = spooling(transport, tmp_path, max_in_flight="4")
    assert output.flush(numbered(range(500 * 100))) is OK
    eventually(lambda: output.stats()["pending"] == 0)
    output.close(PATIENCE_S)
    assert len(notes) >= 100 // (REQUESTS_PER_NOTE + 4)
    for earlier, later in itertools.pairwise([0, *notes]):
        assert earlier & ~later == 0
        assert (later & ~earlier).bit_count() <= 500 * (REQUESTS_PER_NOTE + 4)


def test_a_half_that_waits_does_not_count_as_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, found = InFlightRequest.keep, list[bytes]()

    def keep_and_look(in_flight: InFlightRequest, *given: Any) -> None:
        keep(in_flight, *given)
        (delivery,) = mode_of(output)._deliveries
        found.append(delivery.settled_events())

    monkeypatch.setattr(InFlightRequest, "keep", keep_and_look)
    gate = Gate()
    output = spooling(FakeTransport(error(400, "ValidationException"), then=gate), tmp_path)
    assert output.flush(numbered(range(8))) is OK
    eventually(lambda: len(found) == 1)
    assert found == [b""]
    gate.open()
    output.close(PATIENCE_S)
    assert output.stats()["delivered"] == 8


def test_no_request_begins_after_close(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    transport = FakeTransport(accept, then=gate)
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(500 * 4))) is OK
    eventually(lambda: len(transport.requests) == 2)
    mode = mode_of(output)
    output.close(0.01)
    gate.open()
    eventually(lambda: not mode._workers)
    assert_stats(output, delivered=1000)
    assert len(transport.requests) == 2
    assert "next try" not in caplog.text


def test_a_stopped_delivery_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not read the rest of its chunk, although all that it has read is settled."""
    monkeypatch.setattr("kinesis_fast.delivery.leader_followers.PATIENCE_S", PATIENCE_S)

    def stop(records: list[bytes]) -> Reply:
        for delivery in mode_of(output)._deliveries:
            delivery.stop()
        return accept(records)

    transport = FakeTransport(stop)
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(1000))) is OK
    eventually(lambda: not chunk_files(tmp_path))
    output.close()
    assert numbers(transport.kept) == list(range(1000))
    assert_stats(output, delivered=1000)


def test_no_delivery_begins_after_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, has_read, gate = SpooledChunk.read, threading.Event(), threading.Event()

    def slowly(chunk: SpooledChunk) -> SpooledContent:
        payload = read(chunk)
        has_read.set()
        assert gate.wait(PATIENCE_S)
        return payload

    monkeypatch.setattr(SpooledChunk, "read", slowly)
    transport = FakeTransport()
    output = spooling(transport, tmp_path)
    assert output.flush(numbered([1])) is OK
    assert has_read.wait(PATIENCE_S)
    mode = mode_of(output)
    output.close(0.01)
    gate.set()
    eventually(lambda: not mode._workers)
    assert transport.requests == []
    assert len(chunk_files(tmp_path)) == 1


def test_close_loses_nothing_while_a_delivery_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that a delivery released when it ended are not settled."""
    close, has_closed, gate = ChunkDelivery.close, threading.Event(), threading.Event()

    def slowly(delivery: ChunkDelivery) -> int:
        n_records = close(delivery)
        has_closed.set()
        assert gate.wait(PATIENCE_S)
        return n_records

    with monkeypatch.context() as patch:
        patch.setattr(ChunkDelivery, "close", slowly)
        output = spooling(FakeTransport(then=DENIED), tmp_path)
        assert output.flush(numbered(range(30))) is OK
        assert has_closed.wait(PATIENCE_S)
        output.close(0.01)
        gate.set()
    transport = FakeTransport()
    output = spooling(transport, tmp_path)
    eventually(lambda: not chunk_files(tmp_path))
    output.close(PATIENCE_S)
    assert numbers(transport.kept) == list(range(30))


@pytest.mark.parametrize("is_raised", [True, False])
def test_what_arrived_is_not_sent_again_although_progress_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_raised: bool
) -> None:
    def fail(chunk: SpooledChunk, progress: bytes) -> bool:
        if is_raised:
            raise MemoryError
        return False

    monkeypatch.setattr(SpooledChunk, "save_progress", fail)
    transport = FakeTransport(accept, DENIED)
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(700))) is OK
    eventually(lambda: len(transport.requests) == 3 and not chunk_files(tmp_path))
    output.close(PATIENCE_S)
    assert transport.sizes == [500, 200, 200]
    assert_stats(output, in_=700, delivered=700, pending=0)


def test_a_delivery_that_cannot_be_closed_is_complete_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, n_calls = ChunkDelivery.close, 0

    def fail_once(delivery: ChunkDelivery) -> int:
        nonlocal n_calls
        n_calls += 1
        n_records = close(delivery)
        if n_calls == 1:
            raise MemoryError
        return n_records

    monkeypatch.setattr(ChunkDelivery, "close", fail_once)
    transport = FakeTransport()
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(600))) is OK
    eventually(lambda: transport.kept and not mode_of(output)._workers)
    assert output.flush(numbered(range(600, 1200))) is OK
    eventually(lambda: len(transport.kept) >= 1200 and not mode_of(output)._workers)
    output.close(PATIENCE_S)
    assert numbers(transport.kept) == list(range(1200))
    assert_stats(output, delivered=1200, pending=0)
    assert not chunk_files(tmp_path)


def test_a_full_disk_returns_the_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    output = spooling(FakeTransport(), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert output.flush(numbered([1, 2])) is RETRY
    assert "ENOSPC" in caplog.text
    assert output.flush(numbered([1, 2])) is OK
    output.close(PATIENCE_S)
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["returned"], stats["delivered"]) == (2, 2)


def test_a_spool_that_stays_full_is_told_every_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeTime(is_manual=True)
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
    config = output_config(options, spool_max_bytes="10M")
    output = KinesisOutput(config, FakeTransport(), timing=clock.timing())
    too_large = chunk_of([{"x": "y" * 10_000_000}])
    told: list[float] = []
    for _ in range(19):
        caplog.clear()
        assert output.flush(too_large) is RETRY
        told += [clock.now - 1000.0] * ("would exceed spool_max_bytes" in caplog.text)
        clock.advance(10)
    assert told == [0, 60, 120, 180]
    output.close()


def test_the_skipped_events_of_a_request_are_written_down_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = b"\x92\x92\x00\x80\x07"
    calls: list[int] = []
    add_all = DeadLetters.add_all

    def counted(dead_letters: DeadLetters, letters: Any) -> int:
        calls.append(add_all(dead_letters, letters))
        return calls[-1]

    monkeypatch.setattr(DeadLetters, "add_all", counted)
    config = output_config(dead_letter_dir=str(tmp_path / "dead"), max_in_flight="1")
    with KinesisOutput(config, FakeTransport()) as output:
        assert output.flush(bad * 300 + numbered(range(700)) + bad * 200) is OK
    assert len((tmp_path / "dead" / FILE).read_text().splitlines()) == 500
    assert sum(calls) == 500
    assert len(calls) <= 3
