"""A flush into a spool that is interrupted: the chunk is the host's or the spool's, never both's."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_transport import FakeTransport
from outputs import assert_stats, eventually, numbered, numbers
from spooled_outputs import mode_of, spooling

from kinesis_fast import FlushResult
from kinesis_fast.delivery import spooled


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


def test_no_worker_can_take_a_chunk_that_goes_back_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may raise when the chunk is in the queue already."""

    def push_and_raise(heap: list[Any], entry: Any) -> None:
        heap.append(entry)
        raise KeyboardInterrupt

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
