"""An environment without settings of AWS but made-up credentials, for programs and tests."""

from __future__ import annotations

import os
from pathlib import Path

SUPPORT = Path(__file__).parent


def program_environment(**more: str) -> dict[str, str]:
    """Return what a program of the tests gets: the modules of this directory, no proxy."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "BOTO_")) and not name.lower().endswith("_proxy")
    }
    return {
        **environ,
        "PYTHONPATH": str(SUPPORT),
        "AWS_ACCESS_KEY_ID": "ENVKEY",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }
