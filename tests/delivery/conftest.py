"""Tests see neither the AWS settings of this machine nor its proxy."""

from pathlib import Path

import pytest
from loopback_settings import use_made_up_settings


@pytest.fixture(autouse=True)
def aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replace all settings by made-up credentials; return the path of an empty config file."""
    config = tmp_path / "aws_config"
    config.touch()
    use_made_up_settings(monkeypatch, AWS_CONFIG_FILE=str(config))
    return config
