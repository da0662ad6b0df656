"""A direct transport, and servers that do with it what a test says."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chunks import output_config
from fake_transport import entries_answer
from raw_server import http
from scripted_server import Script, ScriptedServer

from kinesis_fast.transport import Response
from kinesis_fast.transport.client import open_transport
from kinesis_fast.transport.direct.transport import DirectTransport

BODY = b'{"Records":[{"Data":"eA==","PartitionKey":"p"}],"StreamName":"logs"}'
LARGE = b"x" * 12_000_000  # more than the buffers of both sides hold
ACCEPTED = entries_answer([None]).body
GOOD = http(200, ACCEPTED)


def direct(url: str) -> DirectTransport:
    """Return a direct transport to a URL."""
    transport = open_transport(output_config(endpoint=url, transport="direct"))
    assert isinstance(transport, DirectTransport)
    return transport


def post(transport: DirectTransport, body: bytes = BODY, timeout_s: float = 10.0) -> Response:
    """Send a body and return the answer."""
    return transport.send(memoryview(body), 1, timeout_s)


@contextmanager
def serving(
    make_script: Callable[[ScriptedServer], Script],
) -> Iterator[tuple[DirectTransport, ScriptedServer]]:
    """Run a server with the script that `make_script` makes for it, and a transport to it."""

    def script(sock: socket.socket, number: int) -> None:
        make_script(server)(sock, number)

    server = ScriptedServer(script)
    with server:
        transport = direct(server.url)
        try:
            yield transport, server
        finally:
            transport.close()


def answering(*answers: bytes) -> Callable[[ScriptedServer], Script]:
    """Each request on a connection gets the next answer; after the last the connection ends."""

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            for answer in answers:
                if server.read(sock) is None:
                    return
                sock.sendall(answer)

        return script

    return make


def raw(*lines: str, body: bytes = b"") -> bytes:
    """Return the bytes of an answer, its first lines as they are."""
    return "\r\n".join([*lines, "", ""]).encode() + body
