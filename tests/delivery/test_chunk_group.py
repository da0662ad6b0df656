"""Small spooled chunks share requests; each keeps its own progress, place on disk and account."""

import os
import threading
import time
import tracemalloc
from base64 import b64decode
from collections.abc import Callable, Iterable
from json import loads
from pathlib import Path
from typing import Any

import pytest
from chunks import chunk_of, event, event_time, output_config
from fake_transport import FakeTransport, Reply, Step, accept, error, raise_it, refuse_if
from outputs import assert_balanced, numbered, numbers

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.chunk_group import MAX_SHARING_BYTES, Entry
from kinesis_fast.delivery.context import Timing
from kinesis_fast.storage.dead_letters import FILE
from kinesis_fast.storage.spool import Spool

OK = FlushResult.OK
DENIED = error(400, "AccessDeniedException")
PATIENCE_S = 30.0


def options_of(root: Path, **options: str) -> dict[str, str]:
    defaults = {"spool_dir": str(root / "spool"), "experimental_concurrency": "1"}
    return {**defaults, "max_in_flight": "1", **options}


def spooling(transport: FakeTransport, root: Path, **options: str) -> KinesisOutput:
    config = output_config(options_of(root, **options))
    return KinesisOutput(config, transport, timing=Timing(random=lambda: 0.0))


def leave(
    root: Path, chunks: Iterable[bytes], tag_of: Callable[[int], str] = lambda _: "app"
) -> None:
    """Put chunks into a spool that no output uses at the moment."""
    spool = Spool.open(output_config(options_of(root)))
    for number, chunk in enumerate(chunks):
        spool.put(chunk, tag_of(number))
    spool.close()


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def drain(
    root: Path, transport: FakeTransport, patience_s: float = PATIENCE_S, **options: str
) -> dict[str, int]:
    """Deliver all that is in the spool; return the counters."""
    output = spooling(transport, root, **options)
    eventually(lambda: is_empty(root), patience_s)
    output.close(PATIENCE_S)
    stats = output.stats()
    assert_balanced(stats)
    assert stats["pending"] == 0
    return stats


def chunk_files(root: Path) -> list[Path]:
    return sorted((root / "spool").glob("*/*.chunk"))


def is_empty(root: Path) -> bool:
    """Tell whether no chunk is left; it looks no further than at the first."""
    for directory in (root / "spool").iterdir():
        with os.scandir(directory) as entries:
            if any(entry.name.endswith(".chunk") for entry in entries):
                return False
    return True


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let many small files be written fast."""
    monkeypatch.setattr("kinesis_fast.storage.directory.os.fsync", lambda _fd: None)


@pytest.mark.heavy
@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize(
    "n_chunks", [2_000, pytest.param(100_000, marks=pytest.mark.long)], ids=["2k", "100k"]
)
def test_many_small_chunks_are_few_requests_and_little_memory(
    tmp_path: Path, n_chunks: int
) -> None:
    leave(tmp_path, (numbered([number]) for number in range(n_chunks)))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        spool = Spool.open(output_config(options_of(tmp_path)))
        found = spool.pending()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == n_chunks
    assert (after - before) / n_chunks < 300
    assert (peak - before) / n_chunks < 600
    spool.close()
    del found
    transport = FakeTransport()
    assert drain(tmp_path, transport, 20 * PATIENCE_S)["delivered"] == n_chunks
    assert numbers(transport.kept) == list(range(n_chunks))
    assert len(transport.requests) <= n_chunks // 250


@pytest.mark.heavy
@pytest.mark.usefixtures("no_sync")
def test_chunks_that_come_while_a_request_is_under_way(tmp_path: Path) -> None:
    gate = threading.Event()

    def wait(records: list[bytes]) -> Reply:
        assert gate.wait(PATIENCE_S)
        return accept(records)

    transport = FakeTransport(wait)
    output = spooling(transport, tmp_path)
    for number in range(1000):
        assert output.flush(numbered([number]), "app") is OK
    eventually(lambda: len(transport.requests) == 1)
    gate.set()
    eventually(lambda: output.stats()["pending"] == 0)
    output.close(PATIENCE_S)
    assert numbers(transport.kept) == list(range(1000))
    assert len(transport.requests) <= 4
    assert_balanced(output.stats())
    assert not chunk_files(tmp_path)


def test_idle_workers_share_the_work(tmp_path: Path) -> None:
    """What one request holds of chunks that are not tiny goes to each, so none waits for one."""
    leave(tmp_path, [chunk_of({"n": n, "x": "y" * 70_000} for _ in "x") for n in range(4)])
    together = threading.Barrier(4, timeout=PATIENCE_S)

    def meet(records: list[bytes]) -> Reply:
        together.wait()
        return accept(records)

    transport = FakeTransport(then=meet)
    drain(tmp_path, transport, experimental_concurrency="4")
    assert transport.sizes == [1] * 4


@pytest.mark.usefixtures("no_sync")
def test_progress_in_the_middle_of_a_group(tmp_path: Path) -> None:
    """Of chunks of three, the first request ends within the 167th."""
    chunks = [numbered(range(first, first + 3)) for first in range(0, 1200, 3)]
    leave(tmp_path, chunks)
    transport = FakeTransport(accept, then=DENIED)
    output = spooling(transport, tmp_path)
    eventually(lambda: len(transport.requests) >= 2)
    output.close(PATIENCE_S)
    assert_balanced(output.stats())
    assert output.stats()["pending"] == 700
    assert numbers(transport.kept) == list(range(500))
    assert len(chunk_files(tmp_path)) == 400 - 166
    (progress,) = (tmp_path / "spool").glob("*/*.progress")
    assert progress.name == chunk_files(tmp_path)[0].name + ".progress"

    later = FakeTransport()
    stats = drain(tmp_path, later)
    assert numbers(later.kept) == list(range(500, 1200))
    assert (stats["in"], stats["resumed"]) == (700, 2)
    assert later.sizes == [500, 200]


@pytest.mark.usefixtures("no_sync")
def test_progress_is_noted_on_the_way_for_each_chunk(tmp_path: Path) -> None:
    gate = threading.Event()

    def wait(records: list[bytes]) -> Reply:
        assert gate.wait(PATIENCE_S)
        return accept(records)

    leave(tmp_path, [numbered(range(first, first + 1001)) for first in range(0, 7007, 1001)])
    transport = FakeTransport(*[accept] * 9, then=wait)
    output = spooling(transport, tmp_path)
    eventually(lambda: len(transport.requests) == 10)
    # After 8 requests 4,000 records are settled: three chunks, and 997 records of the next one.
    assert len(chunk_files(tmp_path)) == 4
    (progress,) = (tmp_path / "spool").glob("*/*.progress")
    assert progress.name == chunk_files(tmp_path)[0].name + ".progress"
    gate.set()
    output.close(PATIENCE_S)
    assert sorted(numbers(transport.kept)) == list(range(7007))
    assert not list((tmp_path / "spool").glob("*/*.*"))


@pytest.mark.usefixtures("no_sync")
def test_a_poisoned_record_in_a_group(tmp_path: Path) -> None:
    leave(tmp_path, [numbered([number]) for number in range(100)])
    transport = FakeTransport(then=refuse_if(lambda data: data == b'{"n":41}'))
    stats = drain(tmp_path, transport, dead_letter_dir=str(tmp_path / "dead"))
    assert (stats["delivered"], stats["dead"]) == (99, 1)
    assert sorted(numbers(transport.kept)) == sorted(set(range(100)) - {41})
    (letter,) = map(loads, (tmp_path / "dead" / FILE).read_text().splitlines())
    assert b64decode(letter["event"]) == numbered([41])


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("tail", [b"\xc1", numbered([7])[:-1], b"\x92\x92\x00\x80\xdb\x00\x00"])
def test_a_malformed_chunk_is_not_put_before_others(tmp_path: Path, tail: bytes) -> None:
    chunks = [numbered([number]) for number in range(20)]
    chunks[3] += tail
    chunks[11] = tail
    leave(tmp_path, chunks)
    transport = FakeTransport()
    stats = drain(tmp_path, transport)
    assert sorted(numbers(transport.kept)) == sorted(set(range(20)) - {11})
    assert (stats["in"], stats["skipped_malformed"]) == (21, 2)
    assert sorted(transport.sizes) == [1, 18]


@pytest.mark.usefixtures("no_sync")
def test_skipped_events_and_group_markers_of_a_group(tmp_path: Path) -> None:
    marker = event({}, event_time(-1))
    bad = event(7)
    chunks = [marker + numbered([n]) + bad + numbered([n + 100]) for n in range(50)]
    leave(tmp_path, chunks)
    transport = FakeTransport()
    stats = drain(tmp_path, transport)
    assert sorted(numbers(transport.kept)) == [*range(50), *range(100, 150)]
    assert (stats["in"], stats["skipped"], stats["group_markers"]) == (150, 50, 50)
    assert len(transport.requests) == 1


@pytest.mark.usefixtures("no_sync")
def test_only_chunks_of_the_same_tag_share_requests(tmp_path: Path) -> None:
    leave(tmp_path, [numbered([n]) for n in range(30)], lambda number: f"tag {number % 3}")
    transport = FakeTransport()
    drain(tmp_path, transport)
    assert [numbers(request) for request in transport.requests] == [
        list(range(rest, 30, 3)) for rest in range(3)
    ]


def test_a_large_chunk_is_delivered_alone(tmp_path: Path) -> None:
    large = chunk_of([{"n": 1, "x": "y" * MAX_SHARING_BYTES}])
    leave(tmp_path, [numbered([0]), large, numbered([2]), numbered([3])])
    transport = FakeTransport()
    drain(tmp_path, transport)
    assert transport.sizes == [1, 1, 2]


@pytest.mark.usefixtures("no_sync")
def test_after_an_unexpected_failure_each_chunk_is_tried_alone(tmp_path: Path) -> None:
    """One of them may be the reason: it must not hold up the others for ever."""
    leave(tmp_path, [numbered([number]) for number in range(5)])

    def no_three(records: list[bytes]) -> Reply:
        if b'{"n":3}' in records:
            return raise_it(SystemExit(1))(records)
        return accept(records)

    transport = FakeTransport(then=no_three)
    output = spooling(transport, tmp_path)
    eventually(lambda: len(chunk_files(tmp_path)) == 1)
    output.close(0.1)
    assert sorted(numbers(transport.kept)) == [0, 1, 2, 4]
    assert transport.sizes[0] == 5
    assert set(transport.sizes[1:]) == {1}
    stats = output.stats()
    assert_balanced(stats)
    assert (stats["delivered"], stats["pending"]) == (4, 1)


@pytest.mark.usefixtures("no_sync")
def test_a_damaged_chunk_among_others(tmp_path: Path) -> None:
    leave(tmp_path, [numbered([number]) for number in range(5)])
    third = chunk_files(tmp_path)[2]
    third.write_bytes(third.read_bytes()[:-1] + b"\xc0")
    transport = FakeTransport()
    drain(tmp_path, transport)
    assert [numbers(request) for request in transport.requests] == [[0, 1, 3, 4]]
    assert [path.name for path in third.parent.iterdir()] == [third.name + ".damaged"]


def test_what_is_pending_of_a_group_that_fails(tmp_path: Path) -> None:
    """Each of its chunks has its own records, which count as dead when it is damaged later."""
    leave(tmp_path, (numbered(range(first, first + 4)) for first in range(0, 20, 4)))
    last = chunk_files(tmp_path)[-1]

    def damage_and_fail(_records: list[bytes]) -> Reply:
        last.write_bytes(last.read_bytes()[:-1] + b"\xc0")
        raise SystemExit(1)

    transport = FakeTransport(damage_and_fail)
    stats = drain(tmp_path, transport)
    assert transport.sizes[0] == 20
    assert (stats["delivered"], stats["dead"]) == (16, 4)


@pytest.mark.heavy
@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("failing", [DENIED, raise_it(SystemExit(1))], ids=["hold", "postpone"])
def test_the_account_of_a_group_that_fails_in_part(tmp_path: Path, failing: Step) -> None:
    """Whatever fails when, every record is in one counter, and in the end delivered once."""
    transport = FakeTransport(*[accept, failing, failing] * 3)
    output = spooling(transport, tmp_path)
    balanced: list[dict[str, int]] = []
    for first in range(0, 2000, 4):
        assert output.flush(numbered(range(first, first + 4)), "app") is OK
        balanced.append(output.stats())
    eventually(lambda: output.stats()["delivered"] == 2000)
    output.close(PATIENCE_S)
    for stats in balanced:
        assert_balanced(stats)
    assert_balanced(output.stats())
    assert sorted(numbers(transport.kept)) == list(range(2000))
    assert not chunk_files(tmp_path)


@pytest.mark.heavy
def test_a_pick_does_not_look_at_the_whole_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comparisons of entries grow with the logarithm of their number."""
    n_compared = 0
    compare: Any = None

    def counted(one: Any, other: Any) -> bool:
        nonlocal n_compared
        n_compared += 1
        return bool(compare(one, other))

    compare = Entry.__lt__
    monkeypatch.setattr(Entry, "__lt__", counted)
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    transport = FakeTransport(DENIED)
    output = spooling(transport, tmp_path)
    for number in range(1500):
        output.flush(numbered([number]), "app")
    eventually(lambda: output.stats()["pending"] == 0)
    output.close(PATIENCE_S)
    assert n_compared < 1500 * 3 * 12
