"""The botocore transport against a socket: what goes out, what comes back, what does not happen."""

import hashlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from chunks import output_config
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fake_transport import entries_answer
from outputs import assert_stats, numbered
from raw_server import Arrived, RawServer, http

from kinesis_fast import FlushResult, KinesisOutput, TransportError
from kinesis_fast.transport import NotSentError
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.session import make_client, open_transport

BODY = b'{"Records":[{"Data":"eA==","PartitionKey":"p"}],"StreamName":"logs"}'
ACCEPTED = entries_answer([None]).body


class Service:
    """Answers every request with `answer`; None closes the connection instead."""

    def __init__(self) -> None:
        self.answer: bytes | None = http(200, ACCEPTED)
        self.delay_s = 0.0
        self.hurry = threading.Event()

    def __call__(self, arrived: Arrived) -> bytes | None:
        self.hurry.wait(self.delay_s)
        return self.answer


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service) -> Iterator[RawServer]:
    with RawServer(service) as server:
        yield server


@pytest.fixture
def transport(server: RawServer) -> Iterator[BotocoreTransport]:
    transport = open_transport(output_config(endpoint=server.url))
    yield transport
    transport.close()


def test_the_body_arrives_as_it_is(transport: BotocoreTransport, server: RawServer) -> None:
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


def test_the_signature_covers_the_body(transport: BotocoreTransport, server: RawServer) -> None:
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


def test_large_bodies(transport: BotocoreTransport, server: RawServer) -> None:
    body = b'{"Records":[' + b"x" * 7_000_000 + b"]}"
    assert transport.send(memoryview(body), 1, 10.0).status == 200
    assert server.arrived[0].body == body


def test_the_body_is_let_go(transport: BotocoreTransport, service: Service) -> None:
    for answer in (service.answer, http(500), None):
        service.answer = answer
        body = bytearray(BODY)
        view = memoryview(body)
        if answer is None:
            with pytest.raises(TransportError):
                transport.send(view, 1, None)
        else:
            transport.send(view, 1, None)
        view.release()
        body.append(0)


def test_any_answer_comes_back_as_it_is(
    transport: BotocoreTransport, service: Service, server: RawServer
) -> None:
    statuses = [200, 201, 301, 307, 400, 403, 404, 413, 429, 500, 503]
    bodies = [b"", b"{", b"<html>sorry</html>", b'{"__type":"Throttling","message":"slow"}']
    cases = list(product(statuses, bodies))
    for status, body in cases:
        service.answer = http(status, body, x_amzn_ErrorType="Code:")
        response = transport.send(memoryview(BODY), 1, None)
        assert (response.status, response.body) == (status, body)
        assert response.headers["X-Amzn-ErrorType"] == "Code:"
    assert len(server.arrived) == len(cases)


def test_no_retries_of_the_sdk(
    transport: BotocoreTransport,
    service: Service,
    server: RawServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    again = open_transport(output_config(endpoint=server.url))
    service.answer = None
    for sender in (transport, again):
        with pytest.raises(TransportError, match=r"ConnectionClosedError.*check the network"):
            sender.send(memoryview(BODY), 1, None)
    assert len(server.arrived) == 2
    again.close()


def test_connections_are_kept(transport: BotocoreTransport, server: RawServer) -> None:
    for _ in range(3):
        transport.send(memoryview(BODY), 1, None)
    assert {arrived.connection for arrived in server.arrived} == {1}


@pytest.mark.skipif(
    not hasattr(URLLib3Session, "_get_request_timeout"),
    reason="this botocore has no time-out per request",
)
def test_no_answer_in_time(transport: BotocoreTransport, service: Service) -> None:
    service.delay_s = 20.0
    started = time.monotonic()
    with pytest.raises(TransportError, match="ReadTimeoutError"):
        transport.send(memoryview(BODY), 1, 0.05)
    assert time.monotonic() - started < 10
    service.hurry.set()


def test_the_time_out_of_the_configuration(server: RawServer, service: Service) -> None:
    service.delay_s = 20.0
    transport = open_transport(output_config(endpoint=server.url, http_request_timeout="1"))
    started = time.monotonic()
    with pytest.raises(TransportError, match="ReadTimeoutError"):
        transport.send(memoryview(BODY), 1, None)
    assert 0.9 < time.monotonic() - started < 10
    service.hurry.set()
    transport.close()


def test_no_time_out_at_all(server: RawServer, service: Service) -> None:
    transport = open_transport(output_config(endpoint=server.url, http_request_timeout="0"))
    service.delay_s = 0.1
    assert transport.send(memoryview(BODY), 1, None).status == 200
    transport.close()


def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        transport = open_transport(output_config(endpoint=url))
        with pytest.raises(TransportError, match=r"EndpointConnectionError.*region and endpoint"):
            transport.send(memoryview(BODY), 1, None)
        transport.close()


def test_passwords_in_urls_are_not_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://me:sesame@127.0.0.1:{closed.getsockname()[1]}"
        transport = open_transport(output_config(endpoint=url))
        with pytest.raises(TransportError) as caught:
            transport.send(memoryview(BODY), 1, None)
        transport.close()
    assert "sesame" not in str(caught.value)
    assert "//***@127.0.0.1" in str(caught.value)


def self_signed(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's side of TLS for 127.0.0.1, and the certificate that a client must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = directory / "certificate.pem", directory / "key.pem"
    pem.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_pem)
    return context, pem


def test_tls(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    body = b'{"Records":[' + b"x" * 3_000_000 + b"]}"
    with RawServer(service, context) as server:
        stranger = open_transport(output_config(endpoint=server.url))
        with pytest.raises(TransportError, match=r"SSLError.*AWS_CA_BUNDLE"):
            stranger.send(memoryview(BODY), 1, None)
        stranger.close()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        transport = open_transport(output_config(endpoint=server.url))
        assert transport.send(memoryview(body), 1, None).status == 200
        assert transport.send(memoryview(BODY), 1, None).status == 200
        transport.close()
    assert [arrived.body for arrived in server.arrived] == [body, BODY]


def test_several_threads_do_not_mix_up_their_requests(server: RawServer) -> None:
    server._handler = lambda arrived: http(200, arrived.body[::-1])
    together = threading.Barrier(2)
    config = output_config(endpoint=server.url)

    def wait(**_: object) -> None:
        together.wait(10)  # until both threads are in the middle of a call

    def client() -> Any:
        client = make_client(config)
        for moment in ("provide-client-params", "after-call"):
            client.meta.events.register(f"{moment}.kinesis.PutRecords", wait)
        return client

    transport = BotocoreTransport(client, config.stream)
    bodies = [b"body %d " % i * (i + 1) for i in range(20)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda body: transport.send(memoryview(body), 1, 5.0), bodies))
    assert [answer.body for answer in answers] == [body[::-1] for body in bodies]
    assert sorted(arrived.body for arrived in server.arrived) == sorted(bodies)
    assert {arrived.connection for arrived in server.arrived} == {1, 2}
    transport.close()


def test_the_environments_proxy_is_used(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    transport = open_transport(output_config(endpoint="http://kinesis.example.invalid:81"))
    assert transport.send(memoryview(BODY), 1, None).status == 200
    assert server.arrived[0].line == "POST http://kinesis.example.invalid:81/ HTTP/1.1"
    transport.close()


def test_a_stream_can_be_named_by_its_arn(server: RawServer) -> None:
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/logs"
    config = output_config(endpoint=server.url, stream=arn)
    with KinesisOutput(config) as output:
        assert output.flush(numbered([1])) is FlushResult.OK
    assert f'"StreamARN":"{arn}"'.encode() in server.arrived[0].body


def test_credentials_that_appear_later_are_found(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        transport = open_transport(output_config(endpoint=server.url))
        with pytest.raises(NotSentError, match=r"NoCredentialsError.*give the process AWS cred"):
            transport.send(memoryview(BODY), 1, None)
        assert server.arrived == []
    assert transport.send(memoryview(BODY), 1, None).status == 200
    transport.close()


def test_a_whole_flush_over_http(
    server: RawServer, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [
        http(200, entries_answer([None, "InternalFailure", None]).body),
        http(200, ACCEPTED),
    ]
    server._handler = lambda _: answers.pop(0)
    with KinesisOutput(output_config(endpoint=server.url)) as output:
        assert output.flush(numbered(range(3)), "app") is FlushResult.OK
    assert_stats(output, in_=3, delivered=3, retried=1, requests=2)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_refusal_over_http_says_what_to_do(
    server: RawServer, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer = http(400, b'{"__type":"ResourceNotFoundException","message":"no logs"}')
    with KinesisOutput(output_config(endpoint=server.url)) as output:
        assert output.flush(numbered(range(3)), "app") is FlushResult.RETRY
    assert caplog.messages[-1] == (
        "chunk 'app': 3 records are given back; PutRecords tried once: "
        "ResourceNotFoundException (HTTP 400): no logs "
        "(no such stream in this account: check stream, region, role_arn)"
    )
