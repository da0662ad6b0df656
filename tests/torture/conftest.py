"""Fixtures: services with faults on the loopback, and an environment without other services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chunks import output_config
from fault_flushes import BRISK, NewOutput
from fault_server import FaultServer
from fault_server_certificates import Certificates, make_certificates
from loopback_settings import use_made_up_settings
from recording_service import Recorder

from kinesis_fast import KinesisOutput


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates made for these tests."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def _running_server(certificates: Certificates) -> Iterator[FaultServer]:
    with FaultServer(certificates.server) as server:
        yield server


@pytest.fixture
def server(_running_server: FaultServer) -> FaultServer:
    """A fault server without faults."""
    _running_server.reset()
    return _running_server


@pytest.fixture(autouse=True)
def aws_settings(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, tmp_path: Path
) -> None:
    """Remove all AWS settings except made-up credentials and the certificate authority."""
    config = tmp_path / "aws_config"
    config.touch()
    authority = str(certificates.authority)
    use_made_up_settings(monkeypatch, AWS_CONFIG_FILE=str(config), AWS_CA_BUNDLE=authority)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A service that remembers which records it accepted."""
    recorder = Recorder()
    with recorder.server:
        yield recorder


@pytest.fixture
def new_output(server: FaultServer) -> Iterator[NewOutput]:
    """Makes outputs that send to the server, from options."""
    outputs: list[KinesisOutput] = []

    def make(**options: str) -> KinesisOutput:
        target = {"endpoint": server.url, "http_request_timeout": "20", **options}
        outputs.append(KinesisOutput(output_config(target), timing=BRISK))
        return outputs[-1]

    yield make
    for output in outputs:
        output.close()
