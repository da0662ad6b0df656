"""The direct transport against a socket that does as it likes with connections and answers."""

import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import formatdate

import pytest
from chunks import output_config
from fake_transport import entries_answer
from raw_server import Arrived, RawServer, http
from scripted_server import Script, ScriptedServer, reset

from kinesis_fast import TransportError
from kinesis_fast.limits import MAX_ANSWER_BYTES
from kinesis_fast.transport import Response, pool
from kinesis_fast.transport.connection import UnansweredError
from kinesis_fast.transport.direct import DirectTransport
from kinesis_fast.transport.session import open_transport

BODY = b'{"Records":[{"Data":"eA==","PartitionKey":"p"}],"StreamName":"logs"}'
LARGE = b"x" * 12_000_000  # more than the buffers of both sides hold
ACCEPTED = entries_answer([None]).body
GOOD = http(200, ACCEPTED)


def direct(url: str) -> DirectTransport:
    transport = open_transport(output_config(endpoint=url, transport="direct"))
    assert isinstance(transport, DirectTransport)
    return transport


def post(transport: DirectTransport, body: bytes = BODY, timeout_s: float = 10.0) -> Response:
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
                if not server.read(sock):
                    return
                sock.sendall(answer)

        return script

    return make


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode() + body


KEPT = {
    "HTTP/1.1": GOOD,
    "HTTP/1.0, keep-alive": raw(
        "HTTP/1.0 200 OK",
        "Connection: keep-alive",
        f"Content-Length: {len(ACCEPTED)}",
        body=ACCEPTED,
    ),
    "chunked": raw(
        "HTTP/1.1 200 OK",
        "Transfer-Encoding: chunked",
        body=b"5\r\n"
        + ACCEPTED[:5]
        + b"\r\n%x;ext=1\r\n" % (len(ACCEPTED) - 5)
        + ACCEPTED[5:]
        + b"\r\n0\r\n\r\n",
    ),
    "after 100 Continue": raw("HTTP/1.1 100 Continue") + GOOD,
    "after 102 and 103": raw("HTTP/1.1 102 Wait") + raw("HTTP/1.1 103 Hints", "Link: <x>") + GOOD,
}
NOT_KEPT = {
    "close": raw(
        "HTTP/1.1 200 OK", "Connection: close", f"Content-Length: {len(ACCEPTED)}", body=ACCEPTED
    ),
    "HTTP/1.0": raw("HTTP/1.0 200 OK", f"Content-Length: {len(ACCEPTED)}", body=ACCEPTED),
    "pipelined junk": GOOD + b"junk",
    "two answers": GOOD + http(500),
}


@pytest.mark.parametrize("name", KEPT)
def test_answers_after_which_the_connection_is_kept(name: str) -> None:
    with serving(answering(*[KEPT[name]] * 3)) as (transport, server):
        for _ in range(3):
            response = post(transport)
            assert (response.status, response.body) == (200, ACCEPTED)
        assert server.n_connections == 1
        assert server.requests == [BODY] * 3


@pytest.mark.parametrize("name", NOT_KEPT)
def test_answers_after_which_it_is_not(name: str) -> None:
    with serving(answering(*[NOT_KEPT[name]] * 3)) as (transport, server):
        for _ in range(3):
            response = post(transport)
            assert (response.status, response.body) == (200, ACCEPTED)
        assert server.n_connections == 3


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    answer = raw("HTTP/1.1 200 OK", body=ACCEPTED * 10_000)
    with serving(answering(answer)) as (transport, server):
        for _ in range(2):
            assert post(transport).body == ACCEPTED * 10_000
        assert server.n_connections == 2


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    with serving(answering(*[raw(f"HTTP/1.1 {status} Nothing")] * 2)) as (transport, server):
        for _ in range(2):
            response = post(transport)
            assert (response.status, response.body) == (status, b"")
        assert server.n_connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with RawServer(lambda _: GOOD) as other:
        with serving(answering(http(status, b"", Location=other.url))) as (transport, _):
            response = post(transport)
            assert (response.status, response.headers["location"]) == (status, other.url)
        assert other.arrived == []


def test_headers_are_found_in_any_case() -> None:
    answer = raw("HTTP/1.1 400 Bad", "x-AmZn-ErrorType: A:", "X: 1", "x: 2", "Content-Length: 0")
    with serving(answering(answer)) as (transport, _):
        headers = post(transport).headers
    assert headers["X-AMZN-ErrorType"] == "A:"
    assert dict(headers) == {"x-amzn-errortype": "A:", "x": "1, 2", "content-length": "0"}
    assert "nothing" not in headers


@pytest.mark.parametrize(
    "answer",
    [
        http(200, ACCEPTED)[:-1],
        http(200, ACCEPTED)[:20],
        b"H",
        raw("HTTP/1.1 100 Continue"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\n{"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"1\r\n{\r\n"),
    ],
)
def test_half_an_answer_is_none(answer: bytes) -> None:
    with serving(answering(answer)) as (transport, server):
        with pytest.raises(TransportError, match=r"middle of the answer.*\(http.*check the netw"):
            post(transport)
        assert len(server.requests) == 1


GARBAGE = [
    b"\x00\x01\x02\x03" * 10,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"220 mail.example ESMTP\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"<html></html>\r\n\r\n",
    raw("HTTP/1.1 200 OK", "Content-Length: -1"),
    raw("HTTP/1.1 200 OK", "Content-Length: 99999999999999999999999"),
    raw("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3", body=b"{}}"),
    raw("HTTP/1.1 200 OK", "Content-Length: 2", "Transfer-Encoding: chunked", body=b"{}"),
    raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"zz\r\n"),
    raw("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: upgrade"),
]


@pytest.mark.parametrize("answer", GARBAGE)
def test_garbage(answer: bytes) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            sock.sendall(answer)
            server.released.wait(10)

        return script

    with serving(make) as (transport, server):
        with pytest.raises(TransportError, match="the answer is no HTTP/1"):
            post(transport)
        assert len(server.requests) == 1


FLOODS = {
    "length": (raw("HTTP/1.1 200 OK", f"Content-Length: {MAX_ANSWER_BYTES * 2}"), b"x" * 65536),
    "no length": (raw("HTTP/1.1 200 OK"), b"x" * 65536),
    "chunks": (raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 10_000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Name: value\r\n" * 100),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Name: ", b"v" * 4096),
    "interim answers": (b"", raw("HTTP/1.1 100 Continue") * 100),
}


@pytest.mark.parametrize("name", FLOODS)
def test_answers_without_end_are_cut_off(name: str) -> None:
    start, more = FLOODS[name]
    n_sent = 0

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            nonlocal n_sent
            server.read(sock)
            sock.sendall(start)
            while True:
                sock.sendall(more)
                n_sent += len(more)

        return script

    with (
        serving(make) as (transport, _),
        pytest.raises(TransportError, match=r"longer than \d+ bytes"),
    ):
        post(transport, timeout_s=20.0)
    assert n_sent < MAX_ANSWER_BYTES * 2


# --- connections that end ---


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_fresh_connection_without_an_answer(end: Callable[[socket.socket], None]) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            end(sock)

        return script

    with serving(make) as (transport, server):
        with pytest.raises(UnansweredError, match="connection lost before an answer"):
            post(transport)
        assert (server.n_connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_kept_connection_without_an_answer_is_replaced_once(
    end: Callable[[socket.socket], None],
) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            if number < 3:
                sock.sendall(GOOD)
                server.read(sock)
            end(sock)

        return script

    with serving(make) as (transport, server):
        assert post(transport, b"1").status == 200
        assert post(transport, b"2").status == 200
        assert server.requests == [b"1", b"2", b"2"]
        with pytest.raises(UnansweredError):
            post(transport, b"3")
        assert server.requests == [b"1", b"2", b"2", b"3", b"3"]
        assert server.n_connections == 3


def test_a_kept_connection_with_half_an_answer_is_not_replaced() -> None:
    with serving(answering(GOOD, GOOD[:-1])) as (transport, server):
        post(transport)
        with pytest.raises(TransportError, match="middle of the answer"):
            post(transport)
        assert (server.n_connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("last", [b"", b"HTTP/1.1 408 Time-out\r\nContent-Length: 0\r\n\r\n"])
def test_stale_connections_are_noticed_before_they_are_used(last: bytes) -> None:
    ended = threading.Event()

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            sock.sendall(GOOD)
            if number == 1:
                time.sleep(0.05)
                sock.sendall(last)
            else:
                server.read(sock)
            sock.close()
            ended.set()

        return script

    with serving(make) as (transport, server):
        post(transport, b"1")
        assert ended.wait(10)
        post(transport, b"2")
        assert server.requests == [b"1", b"2"]
        assert server.n_connections == 2


def test_connections_that_were_idle_for_long_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(*[GOOD] * 3)) as (transport, server):
        post(transport)
        post(transport)
        assert server.n_connections == 1
        monkeypatch.setattr(pool, "MAX_IDLE_S", 0.0)
        post(transport)
        assert server.n_connections == 2


def test_closing_closes_what_is_kept_and_what_is_in_use() -> None:
    closed = [threading.Event(), threading.Event()]
    go_on = threading.Event()
    together = threading.Barrier(2)

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            server.read(sock)
            together.wait(10)
            if number == 1:
                go_on.wait(10)
            sock.sendall(GOOD)
            if sock.recv(1) == b"":
                closed[number - 1].set()

        return script

    with serving(make) as (transport, server), ThreadPoolExecutor(2) as executor:
        late = executor.submit(post, transport, b"late")
        while not server.requests:
            time.sleep(0.001)
        assert executor.submit(post, transport, b"soon").result().status == 200
        transport.close()
        assert closed[1].wait(10)
        assert not closed[0].is_set()
        go_on.set()
        assert late.result().status == 200
        assert closed[0].wait(10)


# --- answers that come early ---


@pytest.mark.parametrize("end", ["open", "closed", "reset"])
def test_an_answer_before_the_request_is_out(end: str) -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            sock.recv(1000)
            sock.sendall(http(413, b"too much", Connection="close"))
            if end == "open":
                server.released.wait(10)
            elif end == "closed":
                time.sleep(0.1)
                sock.shutdown(socket.SHUT_WR)
                server.released.wait(10)
            else:
                time.sleep(0.1)
                reset(sock)

        return script

    with serving(make) as (transport, server):
        for n_connections in (1, 2):
            started = time.monotonic()
            response = post(transport, LARGE)
            assert (response.status, response.body) == (413, b"too much")
            assert time.monotonic() - started < 5
            assert server.n_connections == n_connections


def test_an_early_answer_that_would_keep_the_connection_does_not() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            if number == 1:
                sock.recv(1000)
                sock.sendall(http(413))
                server.released.wait(10)
            elif server.read(sock):
                sock.sendall(GOOD)

        return script

    with serving(make) as (transport, server):
        assert post(transport, LARGE).status == 413
        assert post(transport).status == 200
        assert server.n_connections == 2


def test_an_interim_answer_does_not_end_the_sending() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            sock.sendall(raw("HTTP/1.1 100 Continue"))
            time.sleep(0.1)
            server.read(sock)
            sock.sendall(GOOD)

        return script

    with serving(make) as (transport, server):
        assert post(transport, LARGE).status == 200
        assert server.requests == [LARGE]


# --- time ---


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

    monkeypatch.setattr("kinesis_fast.transport.connection.SLOWEST_BYTES_PER_S", 100_000_000)
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


# --- the clock ---


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


@pytest.mark.parametrize("date", [time.time(), time.time() + 200, None, "nonsense"])
def test_a_wrong_signature_is_no_wrong_clock(date: float | str | None) -> None:
    headers = {}
    if date is not None:
        headers["Date"] = date if isinstance(date, str) else formatdate(date, usegmt=True)
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


# --- threads, memory, secrets ---


def test_a_connection_for_each_request_under_way() -> None:
    together = threading.Barrier(4)

    def handler(arrived: Arrived) -> bytes:
        if arrived.body.startswith(b"together"):
            together.wait(10)
        return http(200, arrived.body[::-1])

    with RawServer(handler) as server:
        transport = direct(server.url)
        bodies = [b"together %d" % i for i in range(4)] + [
            b"%d " % i * (i * 997) or b"-" for i in range(200)
        ]
        with ThreadPoolExecutor(4) as executor:
            answers = list(executor.map(lambda body: post(transport, body).body, bodies))
        assert answers == [body[::-1] for body in bodies]
        assert {arrived.connection for arrived in server.arrived} == {1, 2, 3, 4}
        for _ in range(3):
            post(transport)
        assert len({arrived.connection for arrived in server.arrived[-3:]}) == 1
        transport.close()


def test_the_body_is_not_copied() -> None:
    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            for _ in range(2):
                _drain(sock, len(LARGE))
                sock.sendall(GOOD)

        return script

    with serving(make) as (transport, _):
        post(transport, LARGE)
        tracemalloc.start()
        post(transport, LARGE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000


def _drain(sock: socket.socket, n_bytes: int) -> None:
    """Read a request with a body of n_bytes in little memory; the head comes in one piece."""
    buffer = bytearray(65536)
    n_read = sock.recv_into(buffer)
    n_read -= buffer.index(b"\r\n\r\n") + 4
    while n_read < n_bytes:
        n_read += sock.recv_into(buffer)


def test_errors_and_reprs_tell_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "open-sesame")
    with serving(answering(b"junk")) as (_, server):
        transport = direct(server.url.replace("//", "//me:sesame@"))
        with pytest.raises(TransportError) as caught:
            post(transport)
        texts = [repr(transport), repr(transport._way), repr(vars(transport))]
        texts += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
        transport.close()
    assert not re.search("sesame", " ".join(texts))
