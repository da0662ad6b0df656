"""Fixtures for the tests of the encoder."""

from collections.abc import Iterator

import pytest
from zones import set_zone

from kinesis_fast._core import kernels

__all__ = ["kernel_level", "set_zone"]

# This module has assertions that many tests share.
pytest.register_assert_rewrite("encoded")


@pytest.fixture(params=kernels.levels())
def kernel_level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test once per kernel level of this CPU; the value is the name of the level."""
    best = kernels.level()
    kernels.use_level(request.param)
    yield request.param
    kernels.use_level(best)
