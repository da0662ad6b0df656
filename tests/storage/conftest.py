"""Shared set-up of the spool's tests."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A place for a spool_dir that is not there yet."""
    return tmp_path / "spool"
