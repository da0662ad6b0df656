"""TLS of the direct transport: which peers it trusts, what it keeps, how it ends."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from direct import GOOD, LARGE, direct, post
from raw_server import RawServer, http
from scripted_server import ScriptedServer
from self_signed import self_signed

from kinesis_fast import TransportError


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return a server's side of TLS for 127.0.0.1 that is trusted."""
    context, certificate = self_signed(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_connections_and_sessions_are_kept(
    context: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    context.minimum_version = context.maximum_version = version
    reused: list[bool | None] = []

    def script(sock: socket.socket, number: int) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        reused.append(sock.session_reused)
        for _ in range(2):
            server.read(sock)
            sock.sendall(GOOD)

    with ScriptedServer(script, context) as server:
        transport = direct(server.url)
        for _ in range(4):
            assert post(transport).status == 200
        transport.close()
    assert reused == [False, True]


def test_large_bodies(context: ssl.SSLContext) -> None:
    with RawServer(lambda _: http(200, LARGE[:8_000_000]), context) as server:
        transport = direct(server.url)
        for n_bytes in (0, 1, 15 * 1024 - 1, 15 * 1024, 15 * 1024 + 1, 12_000_000):
            assert post(transport, LARGE[:n_bytes]).status == 200
            assert server.arrived[-1].body == LARGE[:n_bytes]
        assert {arrived.connection for arrived in server.arrived} == {1}
        transport.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with ScriptedServer(lambda *_: None, context) as server:
        transport = direct(server.url)
        with pytest.raises(TransportError, match=r"SSLError.*check endpoint and AWS_CA_BUNDLE"):
            post(transport)


def test_another_host_is_not_trusted(context: ssl.SSLContext) -> None:
    with RawServer(lambda _: GOOD, context) as server:
        transport = direct(server.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(TransportError, match=r"SSLCertVerificationError.*localhost.*AWS_CA"):
            post(transport)
        assert server.arrived == []


@pytest.mark.parametrize("bundle", ["", "{other}"])
def test_nothing_switches_the_verification_off(
    context: ssl.SSLContext, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("AWS_CA_BUNDLE", bundle.format(other=self_signed(other)[1]))
    with RawServer(lambda _: GOOD, context) as server:
        transport = direct(server.url)
        with pytest.raises(TransportError, match=r"SSLCertVerificationError|Invalid CA bundle"):
            post(transport)
        assert server.arrived == []


def test_the_bundle_of_the_profile(
    context: ssl.SSLContext, aws_settings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    keys = "aws_access_key_id = PROFILEKEY\naws_secret_access_key = s\n"
    aws_settings.write_text(f"[profile logs]\n{keys}ca_bundle = {tmp_path / 'certificate.pem'}\n")
    with RawServer(lambda _: GOOD, context) as server:
        transport = direct(server.url, profile="logs")
        assert post(transport).status == 200
        transport.close()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_unusable_bundle(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
    with ScriptedServer(lambda *_: None) as server:
        transport = direct(server.url.replace("http:", "https:"))
        with pytest.raises(
            TransportError, match=r"CA bundle .*bundle.pem cannot be used.*AWS_CA_B"
        ):
            post(transport)


def test_plain_http_instead_of_tls(context: ssl.SSLContext) -> None:
    def script(sock: socket.socket, number: int) -> None:
        sock.recv(1000)
        sock.sendall(GOOD)

    with ScriptedServer(script) as server:
        transport = direct(server.url.replace("http:", "https:"))
        with pytest.raises(TransportError, match=r"SSL.*check endpoint and AWS_CA_BUNDLE"):
            post(transport)


def test_a_handshake_without_a_response(context: ssl.SSLContext) -> None:
    def script(sock: socket.socket, number: int) -> None:
        server.released.wait(10)

    with ScriptedServer(script) as server:
        transport = direct(server.url.replace("http:", "https:"))
        started = time.monotonic()
        with pytest.raises(
            TransportError, match=r"TimeoutError.*handshake timed out.*check the network"
        ):
            post(transport, timeout_s=0.2)
        assert time.monotonic() - started < 5


def cut(sock: ssl.SSLSocket) -> None:
    """Close the connection without TLS's own end."""
    socket.socket.close(sock)


@pytest.mark.parametrize("end", [cut, ssl.SSLSocket.unwrap])
def test_stale_connections_are_noticed(
    context: ssl.SSLContext, end: Callable[[ssl.SSLSocket], object]
) -> None:
    ended = threading.Event()

    def script(sock: socket.socket, number: int) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        server.read(sock)
        sock.sendall(GOOD)
        sock.settimeout(0.2)
        try:
            end(sock)
        finally:
            ended.set()

    with ScriptedServer(script, context) as server:
        transport = direct(server.url)
        assert post(transport, b"1").status == 200
        assert ended.wait(10)
        time.sleep(0.05)
        assert post(transport, b"2").status == 200
        assert (server.n_connections, server.requests) == (2, [b"1", b"2"])
        transport.close()


def test_a_kept_connection_that_ends_is_replaced(context: ssl.SSLContext) -> None:
    def script(sock: socket.socket, number: int) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        server.read(sock)
        sock.sendall(GOOD)
        if number == 1:
            server.read(sock)
            cut(sock)

    with ScriptedServer(script, context) as server:
        transport = direct(server.url)
        assert post(transport, b"1").status == 200
        assert post(transport, b"2").status == 200
        assert server.requests == [b"1", b"2", b"2"]
        transport.close()


def test_an_unannounced_end_does_not_complete_a_response(context: ssl.SSLContext) -> None:
    """A response without a length that was cut off must not pass for a whole one."""

    def script(sock: socket.socket, number: int) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        server.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")
        if number == 1:
            sock.settimeout(0.2)
            sock.unwrap()
        else:
            cut(sock)

    with ScriptedServer(script, context) as server:
        transport = direct(server.url)
        assert post(transport).status == 200
        with pytest.raises(TransportError, match="middle of the response"):
            post(transport)


@pytest.mark.parametrize("keeps_open", [True, False])
def test_a_response_before_the_request_is_out(context: ssl.SSLContext, keeps_open: bool) -> None:
    def script(sock: socket.socket, number: int) -> None:
        sock.recv(1000)
        sock.sendall(http(413, b"too much", Connection="close"))
        if keeps_open:
            server.released.wait(10)
        else:
            time.sleep(0.1)

    with ScriptedServer(script, context) as server:
        transport = direct(server.url)
        started = time.monotonic()
        assert post(transport, LARGE).status == 413
        assert time.monotonic() - started < 5
        transport.close()
