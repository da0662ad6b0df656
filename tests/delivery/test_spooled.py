"""Chunks that are on disk before their flush returns OK: tries, waits, restarts, the account."""

import threading
from pathlib import Path
from typing import Any

import pytest
from chunks import chunk_of, output_config
from fake_transport import FakeTime, FakeTransport, accept, error, raise_it
from outputs import (
    PATIENCE_S,
    Gate,
    assert_balanced,
    assert_stats,
    eventually,
    numbered,
    numbers,
    raising_log,
)
from spooled_outputs import chunk_files, mode_of, spooling

from kinesis_fast import FlushResult, KinesisOutput, SendFailureTimeout
from kinesis_fast.limits import SPOOL_START_SPREAD_S
from kinesis_fast.storage.spool import SpooledChunk, SpooledContent
from kinesis_fast.transport import secrets

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")


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


def leave_chunks(root: Path) -> None:
    """Leave three chunks with 6 records in the spool, as an earlier run does."""
    with spooling(FakeTransport(then=DENIED), root) as output:
        for first in (0, 2, 4):
            assert output.flush(numbered([first, first + 1]), "app") is OK
    assert len(chunk_files(root)) == 3


def test_chunks_of_an_earlier_run_are_unread_until_their_records_count(tmp_path: Path) -> None:
    leave_chunks(tmp_path)
    clock, gate = FakeTime(chance=0.5, is_manual=True), Gate()
    output = spooling(FakeTransport(then=gate), tmp_path, clock)
    eventually(lambda: clock.waits)
    assert output.unread_chunks() == 3
    assert_stats(output, in_=0, pending=0)
    clock.advance(SPOOL_START_SPREAD_S)
    gate.wait_for_arrivals(1)
    assert output.unread_chunks() == 0
    assert_stats(output, in_=6, pending=6)
    gate.open()
    eventually(lambda: output.stats()["delivered"] == 6)
    output.close()
    assert output.unread_chunks() == 0


def test_close_says_how_many_chunks_of_an_earlier_run_it_has_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_chunks(tmp_path)
    caplog.set_level("INFO")
    output = spooling(FakeTransport(), tmp_path, FakeTime(chance=0.5, is_manual=True))
    output.close()
    assert output.unread_chunks() == 3
    text = "closed; chunks of an earlier run that wait in the spool: 3; the next start sends them"
    assert caplog.messages[-1] == text
    assert len(chunk_files(tmp_path)) == 3


def test_a_damaged_chunk_of_an_earlier_run_does_not_stay_unread(tmp_path: Path) -> None:
    leave_chunks(tmp_path)
    damaged = chunk_files(tmp_path)[1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    gate = Gate()
    output = spooling(FakeTransport(then=gate), tmp_path)
    gate.wait_for_arrivals(1)
    assert output.unread_chunks() == 0
    gate.open()
    eventually(lambda: output.stats()["delivered"] == 4)
    output.close()


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
    output.flush(numbered([0]))
    gate.wait_for_arrivals(1)  # or the others may have been read with it
    for number in (1, 2):
        output.flush(numbered([number]))
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


def test_a_damaged_chunk_is_counted_though_the_log_handler_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    output = spooling(FakeTransport(gate), tmp_path)
    with raising_log(monkeypatch):
        for number in range(2):
            output.flush(numbered([number]))
        gate.wait_for_arrivals(1)
        last = chunk_files(tmp_path)[-1]
        last.write_bytes(last.read_bytes()[:-1] + b"\xc0")
        gate.open()
        eventually(lambda: output.stats()["pending"] == 0)
        output.close()
    assert_stats(output, in_=2, delivered=1, dead=1)


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
