"""Which certificates both transports trust, and where the certificates come from."""

import ssl
from pathlib import Path

import pytest
from botocore.httpsession import get_cert_path
from chunks import output_config
from direct import BODY, Service
from raw_server import RawServer
from self_signed import self_signed

from kinesis_fast import TransportError
from kinesis_fast.transport import trust
from kinesis_fast.transport.client import open_session, open_transport

CA_VARIABLES = {
    "a file": {"AWS_CA_BUNDLE": "{directory}/certificate.pem"},
    "a directory": {"AWS_CA_BUNDLE": "{directory}"},
    "REQUESTS_CA_BUNDLE": {"AWS_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "{directory}"},
    "SSL_CERT_FILE": {"AWS_CA_BUNDLE": "", "SSL_CERT_FILE": "{directory}/certificate.pem"},
    "SSL_CERT_DIR": {"SSL_CERT_DIR": "/no/such/directory:{directory}"},
    "both": {"SSL_CERT_FILE": "{public}", "SSL_CERT_DIR": "{directory}"},
}


def test_tls(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, transport_name: str
) -> None:
    context, certificate = self_signed(tmp_path)
    body = b'{"Records":[' + b"x" * 3_000_000 + b"]}"
    with RawServer(service, context) as server:
        stranger = open_transport(output_config(endpoint=server.url, transport=transport_name))
        with pytest.raises(TransportError, match=r"SSL.*AWS_CA_BUNDLE"):
            stranger.send(memoryview(BODY), 1, None)
        stranger.close()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
        assert transport.send(memoryview(body), 1, None).status == 200
        assert transport.send(memoryview(BODY), 1, None).status == 200
        transport.close()
    assert [arrived.body for arrived in server.arrived] == [body, BODY]


@pytest.mark.parametrize("variables", CA_VARIABLES.values(), ids=CA_VARIABLES)
def test_where_trusted_certificates_come_from(
    variables: dict[str, str],
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    transport_name: str,
) -> None:
    directory = tmp_path / "trusted"
    directory.mkdir()
    context, _ = self_signed(directory)
    (directory / "12345678.0").symlink_to("certificate.pem")  # as OpenSSL wants it
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(directory=directory, public=get_cert_path(True)))
    assert_trusted(service, context, transport_name)


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_CA_BUNDLE": ""},
        {"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""},
        {"SSL_CERT_FILE": "/no/such/file", "SSL_CERT_DIR": ":"},
        {"AWS_CA_BUNDLE": "{empty}"},
    ],
)
def test_an_empty_variable_trusts_no_stranger(
    variables: dict[str, str],
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    transport_name: str,
) -> None:
    (tmp_path / "empty").mkdir()
    context, _ = self_signed(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(empty=tmp_path / "empty"))
    assert_not_trusted(service, context, transport_name)


def assert_trusted(service: Service, context: ssl.SSLContext, transport_name: str) -> None:
    with RawServer(service, context) as server:
        transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
        assert transport.send(memoryview(BODY), 1, None).status == 200
        transport.close()


def assert_not_trusted(service: Service, context: ssl.SSLContext, transport_name: str) -> None:
    with RawServer(service, context) as server:
        transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
        with pytest.raises(TransportError, match=r"SSL.*check endpoint and AWS_CA_BUNDLE"):
            transport.send(memoryview(BODY), 1, None)
        transport.close()
    assert server.arrived == []


def test_the_systems_store_is_trusted_without_any_variable(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, transport_name: str
) -> None:
    """The first store that has certificates counts, as for the Go plugin."""
    context, certificate = self_signed(tmp_path)
    (tmp_path / "empty.pem").touch()
    stores = (tmp_path / "missing.pem", tmp_path, tmp_path / "empty.pem", certificate)
    monkeypatch.setattr(trust, "SYSTEM_STORES", tuple(map(str, stores)))
    assert_trusted(service, context, transport_name)


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_variable_replaces_the_systems_store(
    name: str,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    transport_name: str,
) -> None:
    context, certificate = self_signed(tmp_path)
    monkeypatch.setattr(trust, "SYSTEM_STORES", (str(certificate),))
    monkeypatch.setenv(name, get_cert_path(True))
    assert_not_trusted(service, context, transport_name)


def test_without_a_system_store_the_public_certificates_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    stores = (str(tmp_path / "missing.pem"), str(tmp_path / "empty.pem"))
    monkeypatch.setattr(trust, "SYSTEM_STORES", stores)
    session = open_session(output_config())
    assert session.get_config_variable("ca_bundle") == get_cert_path(True)


def test_the_profiles_bundle_counts_if_the_variable_is_empty(
    service: Service,
    aws_settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    transport_name: str,
) -> None:
    context, certificate = self_signed(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", "")
    aws_settings.write_text(f"[default]\nca_bundle = {certificate}\n")
    assert_trusted(service, context, transport_name)


def test_a_certificate_of_sts_is_not_blamed_on_the_endpoint(
    server: RawServer, tmp_path: Path, transport_name: str
) -> None:
    context, _ = self_signed(tmp_path)
    with RawServer(lambda _: None, context) as sts:
        options = {"role_arn": "arn:aws:iam::123456789012:role/r", "sts_endpoint": sts.url}
        config = output_config(options, endpoint=server.url, transport=transport_name)
        transport = open_transport(config)
        with pytest.raises(
            TransportError, match=r"this host gives the credentials: .*sts_endp"
        ) as caught:
            transport.send(memoryview(BODY), 1, None)
        transport.close()
    assert "check endpoint" not in str(caught.value)
    assert caught.value.n_sent == 0
