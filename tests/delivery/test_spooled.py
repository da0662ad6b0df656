"""Chunks that are on disk before their flush says OK: deliveries, pauses, restarts, the account."""

import itertools
import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chunks import chunk_of, output_config
from fake_transport import (
    Answer,
    FakeTime,
    FakeTransport,
    Step,
    accept,
    error,
    fail,
    raise_it,
    refuse_if,
)
from outputs import assert_balanced, numbered, numbers

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.chunk_group import REQUESTS_PER_NOTE
from kinesis_fast.delivery.context import Timing
from kinesis_fast.delivery.in_flight import InFlightRequest
from kinesis_fast.delivery.spooled import Spooled
from kinesis_fast.errors import StorageError
from kinesis_fast.storage.dead_letters import FILE, DeadLetters
from kinesis_fast.storage.spool import SpooledChunk, SpooledContent

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")
PATIENCE_S = 10.0


def spooling(transport: FakeTransport, root: Path, **options: str) -> KinesisOutput:
    defaults = {
        "spool_dir": str(root / "spool"),
        "experimental_concurrency": "1",
        "max_in_flight": "1",
    }
    return KinesisOutput(
        output_config(defaults | options),
        transport,
        timing=Timing(random=lambda: 0.0),
    )


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def chunk_files(root: Path) -> list[Path]:
    return sorted((root / "spool").glob("*/*.chunk"))


def gate_and_step(then: Step = accept) -> tuple[threading.Event, Step]:
    gate = threading.Event()

    def step(records: list[bytes]) -> Answer:
        assert gate.wait(PATIENCE_S)
        return then(records)

    return gate, step


def test_a_chunk_is_on_disk_until_it_is_delivered(tmp_path: Path) -> None:
    gate, step = gate_and_step()
    transport = FakeTransport(then=step)
    output = spooling(transport, tmp_path)
    chunk = bytearray(numbered(range(700)))
    assert output.flush(chunk, "app") is OK
    (file,) = chunk_files(tmp_path)
    assert file.read_bytes().endswith(bytes(chunk))
    chunk[:] = b""
    assert output.stats()["pending"] == 700
    gate.set()
    eventually(lambda: output.stats()["delivered"] == 700)
    eventually(lambda: not chunk_files(tmp_path))
    output.close()
    assert numbers(transport.kept) == list(range(700))


def test_a_start_does_not_hold_up_what_comes_after_it(tmp_path: Path) -> None:
    transport = FakeTransport()
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
    config = output_config(options)
    with KinesisOutput(config, transport, timing=Timing(random=lambda: 0.99)) as output:
        assert output.flush(numbered([1])) is OK
    assert output.stats()["delivered"] == 1


def test_more_chunks_than_slots_are_no_reason_to_retry(tmp_path: Path) -> None:
    gate, step = gate_and_step()
    transport = FakeTransport(then=step)
    output = spooling(transport, tmp_path, experimental_concurrency="2")
    for first in range(0, 200, 10):
        assert output.flush(numbered(range(first, first + 10))) is OK
    assert len(chunk_files(tmp_path)) == 20
    assert output.stats()["pending"] == 200
    gate.set()
    eventually(lambda: output.stats()["pending"] == 0)
    output.close()
    assert sorted(numbers(transport.kept)) == list(range(200))


def test_a_full_spool_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate, step = gate_and_step()
    output = spooling(FakeTransport(then=step), tmp_path, spool_max_bytes="10M")
    chunk = numbered(range(200_000))
    results = [output.flush(chunk) for _ in range(5)]
    assert results[0] is OK
    assert results[-1] is RETRY
    stats = output.stats()
    assert_balanced(stats)
    assert stats["returned"] == 200_000 * results.count(RETRY)
    assert len([line for line in caplog.messages if "would exceed" in line]) == 1
    gate.set()
    output.close()


def test_the_start_says_what_a_full_spool_means(
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


def test_what_arrived_before_a_restart_is_not_sent_again(tmp_path: Path) -> None:
    transport = FakeTransport(accept, fail(7, 9), then=DENIED)
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(1200))) is OK
    eventually(lambda: output.stats()["delivered"] == 998)
    output.close()
    assert output.stats()["pending"] == 202

    later = FakeTransport()
    output = spooling(later, tmp_path)
    eventually(lambda: output.stats()["delivered"] == 202)
    output.close()
    assert sorted(numbers(transport.kept + later.kept)) == list(range(1200))
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["in"], stats["resumed"]) == (202, 998)


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


def test_pauses_grow_and_the_oldest_chunk_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[tuple[int, float]] = []

    def noted(failures: int, base_s: float, cap_s: float, random: object) -> float:
        waits.append((failures, cap_s))
        return 0.0

    monkeypatch.setattr("kinesis_fast.delivery.spooled.backoff_s", noted)
    transport = FakeTransport(*[DENIED] * 6)
    output = spooling(transport, tmp_path, experimental_concurrency_retries="3")
    output.flush(numbered([0]))
    output.flush(numbered([1]))
    eventually(lambda: output.stats()["delivered"] == 2)
    output.close()
    assert waits == [(n, 30.0 if n <= 3 else 300.0) for n in range(1, 7)]
    assert [numbers(request) for request in transport.requests] == [[0]] * 7 + [[1]]


def test_a_damaged_chunk_is_set_aside_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate, step = gate_and_step()
    transport = FakeTransport(step)
    output = spooling(transport, tmp_path)
    for number in range(3):
        output.flush(numbered([number]))
    eventually(lambda: len(transport.requests) == 1)
    middle = chunk_files(tmp_path)[1]
    middle.write_bytes(middle.read_bytes()[:-1] + b"\xc0")
    gate.set()
    eventually(lambda: output.stats()["pending"] == 0)
    output.close()
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["delivered"], stats["dead"]) == (2, 1)
    assert "is damaged" in caplog.text
    assert list((tmp_path / "spool").glob("*/*.damaged"))


def test_an_unexpected_failure_does_not_hold_up_the_others(tmp_path: Path) -> None:
    transport = FakeTransport(then=accept)
    output = spooling(transport, tmp_path)
    sender = output._parts
    assert sender is not None
    requests, first = sender.context.encoder.requests, True

    def fail_once(*args: Any, **more: Any) -> Any:
        nonlocal first
        if first:
            first = False
            raise MemoryError("no memory")
        return requests(*args, **more)

    object.__setattr__(sender.context.encoder, "requests", fail_once)
    assert output.flush(numbered([0])) is OK
    assert output.flush(numbered([1])) is OK
    eventually(lambda: output.stats()["delivered"] == 2)
    output.close()
    assert sorted(numbers(transport.kept)) == [0, 1]


def test_a_transport_that_ends_its_thread(tmp_path: Path) -> None:
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
    gate, step = gate_and_step()
    n_requests = REQUESTS_PER_NOTE + 3
    transport = FakeTransport(*[accept] * n_requests, then=step)
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
    gate.set()


def test_progress_is_noted_on_the_way(tmp_path: Path) -> None:
    gate, step = gate_and_step()
    n_requests = REQUESTS_PER_NOTE + 3
    transport = FakeTransport(*[accept] * n_requests, then=step)
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(500 * 20))) is OK
    eventually(lambda: len(transport.requests) == n_requests + 1)
    (progress,) = (tmp_path / "spool").glob("*/*.progress")
    assert progress.stat().st_size > 500 * (REQUESTS_PER_NOTE - 2) // 8
    gate.set()
    output.close(PATIENCE_S)
    assert not progress.exists()


class _Taking:
    """A stream of requests that tells when one is written, and waits then."""

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


def test_progress_is_noted_though_somebody_writes_a_request(tmp_path: Path) -> None:
    gate, step = gate_and_step()
    writing = threading.Event()

    def last_before_note(records: list[bytes]) -> Answer:
        assert writing.wait(PATIENCE_S)
        return accept(records)

    def on_take(n_taken: int) -> None:
        if n_taken == REQUESTS_PER_NOTE + 2:
            writing.set()
            eventually(lambda: output.stats()["delivered"] == 500 * REQUESTS_PER_NOTE)
            time.sleep(0.05)

    first = [accept] * (REQUESTS_PER_NOTE - 1)
    transport = FakeTransport(*first, last_before_note, then=step)
    output = spooling(transport, tmp_path, max_in_flight="2")
    assert output._parts is not None
    encoder = output._parts.context.encoder
    requests = encoder.requests
    object.__setattr__(
        encoder, "requests", lambda *given, **more: _Taking(requests(*given, **more), on_take)
    )
    assert output.flush(numbered(range(500 * 15))) is OK
    eventually(lambda: any((tmp_path / "spool").glob("*/*.progress")))
    gate.set()
    output.close(PATIENCE_S)


def test_notes_of_progress_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly they are written: the last is the latest, and never far behind."""
    notes: list[int] = []
    save = SpooledChunk.save_progress

    def slowly(chunk: SpooledChunk, bits: bytes) -> bool:
        time.sleep(0.01 if len(notes) % 2 else 0)
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


def test_a_half_that_waits_is_not_noted_as_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, found = InFlightRequest.keep, list[bytes]()

    def keep_and_look(unsettled: InFlightRequest, *given: Any) -> None:
        keep(unsettled, *given)
        spooler = output._parts.mode if output._parts else None
        assert isinstance(spooler, Spooled)
        (delivery,) = spooler._deliveries
        found.append(delivery.settled_events())

    monkeypatch.setattr(InFlightRequest, "keep", keep_and_look)
    gate, step = gate_and_step()
    output = spooling(FakeTransport(error(400, "ValidationException"), then=step), tmp_path)
    assert output.flush(numbered(range(8))) is OK
    eventually(lambda: len(found) == 1)
    assert found == [b""]
    gate.set()
    output.close(PATIENCE_S)
    assert output.stats()["delivered"] == 8


def test_after_close_no_request_is_begun(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate, step = gate_and_step()
    transport = FakeTransport(accept, then=step)
    output = spooling(transport, tmp_path)
    assert output.flush(numbered(range(500 * 4))) is OK
    eventually(lambda: len(transport.requests) == 2)
    assert output._parts is not None
    threads = output._parts.context.threads
    output.close(0.01)
    gate.set()
    eventually(lambda: threads._n_idle == 0 and output.stats()["delivered"] == 1000)
    time.sleep(0.05)
    assert len(transport.requests) == 2
    assert "next try" not in caplog.text


def test_after_close_no_delivery_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    mode = output._parts.mode if output._parts else None
    assert isinstance(mode, Spooled)
    output.close(0.01)
    gate.set()
    eventually(lambda: mode._n_workers == 0)
    assert transport.requests == []
    assert len(chunk_files(tmp_path)) == 1


def test_close_while_a_delivery_ends_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an ended delivery has let go is not settled."""
    close, has_left, gate = ChunkDelivery.close, threading.Event(), threading.Event()

    def slowly(delivery: ChunkDelivery) -> int:
        n_records = close(delivery)
        has_left.set()
        assert gate.wait(PATIENCE_S)
        return n_records

    with monkeypatch.context() as patch:
        patch.setattr(ChunkDelivery, "close", slowly)
        output = spooling(FakeTransport(then=DENIED), tmp_path)
        assert output.flush(numbered(range(30))) is OK
        assert has_left.wait(PATIENCE_S)
        output.close(0.01)
        gate.set()
    transport = FakeTransport()
    output = spooling(transport, tmp_path)
    eventually(lambda: not chunk_files(tmp_path))
    output.close(PATIENCE_S)
    assert numbers(transport.kept) == list(range(30))


def test_the_full_disk_of_a_flush_is_told(
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


# --- dead letters ---


def letters(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "dead" / FILE).read_text().splitlines()]


def test_records_that_cannot_be_delivered_are_written_down(tmp_path: Path) -> None:
    bad = b"\x92\x92\xcee\x53\xf1\x00\x80\x07"
    chunk = numbered([0, 1]) + bad + numbered([2]) + b"\xc1\xc1"
    transport = FakeTransport(then=refuse_if(lambda data: data == b'{"n":1}'))
    config = output_config(dead_letter_dir=str(tmp_path / "dead"))
    with KinesisOutput(config, transport) as output:
        assert output.flush(chunk, "app\x1b") is OK
    found = {letter["reason"]: letter for letter in letters(tmp_path)}
    assert set(found) == {"skipped_not_map", "skipped_malformed", "refused"}
    assert b64decode(found["skipped_not_map"]["event"]) == bad
    assert found["skipped_not_map"]["time"].startswith("2023-11-")
    assert b64decode(found["skipped_malformed"]["event"]) == b"\xc1\xc1"
    assert b64decode(found["refused"]["event"]) == numbered([1])
    assert "ValidationException" in found["refused"]["detail"]
    assert found["refused"]["tag"] == "app\x1b"


def test_a_letter_is_written_once_for_a_chunk_that_comes_again(tmp_path: Path) -> None:
    bad = b"\x92\x92\x00\x80\x07"
    config = output_config(dead_letter_dir=str(tmp_path / "dead"), max_in_flight="1")
    output = KinesisOutput(config, FakeTransport(accept, DENIED))
    chunk = bad + numbered(range(600)) + bad
    assert output.flush(chunk) is RETRY
    assert output.flush(chunk) is OK
    assert len(letters(tmp_path)) == 2


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        KinesisOutput(output_config(dead_letter_dir=str(tmp_path / "file")), FakeTransport())


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
    assert len(letters(tmp_path)) == 500
    assert sum(calls) == 500
    assert len(calls) <= 3
