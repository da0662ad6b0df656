"""What is settled of a spooled chunk: it is written down, and survives a close or a failure."""

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_transport import FakeTime, FakeTransport, Reply, accept, error, fail
from outputs import PATIENCE_S, Gate, assert_stats, eventually, numbered, numbers
from spooled_outputs import chunk_files, mode_of, spooling

from kinesis_fast import FlushResult
from kinesis_fast.delivery.chunk_delivery import ChunkDelivery
from kinesis_fast.delivery.chunk_group import REQUESTS_PER_NOTE
from kinesis_fast.delivery.in_flight import InFlightRequest
from kinesis_fast.storage.spool import SpooledChunk

OK = FlushResult.OK
DENIED = error(400, "AccessDeniedException")


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
