"""Tests see neither the AWS settings of this machine nor its proxy."""

import pytest
from loopback_settings import use_made_up_settings


@pytest.fixture(autouse=True)
def aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace all settings by made-up credentials."""
    use_made_up_settings(monkeypatch)
