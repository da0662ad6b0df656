"""Which transport is taken, and that the direct one goes where botocore would go."""

import logging
from typing import Any, NamedTuple

import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session
from chunks import output_config
from fake_transport import entries_answer
from raw_server import RawServer, http

from kinesis_fast import ConfigError, KinesisOutput, TransportError
from kinesis_fast.transport import NotSentError, client
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.client import make_client, open_transport
from kinesis_fast.transport.direct import response
from kinesis_fast.transport.direct.connector import Connector
from kinesis_fast.transport.direct.endpoint import (
    OddRequestError,
    check_signature,
    find_route,
    why_not,
)
from kinesis_fast.transport.direct.sigv4 import Keys
from kinesis_fast.transport.direct.transport import DirectTransport, Source

BODY = memoryview(b'{"Records":[],"StreamName":"logs"}')
ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/logs"
GOOD = http(200, entries_answer([None]).body)


class Sent(NamedTuple):
    """What would have gone out."""

    url: str
    host: str
    port: int
    headers: dict[str, str]


def sent_by_botocore(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the URL that urllib3 is asked for, or what is said instead."""
    urls = []

    def send(self: URLLib3Session, request: AWSPreparedRequest) -> None:
        urls.append(request.url)
        raise HTTPClientError(error="stop here")

    with monkeypatch.context() as patch:
        patch.setattr(URLLib3Session, "send", send)
        transport = open_transport(output_config(options, transport="botocore"))
        with pytest.raises(TransportError) as caught:
            transport.send(BODY, 1, 1.0)
    return urls or [str(caught.value)]


def sent_directly(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the URL that is connected to and asked for, or what is said instead."""
    urls = []

    def connect(self: Connector, timeout_s: float | None) -> None:
        urls.append(self.text)
        raise TransportError("stop here")

    with monkeypatch.context() as patch:
        patch.setattr(Connector, "open", connect)
        transport = open_transport(output_config(options, transport="direct"))
        assert isinstance(transport, DirectTransport)
        with pytest.raises(TransportError) as caught:
            transport.send(BODY, 1, 1.0)
    if not urls:
        return [str(caught.value)]
    assert transport._way is not None
    head = transport._way.signer.head(Keys("A", "s", None), 0, "", 0).decode()
    scheme, _, address = urls[0].partition("://")
    host = head.partition("\r\nHost: ")[2].partition("\r\n")[0]
    assert address in {host, f"{host}:443", f"{host}:80"}
    return [f"{scheme}://{host}{head.split(' ')[1]}"]


ENDPOINTS: list[tuple[dict[str, str], dict[str, str], str]] = [
    ({}, {}, "https://kinesis.us-east-1.amazonaws.com/"),
    ({"region": "cn-north-1"}, {}, "https://kinesis.cn-north-1.amazonaws.com.cn/"),
    ({"region": "eu-central-1"}, {}, "https://kinesis.eu-central-1.amazonaws.com/"),
    ({}, {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://kinesis-fips.us-east-1.amazonaws.com/"),
    ({}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://kinesis.us-east-1.api.aws/"),
    ({"stream": ARN}, {}, "https://123456789012.data-kinesis.us-east-1.amazonaws.com/"),
    (
        {"stream": ARN},
        {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
        "https://123456789012.data-kinesis-fips.us-east-1.api.aws/",
    ),
    ({}, {"AWS_ACCOUNT_ID": "210987654321"}, ""),
    ({}, {"AWS_ACCOUNT_ID": "210987654321", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}, ""),
    ({}, {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "required"}, ""),
    ({}, {"AWS_ENDPOINT_URL_KINESIS": "http://localhost:4567"}, "http://localhost:4567/"),
    ({"endpoint": "https://vpce-1.example.com"}, {}, "https://vpce-1.example.com/"),
    ({"endpoint": "vpce-1.example.com:443"}, {}, ""),
    ({"endpoint": "http://Example.com:80/a/path"}, {}, ""),
    ({"endpoint": "http://h.example:8080/a//b/../c/"}, {}, ""),
    ({"endpoint": "http://[::1]:8080/%20x"}, {}, ""),
    ({"endpoint": "http://h.example", "stream": ARN}, {}, "http://h.example/"),
    ({"endpoint": "http://h.example"}, {"AWS_USE_FIPS_ENDPOINT": "true"}, ""),
]


@pytest.mark.parametrize(("options", "environment", "url"), ENDPOINTS)
def test_the_direct_transport_goes_where_botocore_goes(
    options: dict[str, str],
    environment: dict[str, str],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    theirs = sent_by_botocore(options, monkeypatch)
    ours = sent_directly(options, monkeypatch)
    assert [normal(text) for text in ours] == [normal(text) for text in theirs]
    if url:
        assert ours == [url]


def normal(url: str) -> str:
    """What goes without saying in a URL is left away: the case of the host, the scheme's port."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"http", "https"}:
        return url
    host, _, path = rest.partition("/")
    port = {"http": ":80", "https": ":443"}[scheme]
    return f"{scheme}://{host.lower().removesuffix(port)}/{path}"


@pytest.mark.parametrize("way", ["direct", "botocore"])
@pytest.mark.parametrize("path", ["", "/", "/a/path", "/a//b/./c/", "/%7Euser"])
@pytest.mark.parametrize("user", ["", "me:sesame@"])
def test_what_arrives_at_an_endpoint_of_our_own(way: str, path: str, user: str) -> None:
    with RawServer(lambda _: GOOD) as server:
        endpoint = server.url.replace("//", f"//{user}") + path
        transport = open_transport(output_config(endpoint=endpoint, transport=way))
        assert transport.send(BODY, 1, 10.0).status == 200
        transport.close()
    (arrived,) = server.arrived
    assert arrived.line == f"POST {path or '/'} HTTP/1.1"
    assert arrived.headers["host"] == server.url.removeprefix("http://")
    assert "sesame" not in str(arrived)


def test_auto_is_direct() -> None:
    assert isinstance(open_transport(output_config()), DirectTransport)
    assert isinstance(open_transport(output_config(transport="botocore")), BotocoreTransport)


def reason_in(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = [r for r in caplog.records if "sent by botocore" in r.message]
    assert record.levelno == logging.INFO
    return record.message


def assert_steps_back(caplog: pytest.LogCaptureFixture, reason: str, **options: str) -> None:
    """Assert that auto takes botocore and says so, and that direct is an error."""
    caplog.clear()
    with KinesisOutput(output_config(options)) as output:
        assert output._parts is not None
        assert isinstance(output._parts.own_transport, BotocoreTransport)
    assert reason in reason_in(caplog)
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
        assert_steps_back(caplog, "a proxy is configured for http", **options)
    assert "sesame" not in caplog.text


def test_without_httptools(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(response, "MISSING", "httptools cannot be imported (no such file)")
    assert_steps_back(caplog, "httptools cannot be imported")


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
    assert_steps_back(caplog, reason)


def test_proxies_of_the_configuration_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    with_config(Config(proxies={"http": "http://proxy:1"}), monkeypatch)
    client = make_client(output_config())
    assert why_not(client) is None
    client.close()


def test_signatures_are_compared_with_botocores() -> None:
    client = make_client(output_config())
    check_signature(client, "logs", Keys("ENVKEY", "secret", None))
    with pytest.raises(OddRequestError, match="in a way of its own"):
        check_signature(client, "logs", Keys("ENVKEY", "other", None))
    client.close()


def test_a_path_that_urllib3_would_change(caplog: pytest.LogCaptureFixture) -> None:
    assert_steps_back(caplog, "unusual characters", endpoint="http://h.example/a%2fb")


def test_a_route_that_turns_odd_later() -> None:
    """Only a plug-in could do that; whoever asks gets an answer all the same."""

    def source() -> Source:
        config = output_config(endpoint="http://h.example/a%2fb")
        return Source(make_client(config), Credentials("A", "s"), "")

    with pytest.raises(NotSentError, match="unusual characters; set the option transport to bot"):
        DirectTransport(source, "logs").send(BODY, 1, 1.0)


def test_finding_the_route_sends_nothing() -> None:
    with RawServer(lambda _: GOOD) as server:
        client = make_client(output_config(endpoint=server.url))
        route = find_route(client, "logs")
        assert route.url == f"{server.url}/"
        client.put_records(StreamName="logs", Records=[])
        assert len(server.arrived) == 1
        client.close()


class Rotating:
    """Credentials of one account first, of another then."""

    def __init__(self) -> None:
        self.account_id = "111111111111"

    def get_frozen_credentials(self) -> Any:
        return ReadOnlyCredentials(f"KEY{self.account_id}", "s", None, self.account_id)


def test_credentials_of_another_account() -> None:
    if "account_id" not in ReadOnlyCredentials._fields:
        pytest.skip("this botocore knows no account ids")
    credentials = Rotating()
    made = []
    with RawServer(lambda _: GOOD) as server:

        def source() -> Source:
            made.append(credentials.account_id)
            config = output_config(endpoint=server.url)
            return Source(make_client(config), credentials, "")

        transport = DirectTransport(source, "logs")
        for account_id in ("111111111111", "111111111111", "222222222222", "222222222222"):
            credentials.account_id = account_id
            assert transport.send(BODY, 1, 10.0).status == 200
        assert made == ["111111111111", "222222222222"]
        assert {arrived.connection for arrived in server.arrived} == {1}
        transport.close()
