"""What a peer may do with messages of TLS: no more than time and bytes allow."""

import math
import re
import shutil
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from chunks import output_config
from direct import GOOD, post
from self_signed import self_signed
from started import Started

from kinesis_fast.transport.client import open_transport
from kinesis_fast.transport.direct import channel as channels
from kinesis_fast.transport.direct import tls
from kinesis_fast.transport.direct.tls import TlsChannel


class TlsPeer:
    """A socket whose other end is a TLS server in the same thread.

    Args:
        context: the server's.
        chunk: bytes that one call receives at most.
    """

    def __init__(self, context: ssl.SSLContext, chunk: int = 1 << 20) -> None:
        self._arrived, self._sealed = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._sealed, server_side=True)
        self._chunk = chunk
        self._is_open = False
        self.n_calls = 0

    def recv_into(self, buffer: memoryview) -> int:
        self.n_calls += 1
        if not self._is_open:
            try:
                self._tls.do_handshake()
                self._is_open = True
            except ssl.SSLWantReadError:
                pass
        data = self._sealed.read(min(self._chunk, len(buffer)))
        if not data:
            raise BlockingIOError
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: bytes, flags: int = 0) -> int:
        return self._arrived.write(data)

    sendall = send

    def settimeout(self, timeout_s: float | None) -> None: ...

    def setblocking(self, is_blocking: bool) -> None: ...


class Trickle:
    """A socket that gives one byte at a time of a TLS record that never ends."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.n_bytes = 0

    def recv_into(self, buffer: memoryview) -> int:
        self.now_s += 0.25
        buffer[0] = b"\x16\x03\x03\x40\x00\x02\x00\xff\xff"[min(self.n_bytes, 8)]
        self.n_bytes += 1
        return 1

    def sendall(self, data: bytes, flags: int = 0) -> None: ...

    def settimeout(self, timeout_s: float | None) -> None:
        assert timeout_s is None or timeout_s > 0


@pytest.fixture
def trusted(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context and a client's that trusts it."""
    server, certificate = self_signed(tmp_path)
    return server, ssl.create_default_context(cafile=str(certificate))


def channel_to(peer: Any, client: ssl.SSLContext, host: str = "127.0.0.1") -> TlsChannel:
    return TlsChannel(cast(socket.socket, peer), client, host, None, None)


def test_each_step_reads_the_socket_once(
    trusted: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Session tickets are no data; a flood of them must not hold the caller."""
    server, client = trusted
    server.num_tickets = 500
    peer = TlsPeer(server, 10_000)
    channel = channel_to(peer, client)
    before = peer.n_calls
    for step in range(1, 5):
        with pytest.raises(ssl.SSLWantReadError):
            channel.receive()
        assert peer.n_calls == before + step


def test_a_flood_of_tickets_ends(
    trusted: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = trusted
    server.num_tickets = 500
    channel = channel_to(TlsPeer(server, 10_000), client)
    channel.queue(b"head", memoryview(b""))
    monkeypatch.setattr(tls, "MAX_WIRE_BYTES", 50_000)
    with pytest.raises(OSError, match="sends more than 50000 bytes"):
        for _ in range(10):
            with pytest.raises(ssl.SSLWantReadError):
                channel.receive()


def test_what_a_request_may_bring_begins_anew(
    trusted: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = trusted
    server.num_tickets = 500
    channel = channel_to(TlsPeer(server, 10_000), client)
    monkeypatch.setattr(tls, "MAX_WIRE_BYTES", 10_000)
    for _ in range(4):
        channel.queue(b"head", memoryview(b""))
        with pytest.raises(ssl.SSLWantReadError):
            channel.receive()


def test_a_handshake_that_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Trickle()
    monkeypatch.setattr(channels, "time", SimpleNamespace(monotonic=lambda: peer.now_s))
    client = ssl.create_default_context()
    with pytest.raises(TimeoutError, match="TLS handshake timed out"):
        TlsChannel(cast(socket.socket, peer), client, "127.0.0.1", None, 105.0)
    assert peer.now_s == 105.0


def test_a_handshake_without_a_time_out_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "MAX_WIRE_BYTES", 1000)
    peer = Trickle()
    with pytest.raises(OSError, match="sends more than 1000 bytes"):
        channel_to(peer, ssl.create_default_context())
    assert peer.n_bytes == 1001


@pytest.mark.parametrize("host", ["trusted.example", "trusted.example."])
def test_a_dot_at_the_end_of_a_host(
    host: str, trusted: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """The certificate has the name without the dot, and urllib3 removes it as well."""
    server, client = trusted
    channel_to(TlsPeer(server), client, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        channel_to(TlsPeer(server), client, "other.example.")


def test_no_time_is_left() -> None:
    assert channels.socket_timeout(None) is None
    assert channels.socket_timeout(math.inf, 2) == math.inf
    with pytest.raises(TimeoutError):
        channels.socket_timeout(0.0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to renegotiate")
def test_a_renegotiation_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of TLS 1.2 may renegotiate before it responds; OpenSSL's own clients go along."""
    _, certificate = self_signed(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-crlf"]
    command += ["-cert", str(certificate), "-key", str(tmp_path / "key.pem")]
    with Started[bytes](
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = re.search(rb":(\d+)$", read_until(server, b"ACCEPT ").strip())
        assert port is not None
        transport = open_transport(
            output_config(endpoint=f"https://127.0.0.1:{int(port[1])}", transport="direct")
        )
        response = renegotiated(transport, server)
        assert response.status == 200
        transport.close()
        server.kill()


def read_until(server: subprocess.Popen[bytes], *texts: bytes) -> bytes:
    """Read what a server prints up to a line with one of the texts; return the line."""
    assert server.stdout is not None
    for line in server.stdout:
        if any(text in line for text in texts):
            return line
    pytest.fail(f"the server ended without a line with {texts}")


def renegotiated(transport: Any, server: subprocess.Popen[bytes]) -> Any:
    """Send a request; let the server renegotiate when it has it, and then respond."""
    assert server.stdin is not None
    with ThreadPoolExecutor(1) as executor:
        response = executor.submit(post, transport, b'{"Records":[]}\n', 5.0)
        read_until(server, b'{"Records"')
        server.stdin.write(b"r\n")
        server.stdin.flush()
        read_until(server, b"DONE", b"SSL_do_handshake")  # it says so when it begins
        server.stdin.write(GOOD.replace(b"\r\n", b"\n"))
        server.stdin.flush()
        return response.result()
