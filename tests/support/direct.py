"""A direct transport, and servers whose behaviour a test decides."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chunks import output_config
from fake_transport import entries_answer
from raw_server import Arrived, http
from scripted_server import Script, ScriptedServer

from kinesis_fast.transport import Response
from kinesis_fast.transport.client import open_transport
from kinesis_fast.transport.direct.transport import DirectTransport

BODY = b'{"Records":[{"Data":"eA==","PartitionKey":"p"}],"StreamName":"logs"}'
LARGE = b"x" * 12_000_000  # more than the buffers of both sides hold
ACCEPTED = entries_answer([None]).body
GOOD = http(200, ACCEPTED)


class RecordingSocket(socket.socket):
    """A socket that records the flags of each call that sends."""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self.flags: list[int] = []

    def send(self, data: Any, flags: int = 0, /) -> int:
        self.flags.append(flags)
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.flags.append(flags)
        super().sendall(data, flags)

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, *rest: Any) -> int:
        self.flags.append(flags)
        return super().sendmsg(buffers, ancdata, flags, *rest)

    @property
    def raises_no_signal(self) -> bool:
        """Whether it has sent, and never without MSG_NOSIGNAL."""
        return bool(self.flags) and all(flags & socket.MSG_NOSIGNAL for flags in self.flags)


class Service:
    """Responds to every request with `response`; None closes the connection instead."""

    def __init__(self) -> None:
        self.response: bytes | None = http(200, ACCEPTED)
        self.delay_s = 0.0
        self.hurry = threading.Event()

    def __call__(self, arrived: Arrived) -> bytes | None:
        self.hurry.wait(self.delay_s)
        return self.response


def direct(url: str, **options: str) -> DirectTransport:
    """Return a direct transport to a URL."""
    transport = open_transport(output_config(options, endpoint=url, transport="direct"))
    assert isinstance(transport, DirectTransport)
    return transport


def post(transport: DirectTransport, body: bytes = BODY, timeout_s: float = 10.0) -> Response:
    """Send a body and return the response."""
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


def responding(*responses: bytes) -> Callable[[ScriptedServer], Script]:
    """Give each request on a connection the next response; close it after the last."""

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            for response in responses:
                if server.read(sock) is None:
                    return
                sock.sendall(response)

        return script

    return make


def raw(*lines: str, body: bytes = b"") -> bytes:
    """Return the bytes of a response, its first lines as they are."""
    return "\r\n".join([*lines, "", ""]).encode() + body
