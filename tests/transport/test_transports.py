"""Both transports against a socket: requests, responses, proxies, and what does not happen."""

import hashlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from chunks import output_config
from direct import ACCEPTED, BODY, Service
from fake_transport import entries_answer
from outputs import assert_stats, numbered
from raw_server import Arrived, RawServer, http
from scripted_server import ScriptedServer

from kinesis_fast import ConfigError, FlushResult, KinesisOutput, TransportError
from kinesis_fast.transport import NotSentError
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.client import open_session, open_transport
from kinesis_fast.transport.direct.transport import DirectTransport

LOST = {
    "direct": "connection lost before a response.*check the network",
    "botocore": "ConnectionClosedError.*check the network",
}
NO_LISTENER = {
    "direct": r"ConnectionRefusedError.*\(http://.*\); .*region and endpoint",
    "botocore": "EndpointConnectionError.*region and endpoint",
}
# What an error says of an endpoint with user-info.
SHOWN = {"direct": "http://127.0.0.1", "botocore": "//***@127.0.0.1"}
AnyTransport = DirectTransport | BotocoreTransport


@pytest.fixture
def transport(server: RawServer, transport_name: str) -> Iterator[AnyTransport]:
    transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
    yield transport
    transport.close()


def test_the_body_arrives_as_it_is(transport: AnyTransport, server: RawServer) -> None:
    response = transport.send(memoryview(BODY), 1, None)
    assert (response.status, response.body) == (200, ACCEPTED)
    (arrived,) = server.arrived
    assert arrived.line == "POST / HTTP/1.1"
    assert arrived.body == BODY
    assert arrived.headers["x-amz-target"] == "Kinesis_20131202.PutRecords"
    assert arrived.headers["content-type"] == "application/x-amz-json-1.1"
    assert arrived.headers["content-length"] == str(len(BODY))
    assert "transfer-encoding" not in arrived.headers
    assert "expect" not in arrived.headers
    assert "kinesis-fast/" in arrived.headers["user-agent"]
    assert "Credential=ENVKEY/" in arrived.headers["authorization"]
    assert "/us-east-1/kinesis/aws4_request" in arrived.headers["authorization"]


def test_the_signature_covers_the_body(transport: AnyTransport, server: RawServer) -> None:
    """Sign what arrived once more, with botocore's own signer, and compare."""
    transport.send(memoryview(BODY), 1, None)
    (arrived,) = server.arrived
    authorization = arrived.headers["authorization"]
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest("POST", server.url + "/", {n: arrived.headers[n] for n in names}, BODY)
    request.context["timestamp"] = arrived.headers["x-amz-date"]
    signer = SigV4Auth(Credentials("ENVKEY", "secret"), "kinesis", "us-east-1")
    canonical = signer.canonical_request(request)
    assert canonical.endswith(hashlib.sha256(BODY).hexdigest())
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert authorization.endswith(f"Signature={signature}")


def test_large_bodies(transport: AnyTransport, server: RawServer) -> None:
    body = b'{"Records":[' + b"x" * 7_000_000 + b"]}"
    assert transport.send(memoryview(body), 1, 10.0).status == 200
    assert server.arrived[0].body == body


def test_the_body_is_released(transport: AnyTransport, service: Service) -> None:
    for response in (service.response, http(500), None):
        service.response = response
        body = bytearray(BODY)
        view = memoryview(body)
        if response is None:
            with pytest.raises(TransportError):
                transport.send(view, 1, None)
        else:
            transport.send(view, 1, None)
        view.release()
        body.append(0)


def test_any_response_comes_back_as_it_is(
    transport: AnyTransport, service: Service, server: RawServer
) -> None:
    statuses = [200, 201, 301, 307, 400, 403, 404, 413, 429, 500, 503]
    bodies = [b"", b"{", b"<html>sorry</html>", b'{"__type":"Throttling","message":"slow"}']
    cases = list(product(statuses, bodies))
    for status, body in cases:
        service.response = http(status, body, x_amzn_ErrorType="Code:")
        response = transport.send(memoryview(BODY), 1, None)
        assert (response.status, response.body) == (status, body)
        assert response.headers["X-Amzn-ErrorType"] == "Code:"
    assert len(server.arrived) == len(cases)


def test_no_retries_of_the_sdk(
    transport: AnyTransport,
    service: Service,
    server: RawServer,
    monkeypatch: pytest.MonkeyPatch,
    transport_name: str,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    again = open_transport(output_config(endpoint=server.url, transport=transport_name))
    service.response = None
    for sender in (transport, again):
        with pytest.raises(TransportError, match=LOST[transport_name]):
            sender.send(memoryview(BODY), 1, None)
    assert len(server.arrived) == 2
    again.close()


def test_connections_are_kept(transport: AnyTransport, server: RawServer) -> None:
    for _ in range(3):
        transport.send(memoryview(BODY), 1, None)
    assert {arrived.connection for arrived in server.arrived} == {1}


def test_no_time_out_at_all(server: RawServer, service: Service, transport_name: str) -> None:
    transport = open_transport(
        output_config(endpoint=server.url, http_request_timeout="0", transport=transport_name)
    )
    service.delay_s = 0.1
    assert transport.send(memoryview(BODY), 1, None).status == 200
    transport.close()


def test_no_server_listens(transport_name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        transport = open_transport(output_config(endpoint=url, transport=transport_name))
        with pytest.raises(TransportError, match=NO_LISTENER[transport_name]):
            transport.send(memoryview(BODY), 1, None)
        transport.close()


def test_passwords_in_urls_are_not_shown(transport_name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://me:sesame@127.0.0.1:{closed.getsockname()[1]}"
        transport = open_transport(output_config(endpoint=url, transport=transport_name))
        with pytest.raises(TransportError) as caught:
            transport.send(memoryview(BODY), 1, None)
        transport.close()
    assert "sesame" not in str(caught.value)
    assert SHOWN[transport_name] in str(caught.value)


def test_a_proxy_that_wants_a_password(
    server: RawServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.response = http(407, b"", Proxy_Authenticate="Basic")
    for scheme in ("HTTP", "HTTPS"):
        monkeypatch.setenv(f"{scheme}_PROXY", server.url.replace("//", "//me:sesame@"))
        transport = open_transport(output_config(endpoint=f"{scheme.lower()}://k.example.invalid"))
        with pytest.raises(NotSentError, match=r"407.*put them into HTTPS_PROXY") as caught:
            transport.send(memoryview(BODY), 1, None)
        assert "sesame" not in str(caught.value)
        transport.close()


def test_a_proxy_that_refuses(
    server: RawServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.response = http(403)
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    transport = open_transport(output_config(endpoint="https://k.example.invalid"))
    with pytest.raises(TransportError, match=r"HTTP 403 Status; check the proxy in HTTPS_PROXY"):
        transport.send(memoryview(BODY), 1, None)
    transport.close()


def test_no_proxy_with_networks(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, transport_name: str
) -> None:
    """The endpoint is an address; names never stand in a network."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost, 127.0.0.0/8")
    transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
    assert transport.send(memoryview(BODY), 1, None).status == 200
    transport.close()


def test_no_proxy_for_sts(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, transport_name: str
) -> None:
    """The request for the role arrives, whatever becomes of it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    options = {"role_arn": "arn:aws:iam::123456789012:role/r", "sts_endpoint": server.url}
    transport = open_transport(output_config(options, transport=transport_name))
    with pytest.raises(TransportError):
        transport.send(memoryview(BODY), 1, None)
    transport.close()
    assert b"Action=AssumeRole" in server.arrived[0].body


def test_no_proxy_for_the_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def metadata(arrived: Arrived) -> bytes:
        keys = {"AccessKeyId": "IMDSKEY", "SecretAccessKey": "s", "Token": "t", "Code": "Success"}
        if arrived.line.startswith("PUT"):
            return http(200, b"token")
        if arrived.line.split()[1].endswith("/role"):
            return http(200, json.dumps(keys | {"Expiration": "2099-01-01T00:00:00Z"}).encode())
        return http(200, b"role")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    with RawServer(metadata) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        credentials = open_session(output_config()).get_credentials()
        assert credentials is not None
        assert credentials.access_key == "IMDSKEY"


def test_a_stream_can_be_named_by_its_arn(server: RawServer, transport_name: str) -> None:
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/logs"
    config = output_config(endpoint=server.url, stream=arn, transport=transport_name)
    with KinesisOutput(config) as output:
        assert output.flush(numbered([1])) is FlushResult.OK
    assert f'"StreamARN":"{arn}"'.encode() in server.arrived[0].body


@pytest.mark.parametrize("stream", ["/ru-central1/b1gx/etn0/logs", 'a "quoted" strëam\\'])
def test_names_of_a_compatible_service_go_out_as_they_are(
    server: RawServer, transport_name: str, stream: str
) -> None:
    config = output_config(
        endpoint=server.url, region="ru-central1", stream=stream, transport=transport_name
    )
    with KinesisOutput(config) as output:
        assert output.flush(numbered([1])) is FlushResult.OK
    assert json.loads(server.arrived[0].body)["StreamName"] == stream
    assert "/ru-central1/kinesis/aws4_request" in server.arrived[0].headers["authorization"]


def test_botocore_connects_to_no_host_with_an_underscore(transport_name: str) -> None:
    """So `endpoint` refuses it; when this changes, `endpoint` may accept it."""
    config = output_config(endpoint="http://my-host:4567", transport=transport_name)
    with pytest.raises(ConfigError, match="Invalid endpoint"):
        open_transport(replace(config, endpoint="http://my_host:4567"))


def test_credentials_that_appear_later_are_found(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, transport_name: str
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
        with pytest.raises(NotSentError, match=r"NoCredentialsError.*give the process AWS cred"):
            transport.send(memoryview(BODY), 1, None)
        assert server.arrived == []
    assert transport.send(memoryview(BODY), 1, None).status == 200
    transport.close()


def test_a_whole_flush_over_http(
    server: RawServer, service: Service, caplog: pytest.LogCaptureFixture, transport_name: str
) -> None:
    responses = [
        http(200, entries_answer([None, "InternalFailure", None]).body),
        http(200, ACCEPTED),
    ]
    server._handler = lambda _: responses.pop(0)
    with KinesisOutput(output_config(endpoint=server.url, transport=transport_name)) as output:
        assert output.flush(numbered(range(3)), "app") is FlushResult.OK
    assert_stats(output, in_=3, delivered=3, retried=1, requests=2)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("astray", [entries_answer([None]).body, b"{}", b"<html>sorry</html>"])
def test_a_response_about_another_request_ends_its_connection(
    server: RawServer, transport_name: str, astray: bytes
) -> None:
    """From there on each response on it may be the one to the request before."""

    def respond(arrived: Arrived) -> bytes:
        if arrived.connection == 1:
            return http(200, astray)
        return http(200, entries_answer([None] * arrived.body.count(b'"Data"')).body)

    server._handler = respond
    config = output_config(endpoint=server.url, transport=transport_name, max_in_flight="1")
    with KinesisOutput(config) as output:
        assert output.flush(numbered(range(700)), "app") is FlushResult.OK
    assert [arrived.connection for arrived in server.arrived] == [1, 2, 2]
    assert_stats(output, in_=700, delivered=700, retried=500, requests=3)


def test_a_refusal_over_http_says_what_to_do(
    server: RawServer, service: Service, caplog: pytest.LogCaptureFixture, transport_name: str
) -> None:
    service.response = http(400, b'{"__type":"ResourceNotFoundException","message":"no logs"}')
    with KinesisOutput(output_config(endpoint=server.url, transport=transport_name)) as output:
        assert output.flush(numbered(range(3)), "app") is FlushResult.RETRY
    assert "ResourceNotFoundException (HTTP 400): no logs" in caplog.messages[-1]
    assert "check stream, region, role_arn" in caplog.messages[-1]


@pytest.mark.slow
def test_the_fixed_cost_of_a_request(server: RawServer) -> None:
    """The CPU time of the sending thread: direct has to be far below botocore, 14 times it was."""
    taken = {}
    for transport_name in ("direct", "botocore"):
        transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
        rounds = []
        for _ in range(6):
            started = time.thread_time()
            for _ in range(30):
                transport.send(memoryview(BODY), 1, 10.0)
            rounds.append(time.thread_time() - started)
        taken[transport_name] = min(rounds)
        transport.close()
    assert taken["direct"] * 3 < taken["botocore"]


@pytest.mark.parametrize("moment", ["before the first request", "before the response"])
def test_no_connection_outlives_a_closed_transport(transport_name: str, moment: str) -> None:
    """close() may come while a request is in flight, or before its connection is opened."""
    ended = threading.Event()

    def script(sock: socket.socket, _: int) -> None:
        assert server.read(sock) == BODY
        if moment == "before the response":
            transport.close()
        sock.sendall(http(200, ACCEPTED))
        if server.read(sock) is None:
            ended.set()

    with ScriptedServer(script) as server:
        transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
        if moment == "before the first request":
            transport.close()
        assert transport.send(memoryview(BODY), 1, 10.0).status == 200
        assert ended.wait(10.0)
