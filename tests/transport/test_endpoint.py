"""The direct transport sends to where botocore would send, and signs as botocore signs."""

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session
from chunks import output_config
from direct import GOOD
from raw_server import RawServer

from kinesis_fast import TransportError
from kinesis_fast.transport.client import make_client, open_transport
from kinesis_fast.transport.direct.connector import Connector
from kinesis_fast.transport.direct.endpoint import (
    NeedsBotocoreError,
    check_signature,
    find_endpoint,
)
from kinesis_fast.transport.direct.sigv4 import Keys
from kinesis_fast.transport.direct.transport import DirectTransport

BODY = memoryview(b'{"Records":[],"StreamName":"logs"}')


ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/logs"


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
        urls.append(self.address)
        raise TransportError("stop here")

    with monkeypatch.context() as patch:
        patch.setattr(Connector, "open", connect)
        transport = open_transport(output_config(options, transport="direct"))
        assert isinstance(transport, DirectTransport)
        with pytest.raises(TransportError) as caught:
            transport.send(BODY, 1, 1.0)
    if not urls:
        return [str(caught.value)]
    assert transport._context is not None
    head = transport._context.signer.head(Keys("A", "s", None), 0, "", 0).decode()
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


@pytest.mark.parametrize("path", ["", "/", "/a/path", "/a//b/./c/", "/%7Euser"])
@pytest.mark.parametrize("user", ["", "me:sesame@"])
def test_what_arrives_at_a_custom_endpoint(transport_name: str, path: str, user: str) -> None:
    with RawServer(lambda _: GOOD) as server:
        endpoint = server.url.replace("//", f"//{user}") + path
        transport = open_transport(output_config(endpoint=endpoint, transport=transport_name))
        assert transport.send(BODY, 1, 10.0).status == 200
        transport.close()
    (arrived,) = server.arrived
    assert arrived.line == f"POST {path or '/'} HTTP/1.1"
    assert arrived.headers["host"] == server.url.removeprefix("http://")
    assert "sesame" not in str(arrived)


def test_signatures_are_compared_with_botocores() -> None:
    client = make_client(output_config())
    check_signature(client, "logs", Keys("ENVKEY", "secret", None))
    with pytest.raises(NeedsBotocoreError, match="in a way of its own"):
        check_signature(client, "logs", Keys("ENVKEY", "other", None))
    client.close()


def test_finding_the_endpoint_sends_nothing() -> None:
    with RawServer(lambda _: GOOD) as server:
        client = make_client(output_config(endpoint=server.url))
        endpoint = find_endpoint(client, "logs")
        assert endpoint.url == f"{server.url}/"
        client.put_records(StreamName="logs", Records=[])
        assert len(server.arrived) == 1
        client.close()
