"""Opening a connection: addresses, and how long it may take."""

import socket
import time

import pytest
from direct import GOOD, direct, post
from raw_server import RawServer

from kinesis_fast import TransportError


def test_connecting_times_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        where = listener.getsockname()
        waiting = [
            socket.socket() for _ in range(3)
        ]  # the queue is full, further calls are ignored
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(where)
        transport = direct(f"http://127.0.0.1:{where[1]}")
        started = time.monotonic()
        with pytest.raises(TransportError, match=r"TimeoutError.*check the network"):
            post(transport, timeout_s=0.3)
        assert 0.25 < time.monotonic() - started < 5
        for sock in waiting:
            sock.close()


def test_all_addresses_of_a_host_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(lambda _: GOOD) as server, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        port = int(server.url.rpartition(":")[2])
        stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        found = [(*stream, dead.getsockname()), (*stream, ("127.0.0.1", port))]
        transport = direct(f"http://service.invalid:{port}")
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            assert post(transport).status == 200
        transport.close()
        assert server.arrived[0].headers["host"] == f"service.invalid:{port}"


def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    transport = direct("http://service.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransportError, match=r"gaierror.*service.invalid.*region and endpoint"):
        post(transport)
