"""The channel without TLS."""

import socket
from collections.abc import Iterator

import pytest
from direct import RecordingSocket

from kinesis_fast.transport.direct.plain import PlainChannel


def test_sending_raises_no_signal() -> None:
    ours, theirs = socket.socketpair()
    recording = RecordingSocket(ours.detach())
    channel = PlainChannel(recording)
    with theirs:
        channel.queue(b"head", memoryview(b"body"))
        assert not channel.push()
        assert recording.raises_no_signal
    channel.close()


@pytest.fixture
def ends() -> Iterator[tuple[PlainChannel, socket.socket]]:
    """Return a channel and the peer's socket."""
    ours, theirs = socket.socketpair()
    channel = PlainChannel(ours)
    with theirs:
        theirs.settimeout(10)
        yield channel, theirs
        channel.close()


def test_what_the_socket_does_not_take_at_once_follows(
    ends: tuple[PlainChannel, socket.socket],
) -> None:
    channel, peer = ends
    body = bytes(range(256)) * 20_000
    channel.queue(b"head", memoryview(body))
    arrived = bytearray()
    n_pushes, has_more = 0, True
    while has_more:
        has_more = channel.push()
        n_pushes += 1
        arrived += peer.recv(1 << 20)
    while len(arrived) < len(body) + 4:
        arrived += peer.recv(1 << 20)
    assert arrived == b"head" + body
    assert n_pushes > 1


def test_memory_is_released(ends: tuple[PlainChannel, socket.socket]) -> None:
    channel, _ = ends
    body = bytearray(5_000_000)
    channel.queue(b"head", memoryview(body))
    assert channel.push()
    channel.drop()
    body.clear()  # a BufferError if the channel still uses it


def test_receiving(ends: tuple[PlainChannel, socket.socket]) -> None:
    channel, peer = ends
    with pytest.raises(BlockingIOError):
        channel.receive()
    peer.sendall(b"response")
    assert bytes(channel.receive()) == b"response"
    peer.shutdown(socket.SHUT_WR)
    assert bytes(channel.receive()) == b""
