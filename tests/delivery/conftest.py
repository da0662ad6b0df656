"""No test here may see this machine's AWS settings or use its proxy."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take all settings away but made-up credentials; returns the path of an empty config file."""
    for name in os.environ:
        if name.startswith(("AWS_", "BOTO_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("EKS_POD_EXECUTION_ROLE", "SEND_FAILURE_TIMEOUT", "FLB_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "aws_config"
    config.touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return config
