"""Options as the host gives them, parsed."""

from __future__ import annotations

import pytest

from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import ConfigError

REQUIRED = {"region": "us-west-2", "stream": "logs"}


def parse(**options: str) -> OutputConfig:
    """Return the configuration of some options and the required ones."""
    return OutputConfig.from_options({**REQUIRED, **options})


def error_of(**options: str) -> str:
    """Return what the error about options says."""
    with pytest.raises(ConfigError) as caught:
        parse(**options)
    return str(caught.value)
