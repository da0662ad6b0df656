"""Fixtures for the tests of storage."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A path for a spool_dir or dead_letter_dir that does not exist yet."""
    return tmp_path / "spool"
