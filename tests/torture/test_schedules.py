"""Random schedules against a model, in memory; the number of a test is its random seed."""

import pytest
from fake_transport import FakeTransport, error
from fault_schedules import POISON_EVERY, World
from outputs import new_output, numbered

from kinesis_fast import FlushResult


@pytest.mark.parametrize("seed", range(20))
def test_a_random_schedule(seed: int) -> None:
    World(seed).run(n_steps=20)


@pytest.mark.long
@pytest.mark.parametrize("block", range(100))
def test_thousands_of_random_schedules(block: int) -> None:
    for seed in range(1000 + 50 * block, 1050 + 50 * block):
        try:
            World(seed).run(n_steps=40)
        except Exception as failure:
            raise AssertionError(f"the schedule of seed {seed} failed") from failure


@pytest.mark.parametrize("n_chunks", [1, 2])
def test_a_schedule_ends_that_leaves_refused_records_only(
    n_chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that refuses everything kills nothing, so the host brings other records as well."""
    monkeypatch.setattr("fault_schedules.PATIENCE_S", 5.0)
    world = World(0)
    slot = world._slots[0]
    assert not slot.is_background
    for number in range(n_chunks):
        world._next = (number + 1) * POISON_EVERY - 1
        world._flush(world._chunk_of(slot, 1))
    assert len(slot.returned) == n_chunks
    world.run(n_steps=0)
    assert slot.output.stats()["dead"] == n_chunks


def test_a_resumed_flush_that_ends_early_counts_all_that_was_settled_before() -> None:
    """Every record of a flushed chunk is counted in `in` or in `resumed`."""
    denied = error(400, "AccessDeniedException")
    output = new_output(FakeTransport(then=denied), max_in_flight="1")
    chunk, settled = numbered(range(2600)), bytearray(325)
    settled[250:] = b"\xff" * 75  # events 2000 to 2599
    parts = output._parts
    assert parts is not None
    parts.context.resume.put(chunk, "", bytes(settled))
    assert output.flush(chunk) is FlushResult.RETRY
    stats = output.stats()
    assert stats["returned"] == 2000
    assert stats["in"] + stats["resumed"] == 2600
