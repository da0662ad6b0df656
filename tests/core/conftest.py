"""Shared set-up of the encoder's tests."""

from collections.abc import Iterator

import pytest

from kinesis_fast._core import kernels

# These hold the assertions that many tests share.
pytest.register_assert_rewrite("encoded")


@pytest.fixture(params=kernels.levels())
def kernel_level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test with the kernels of every level that this CPU has; the value is its name."""
    best = kernels.level()
    kernels.use_level(request.param)
    yield request.param
    kernels.use_level(best)
