"""Fixtures for the tests of the encoder."""

from collections.abc import Iterator

import pytest

from kinesis_fast._core import kernels

# This module has assertions that many tests share.
pytest.register_assert_rewrite("encoded")


@pytest.fixture(params=kernels.levels())
def kernel_level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test once per kernel level of this CPU; the value is the name of the level."""
    best = kernels.level()
    kernels.use_level(request.param)
    yield request.param
    kernels.use_level(best)
