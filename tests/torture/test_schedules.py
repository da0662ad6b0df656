"""Random schedules against a model, in memory; the number of a test is the seed of its chance."""

import pytest
from fault_schedules import World


@pytest.mark.parametrize("seed", range(40))
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
