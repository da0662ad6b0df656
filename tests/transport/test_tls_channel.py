"""The channel through TLS, against OpenSSL's own socket at the other end."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from direct import RecordingSocket
from self_signed import self_signed

from kinesis_fast.transport.direct.channel import WOULD_BLOCK
from kinesis_fast.transport.direct.tls import RECORD_BYTES, STEP_BYTES, TlsChannel

PATIENCE_S = 10.0
Serve = Callable[[ssl.SSLSocket], None]
Connect = Callable[[Serve], TlsChannel]
SOCKETS: dict[TlsChannel, RecordingSocket] = {}  # of the channels of a test


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """Make a channel to a thread that serves one connection."""
    context, trusted = self_signed(tmp_path)
    context.minimum_version = context.maximum_version = request.param
    with ExitStack() as stack:

        def make(serve: Serve) -> TlsChannel:
            plain, theirs = socket.socketpair()
            ours = RecordingSocket(plain.detach())
            theirs.settimeout(PATIENCE_S)

            def run() -> None:
                with context.wrap_socket(theirs, server_side=True) as sock:
                    serve(sock)

            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join, PATIENCE_S)
            client = ssl.create_default_context(cafile=str(trusted))
            deadline_s = time.monotonic() + PATIENCE_S
            channel = TlsChannel(ours, client, "127.0.0.1", None, deadline_s)
            stack.callback(channel.close)
            SOCKETS[channel] = ours
            return channel

        yield make
    SOCKETS.clear()


def send(channel: TlsChannel, head: bytes, body: bytes) -> None:
    channel.queue(head, memoryview(body))
    more = True
    deadline_s = time.monotonic() + PATIENCE_S
    while more:
        assert time.monotonic() < deadline_s
        try:
            more = channel.push()
        except BlockingIOError:
            time.sleep(0.001)


def next_of(channel: TlsChannel) -> bytes:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < deadline_s
        try:
            return bytes(channel.receive())
        except WOULD_BLOCK:
            time.sleep(0.001)


def read_exactly(sock: ssl.SSLSocket, n: int) -> bytes:
    data = bytearray()
    while len(data) < n:
        piece = sock.recv(n - len(data))
        assert piece
        data += piece
    return bytes(data)


def assert_arrives(sock: ssl.SSLSocket, data: bytes) -> None:
    assert read_exactly(sock, len(data)) == data


def test_sending_raises_no_signal(connect: Connect) -> None:
    """Neither the handshake nor a request may raise SIGPIPE."""
    channel = connect(lambda peer: assert_arrives(peer, b"head" + bytes(100_000)))
    sock = SOCKETS[channel]
    assert sock.raises_no_signal
    sock.flags.clear()
    send(channel, b"head", bytes(100_000))
    assert sock.raises_no_signal


@pytest.mark.parametrize(
    "n_bytes",
    [0, 1, 14_000, RECORD_BYTES, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 3_000_001],
)
def test_a_request_arrives_as_it_is(connect: Connect, n_bytes: int) -> None:
    head, body = b"POST / HTTP/1.1\r\n\r\n", bytes(range(256)) * (n_bytes // 256 + 1)
    body = body[:n_bytes]
    arrived: list[bytes] = []
    channel = connect(lambda sock: arrived.append(read_exactly(sock, len(head) + n_bytes)))
    send(channel, head, body)
    deadline_s = time.monotonic() + PATIENCE_S
    while not arrived and time.monotonic() < deadline_s:
        time.sleep(0.001)
    assert arrived == [head + body]


def test_what_arrived_together_is_not_waited_for(connect: Connect) -> None:
    gone = threading.Event()

    def serve(sock: ssl.SSLSocket) -> None:
        sock.sendall(b"first")
        sock.sendall(b"second")
        gone.wait(PATIENCE_S)

    channel = connect(serve)
    arrived = b""
    while len(arrived) < len(b"firstsecond"):
        arrived += next_of(channel)
    assert arrived == b"firstsecond"
    assert not channel.has_unread
    with pytest.raises(BlockingIOError):
        channel.receive()
    gone.set()


def test_an_announced_end_is_final(connect: Connect) -> None:
    gone = threading.Event()

    def serve(sock: ssl.SSLSocket) -> None:
        sock.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            sock.unwrap()  # says so, and leaves the socket open
        gone.wait(PATIENCE_S)

    channel = connect(serve)
    try:
        assert next_of(channel) == b""
        assert channel.has_unread
        assert bytes(channel.receive()) == b""
    finally:
        gone.set()


def test_an_end_that_is_not_announced_is_an_error(connect: Connect) -> None:
    channel = connect(lambda sock: sock.shutdown(socket.SHUT_RDWR))
    with pytest.raises((ssl.SSLEOFError, ConnectionError)):
        next_of(channel)
    with pytest.raises((ssl.SSLEOFError, ConnectionError)):
        next_of(channel)


def test_a_peer_that_is_gone_is_an_error_of_the_connection(connect: Connect) -> None:
    channel = connect(lambda sock: sock.shutdown(socket.SHUT_RDWR))
    with pytest.raises((ConnectionError, ssl.SSLEOFError)):
        for _ in range(100):
            send(channel, b"head", bytes(100_000))


def test_memory_is_released(connect: Connect) -> None:
    gone = threading.Event()

    def serve(_: ssl.SSLSocket) -> None:
        gone.wait(PATIENCE_S)

    channel = connect(serve)
    body = bytearray(5_000_000)
    channel.queue(b"head", memoryview(body))
    with pytest.raises(BlockingIOError):
        while True:
            channel.push()
    channel.drop()
    body.clear()  # a BufferError if the channel still uses it
    gone.set()


def test_an_error_after_data_comes_after_it(connect: Connect) -> None:
    """What arrived before a record that cannot be decrypted is data all the same."""
    gone = threading.Event()

    def serve(sock: ssl.SSLSocket) -> None:
        sock.sendall(b"data")
        raw = socket.socket(fileno=os.dup(sock.fileno()))
        with raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        gone.wait(PATIENCE_S)

    channel = connect(serve)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        with pytest.raises(ssl.SSLError, match=r"(?i)bad|decrypt|mac"):
            arrived = b""
            while time.monotonic() < deadline_s:
                arrived += next_of(channel)
        assert arrived == b"data"
        assert not channel.has_unread
    finally:
        gone.set()


def test_an_end_that_is_not_announced_leaves_openssl_alone(connect: Connect) -> None:
    """OpenSSL would mark the session as one that cannot be resumed."""
    channel = connect(lambda sock: sock.shutdown(socket.SHUT_RDWR))
    for _ in range(2):
        with pytest.raises(ssl.SSLEOFError, match="without the closing message"):
            next_of(channel)
    assert not channel.has_unread
