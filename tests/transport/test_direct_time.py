"""How long the direct transport waits, and what time it thinks it is."""

import socket
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from direct import ACCEPTED, GOOD, LARGE, direct, post, raw, serving
from raw_server import Arrived, RawServer, http
from scripted_server import Script, ScriptedServer

from kinesis_fast import TransportError


def test_no_answer_in_time() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            server.released.wait(10)

        return script

    with serving(make) as (transport, _):
        started = time.monotonic()
        with pytest.raises(TransportError, match=r"no complete answer in time.*check the network"):
            post(transport, timeout_s=0.2)
        assert 0.19 < time.monotonic() - started < 5


@pytest.mark.parametrize("answer", [GOOD, raw("HTTP/1.1 200 OK"), b"HTTP/1.1 100 Continue\r\n"])
def test_an_answer_that_drips(answer: bytes) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            for at in range(10_000):
                sock.sendall(answer[at : at + 1] or b"x")
                time.sleep(0.05)

        return script

    with serving(make) as (transport, _):
        started = time.monotonic()
        with pytest.raises(TransportError, match="no complete answer in time"):
            post(transport, timeout_s=0.4)
        assert 0.35 < time.monotonic() - started < 5


def test_nobody_takes_the_request() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.released.wait(10)

        return script

    with serving(make) as (transport, _):
        started = time.monotonic()
        with pytest.raises(TransportError, match="the request could not be sent in time"):
            post(transport, LARGE, timeout_s=0.2)
        assert 0.19 < time.monotonic() - started < 5


def test_a_request_that_is_taken_slowly_may_take_longer_than_one_wait() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            for _ in range(10):
                sock.recv(100_000)
                time.sleep(0.1)
            sock.sendall(http(413))
            server.released.wait(10)

        return script

    with serving(make) as (transport, _):
        assert post(transport, LARGE, timeout_s=0.7).status == 413


def test_a_request_that_drips_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            while sock.recv(200_000):
                time.sleep(0.05)

        return script

    monkeypatch.setattr("kinesis_fast.transport.direct.connection.SLOWEST_BYTES_PER_S", 100_000_000)
    with serving(make) as (transport, _):
        started = time.monotonic()
        with pytest.raises(TransportError, match="the request could not be sent in time"):
            post(transport, LARGE, timeout_s=0.5)
        assert time.monotonic() - started < 2


def test_connecting_takes_its_time() -> None:
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


def skewed(code: str, ahead_s: float) -> tuple[list[Arrived], Callable[[Arrived], bytes]]:
    """Return what arrived and a service that refuses times that are not its own."""
    arrived: list[Arrived] = []

    def handler(request: Arrived) -> bytes:
        arrived.append(request)
        now_s = time.time() + ahead_s
        told_s = time.mktime(time.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        told_s -= time.timezone
        date = {"Date": formatdate(now_s, usegmt=True)}
        if abs(told_s - now_s) < 60:
            return http(200, ACCEPTED, **date)
        return http(400, f'{{"__type":"{code}"}}'.encode(), **date)

    return arrived, handler


@pytest.mark.parametrize("ahead_s", [-7200.0, -300.0, 300.0, 400_000.0])
@pytest.mark.parametrize(
    "code",
    [
        *("RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch"),
        "RequestExpired",
    ],
)
def test_the_services_clock_is_adopted(code: str, ahead_s: float) -> None:
    arrived, handler = skewed(code, ahead_s)
    with RawServer(handler) as server:
        transport = direct(server.url)
        assert post(transport).status == 200
        assert len(arrived) == 2
        assert post(transport).status == 200
        assert len(arrived) == 3
        transport.close()


@pytest.mark.parametrize("ahead", [0, 200, None, "nonsense"])
def test_a_wrong_signature_is_no_wrong_clock(ahead: int | str | None) -> None:
    headers = {}
    if isinstance(ahead, int):
        headers["Date"] = formatdate(time.time() + ahead, usegmt=True)
    elif ahead is not None:
        headers["Date"] = ahead
    answer = http(400, b'{"__type":"InvalidSignatureException"}', **headers)
    with RawServer(lambda _: answer) as server:
        transport = direct(server.url)
        assert post(transport).status == 400
        assert len(server.arrived) == 1
        transport.close()


def test_the_clock_is_set_once_for_a_request() -> None:
    dates = iter(range(0, 10_000_000, 100_000))

    def handler(_: Arrived) -> bytes:
        date = formatdate(time.time() + next(dates) + 1000, usegmt=True)
        return http(400, b'{"__type":"RequestTimeTooSkewed"}', Date=date)

    with RawServer(handler) as server:
        transport = direct(server.url)
        assert post(transport).status == 400
        assert len(server.arrived) == 2
        transport.close()
