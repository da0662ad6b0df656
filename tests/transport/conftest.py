"""Settings and servers for all tests here; no test may see this machine's AWS settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from direct import Service
from loopback_settings import use_made_up_settings
from raw_server import RawServer


@pytest.fixture(autouse=True)
def made_up_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only made-up credentials."""
    use_made_up_settings(monkeypatch)


@pytest.fixture
def aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of an empty config file."""
    config = tmp_path / "aws_config"
    config.touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return config


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service) -> Iterator[RawServer]:
    with RawServer(service) as server:
        yield server


@pytest.fixture(params=["direct", "botocore"])
def transport_name(request: pytest.FixtureRequest) -> str:
    """Return a value of the option transport."""
    return str(request.param)
