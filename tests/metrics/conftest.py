"""Tests see no AWS settings of this machine and no proxy, and leave no thread behind."""

import threading
from collections.abc import Iterator

import pytest
from loopback_settings import use_made_up_settings


@pytest.fixture(autouse=True)
def aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace all settings by made-up credentials."""
    use_made_up_settings(monkeypatch)


@pytest.fixture(autouse=True)
def no_threads_are_left() -> Iterator[None]:
    """Check that closed outputs have no thread of the metrics any more."""
    yield
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"kinesis-fast-metrics", "kinesis-fast-ticker"}
