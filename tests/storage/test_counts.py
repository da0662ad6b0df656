"""How many chunks a spool has, and how old the oldest is, through restarts, damage and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from chunks import output_config

from kinesis_fast.errors import DamagedChunk, SpoolFull
from kinesis_fast.storage.spool import Spool
from kinesis_fast.storage.spool import store as module


class Clock:
    """Stands for the module time."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000

    def time_ns(self) -> int:
        """Return the time of day in ns."""
        return self.seconds * 1_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day, as the spool sees it."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def opened(root: Path) -> Spool:
    """Open the spool of one output."""
    options = {"spool_dir": str(root), "spool_max_bytes": "10M", "experimental_concurrency": "1"}
    return Spool.open(output_config(options))


def counts(spool: Spool) -> tuple[int, float]:
    """Return chunks and age."""
    return spool.n_chunks, spool.oldest_age_s


def test_chunks_come_and_go(tmp_path: Path, clock: Clock) -> None:
    spool = opened(tmp_path)
    assert counts(spool) == (0, 0)
    first, second = spool.put(b"one", "a"), spool.put(b"two", "a")
    clock.seconds += 10
    third = spool.put(b"three", "a")
    clock.seconds += 5
    assert counts(spool) == (3, 15)
    assert second.remove()
    assert second.remove()
    assert counts(spool) == (2, 15)
    assert first.remove()
    assert counts(spool) == (1, 5)
    clock.seconds -= 100  # the clock is set back
    assert counts(spool) == (1, 0)
    assert third.remove()
    assert counts(spool) == (0, 0)
    spool.close()


def test_a_restart(tmp_path: Path, clock: Clock) -> None:
    spool = opened(tmp_path)
    for _ in range(3):
        spool.put(b"x", "a")
        clock.seconds += 10
    spool.close()
    again = opened(tmp_path)
    assert counts(again) == (3, 30)
    for chunk in again.pending():
        chunk.read()
        assert chunk.remove()
    assert counts(again) == (0, 0)
    again.close()


def test_what_was_not_stored_does_not_count(tmp_path: Path, clock: Clock) -> None:
    spool = opened(tmp_path)
    with pytest.raises(SpoolFull):
        spool.put(bytes(11_000_000), "a")
    assert counts(spool) == (0, 0)
    spool.close()


@pytest.mark.parametrize("harm", ["cut", "removed"])
def test_a_chunk_of_no_use_does_not_count(tmp_path: Path, clock: Clock, harm: str) -> None:
    spool = opened(tmp_path)
    chunk = spool.put(b"x" * 100, "a")
    path = Path(chunk.path)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(DamagedChunk):
        chunk.read()
    assert chunk.remove()
    assert counts(spool) == (0, 0)
    spool.close()
    again = opened(tmp_path)
    assert counts(again) == (0, 0)
    again.close()
