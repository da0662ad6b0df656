"""For tests that try every level of kernels themselves, because their cases take long to make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kinesis_fast._core import kernels

# The test starts with the best level, and the fixture restores it.
ALL_LEVELS_IN_ONE = pytest.mark.parametrize("kernel_level", [kernels.level()], indirect=True)


def each_level() -> Iterator[str]:
    """Use one level after the other."""
    for level in kernels.levels():
        kernels.use_level(level)
        yield level
