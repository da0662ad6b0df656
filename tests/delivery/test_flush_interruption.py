"""A flush that is interrupted: the chunk is the host's or the output's, never both's."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_transport import FakeTransport
from outputs import Gate, assert_stats, eventually, new_output, numbered, numbers
from spooled_outputs import chunk_files, mode_of, spooling

from kinesis_fast import FlushResult
from kinesis_fast.delivery import background, spooled
from kinesis_fast.stats import ChunkAccount


class WatchedLock:
    """A condition that calls `look` just before its lock is released."""

    def __init__(self, condition: Any, look: Callable[[], object]) -> None:
        self._condition = condition
        self._look = look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._condition, name)

    def __enter__(self) -> None:
        self._condition.__enter__()

    def __exit__(self, *reason: object) -> None:
        self._look()
        self._condition.__exit__(*reason)


def push_and_raise(heap: list[Any], entry: Any) -> None:
    heap.append(entry)
    raise KeyboardInterrupt


def test_no_worker_can_take_a_chunk_that_goes_back_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may raise when the chunk is in the queue already."""

    fake = FakeTransport()
    output = spooling(fake, tmp_path)
    output.flush(numbered([1]), "t")
    eventually(lambda: output.stats()["delivered"] == 1)
    mode = mode_of(output)
    free: list[bool] = []  # of each entry that another thread may take next: is it done?
    watched = WatchedLock(mode._changed, lambda: free.extend(e.is_done for e in mode._waiting))
    with monkeypatch.context() as patched:
        patched.setattr(mode, "_changed", watched)
        patched.setattr(spooled, "heapq", SimpleNamespace(heappush=push_and_raise))
        with pytest.raises(KeyboardInterrupt):
            output.flush(numbered([2]), "t")
    assert free == [True]
    assert_stats(output, delivered=1, returned=1, pending=0)
    assert output.flush(numbered([3]), "t") is FlushResult.OK
    output.close()
    assert numbers(fake.kept) == [1, 3]


class InterruptedAccount(ChunkAccount):
    """An account whose end is interrupted before it does anything, the first time."""

    n_calls = 0

    def close(self, counter: str = "returned") -> None:
        self.n_calls += 1
        if self.n_calls == 1:
            raise MemoryError
        super().close(counter)


def test_a_flush_that_is_interrupted_at_its_end_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = spooling(FakeTransport(), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(spooled, "heapq", SimpleNamespace(heappush=push_and_raise))
        patched.setattr(spooled, "ChunkAccount", InterruptedAccount)
        with pytest.raises(MemoryError):
            output.flush(numbered([1]), "t")
    assert chunk_files(tmp_path) == []
    assert_stats(output, returned=1, pending=0)
    output.close()


def test_a_flush_in_the_background_that_is_interrupted_at_its_end_is_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()
    output = new_output(FakeTransport(gate), experimental_concurrency="1")
    assert output.flush(numbered([1]), "t") is FlushResult.OK
    with monkeypatch.context() as patched:
        patched.setattr(background, "ChunkAccount", InterruptedAccount)
        with pytest.raises(MemoryError):
            output.flush(numbered([2]), "t")
    assert_stats(output, in_=2, returned=1, pending=1)
    gate.open()
    output.close()
    assert_stats(output, delivered=1, returned=1, pending=0)
