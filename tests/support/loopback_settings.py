"""An environment without settings of AWS but made-up credentials, for programs and tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent
MADE_UP = {
    "AWS_ACCESS_KEY_ID": "ENVKEY",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
OF_THE_HOST = (
    "EKS_POD_EXECUTION_ROLE",
    "SEND_FAILURE_TIMEOUT",
    "FLB_LOG_LEVEL",
    "REQUESTS_CA_BUNDLE",
)


def program_environment(**more: str) -> dict[str, str]:
    """Return what a program of the tests gets: the modules of this directory, no proxy."""
    environ = {name: value for name, value in os.environ.items() if not _is_foreign(name)}
    return {**environ, "PYTHONPATH": str(SUPPORT), **MADE_UP, **more}


def use_made_up_settings(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Give the test itself this environment."""
    for name in os.environ:
        if _is_foreign(name):
            monkeypatch.delenv(name)
    for name, value in (MADE_UP | more).items():
        monkeypatch.setenv(name, value)


def _is_foreign(name: str) -> bool:
    return (
        name.startswith(("AWS_", "BOTO_", "SSL_CERT_"))
        or name.lower().endswith("_proxy")
        or name in OF_THE_HOST
    )
