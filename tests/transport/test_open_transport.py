"""Which transport is chosen, and why."""

import logging
import subprocess
import sys

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from chunks import output_config
from loopback_settings import program_environment
from raw_server import RawServer

from kinesis_fast import ConfigError, KinesisOutput
from kinesis_fast.transport import client
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.client import make_client, open_transport
from kinesis_fast.transport.direct import response
from kinesis_fast.transport.direct.endpoint import check_settings
from kinesis_fast.transport.direct.transport import DirectTransport

PROXY = "http://proxy:1"


def test_auto_is_direct() -> None:
    assert isinstance(open_transport(output_config()), DirectTransport)
    assert isinstance(open_transport(output_config(transport="botocore")), BotocoreTransport)


def reason_in(caplog: pytest.LogCaptureFixture, level: int) -> str:
    (record,) = [r for r in caplog.records if "using the transport botocore" in r.message]
    assert record.levelno == level
    return record.message


def assert_needs_botocore(
    caplog: pytest.LogCaptureFixture,
    reason: str,
    options: dict[str, str] | None = None,
    level: int = logging.INFO,
) -> None:
    """Assert that auto takes botocore and says so, and that direct is an error."""
    caplog.clear()
    options = options or {}
    with KinesisOutput(output_config(options)) as output:
        assert output._parts is not None
        assert isinstance(output._parts.own_transport, BotocoreTransport)
    assert reason in reason_in(caplog, level)
    with pytest.raises(
        ConfigError, match=r"transport is .direct., but .*auto or botocore"
    ) as error:
        KinesisOutput(output_config(options, transport="direct"))
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("environment", "endpoint", "is_direct"),
    [
        ({"HTTPS_PROXY": "http://me:sesame@proxy:1"}, None, False),
        ({"https_proxy": "http://proxy:1"}, "https://h.example", False),
        ({"HTTP_PROXY": "http://proxy:1"}, "http://h.example", False),
        ({"HTTP_PROXY": "http://proxy:1"}, None, True),
        ({"HTTPS_PROXY": "http://proxy:1"}, "http://h.example", True),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "h.example"}, "https://h.example", True),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "other"}, "https://h.example", False),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": ".amazonaws.com"}, None, True),
        ({"HTTPS_PROXY": ""}, None, True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "x, 10.0.0.0/8"}, "https://10.1.2.3:4566", True),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "10.0.0.0/8"}, "https://11.1.2.3", False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.7/8"}, "https://10.1.2.3", True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, "https://[fd00::1]:8", True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/99,/,x/8"}, "https://10.1.2.3", False),
    ],
)
def test_proxies(
    environment: dict[str, str],
    endpoint: str | None,
    is_direct: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = {"endpoint": endpoint} if endpoint else {}
    if is_direct:
        assert isinstance(open_transport(output_config(options)), DirectTransport)
    else:
        assert_needs_botocore(caplog, "a proxy is configured for http", options)
    assert "sesame" not in caplog.text


def test_without_httptools(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(response, "MISSING", "httptools cannot be imported (no such file)")
    assert_needs_botocore(caplog, "httptools cannot be imported", level=logging.WARNING)


IMPOSSIBLE_IMPORT = """
import logging, sys
sys.modules["httptools"] = None
logging.basicConfig()
from chunks import output_config
from outputs import numbered
from kinesis_fast import KinesisOutput
with KinesisOutput(output_config(endpoint=sys.argv[1])) as output:
    print(output.flush(numbered([1])).name)
"""


def test_a_python_that_cannot_import_httptools(server: RawServer) -> None:
    """It sends through botocore, and one warning says so."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPOSSIBLE_IMPORT, server.url],
        env=program_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "OK\n"
    assert len(server.arrived) == 1
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("INFO:")]
    assert line.startswith("WARNING:kinesis_fast:using the transport botocore: httptools cannot ")


def with_config(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    original = client._client_config
    monkeypatch.setattr(client, "_client_config", lambda c: original(c).merge(config))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Config(client_cert="/no/such/file"), "a client certificate is configured"),
        (Config(proxies={"https": "http://proxy:1"}), "a proxy is configured for https"),
        (Config(signature_version=UNSIGNED), "does not sign the requests with Signature Version 4"),
        (Config(signature_version="v3"), "does not sign the requests with Signature Version 4"),
    ],
)
def test_what_only_botocore_can_do(
    config: Config, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_config(config, monkeypatch)
    assert_needs_botocore(caplog, reason)


def test_proxies_of_the_configuration_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    with_config(Config(proxies={"http": "http://proxy:1"}), monkeypatch)
    client = make_client(output_config())
    check_settings(client)  # raises nothing
    client.close()


def test_a_path_that_urllib3_would_change(caplog: pytest.LogCaptureFixture) -> None:
    assert_needs_botocore(caplog, "unusual characters", {"endpoint": "http://h.example/a%2fb"})
