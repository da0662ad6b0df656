"""Shared set-up of the command's tests."""

from collections.abc import Iterator

import pytest
from local_stream import local_kinesis, shared_local, stream

from kinesis_fast.logs import LOGGER

__all__ = ["local_kinesis", "shared_local", "stream"]


@pytest.fixture(autouse=True)
def logger_as_before() -> Iterator[None]:
    """Undo the changes of the command to the logger of the process."""
    handlers, level, propagate = list(LOGGER.handlers), LOGGER.level, LOGGER.propagate
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)
    LOGGER.propagate = propagate
