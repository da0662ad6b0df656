"""What the direct transport decides: to send again, to set its clock, to renew credentials."""

import random
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials
from chunks import output_config
from direct import ACCEPTED, BODY, GOOD, direct, post, raw, responding, serving
from raw_server import Arrived, RawServer, http
from scripted_server import Script, ScriptedServer, reset

from kinesis_fast import TransportError
from kinesis_fast.transport import NotSentError
from kinesis_fast.transport.client import make_client
from kinesis_fast.transport.direct.connection import NoResponseError
from kinesis_fast.transport.direct.transport import DirectTransport, Source


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_kept_connection_without_a_response_is_replaced_once(
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
        response = post(transport, b"2")
        assert (response.status, response.n_sent) == (200, 2)
        assert server.requests == [b"1", b"2", b"2"]
        with pytest.raises(NoResponseError) as caught:
            post(transport, b"3")
        assert caught.value.n_sent == 2
        assert server.requests == [b"1", b"2", b"2", b"3", b"3"]
        assert server.n_connections == 3


@pytest.mark.heavy
def test_responses_belong_to_their_requests_whatever_connections_do() -> None:
    chance = random.Random(7)

    def echo(body: bytes) -> tuple[bytes, bool]:
        """Return some bytes for a request, and whether the connection goes on."""
        response = http(200, body[::-1])
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body[::-1])
        return chance.choice(
            [
                (response, True),
                (raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked), True),
                (raw("HTTP/1.1 100 Continue") + response, True),
                (response, False),
                (response + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", True),
                (response[: chance.randrange(len(response))], False),
                (b"", False),
                (b"junk", True),
            ]
        )

    def make(server: ScriptedServer) -> Script:
        def script(sock: socket.socket, number: int) -> None:
            goes_on = True
            while goes_on and (body := server.read(sock)) is not None:
                response, goes_on = echo(body)
                sock.sendall(response)
            if number % 3 == 0:
                reset(sock)

        return script

    def reversed_by(transport: DirectTransport, body: bytes) -> bool:
        try:
            return post(transport, body, 20.0).body == body[::-1]
        except TransportError as error:
            return "the response" in str(error) or "before a response" in str(error)

    with serving(make) as (transport, server), ThreadPoolExecutor(4) as executor:
        bodies = [b"%d " % n * chance.randrange(1, 3000) for n in range(400)]
        assert all(executor.map(lambda body: reversed_by(transport, body), bodies))
        assert set(server.requests) == set(bodies)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with RawServer(lambda _: GOOD) as other:
        with serving(responding(http(status, b"", Location=other.url))) as (transport, _):
            response = post(transport)
            assert (response.status, response.headers["location"]) == (status, other.url)
        assert other.arrived == []


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
        assert post(transport).n_sent == 2
        assert len(arrived) == 2
        response = post(transport)
        assert (response.status, response.n_sent) == (200, 1)
        assert len(arrived) == 3
        transport.close()


@pytest.mark.parametrize("ahead", [0, 200, None, "nonsense"])
def test_a_wrong_signature_is_not_a_wrong_clock(ahead: int | str | None) -> None:
    headers = {}
    if isinstance(ahead, int):
        headers["Date"] = formatdate(time.time() + ahead, usegmt=True)
    elif ahead is not None:
        headers["Date"] = ahead
    response = http(400, b'{"__type":"InvalidSignatureException"}', **headers)
    with RawServer(lambda _: response) as server:
        transport = direct(server.url)
        assert post(transport).status == 400
        assert len(server.arrived) == 1
        transport.close()


def test_what_went_out_is_counted_when_there_is_no_response() -> None:
    """One request is refused for its time, and the next connection ends without a response."""

    def handler(request: Arrived) -> bytes | None:
        if len(server.arrived) > 1:
            return None
        date = formatdate(time.time() + 1000, usegmt=True)
        return http(400, b'{"__type":"RequestExpired"}', Date=date, Connection="close")

    with RawServer(handler) as server:
        transport = direct(server.url)
        with pytest.raises(NoResponseError) as caught:
            post(transport)
        assert (caught.value.n_sent, len(server.arrived)) == (2, 2)
        transport.close()
    with pytest.raises(TransportError) as refused:
        post(transport)
    assert refused.value.n_sent == 1


def test_a_hostile_date() -> None:
    response = http(400, b'{"__type":"RequestExpired"}', Date="Mon, 9" + "9 " * 20_000)
    with RawServer(lambda _: response) as server:
        transport = direct(server.url)
        assert post(transport).status == 400
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


class Rotating:
    """Credentials of one account first, of another then."""

    def __init__(self) -> None:
        self.account_id = "111111111111"

    def get_frozen_credentials(self) -> Any:
        return ReadOnlyCredentials(f"KEY{self.account_id}", "s", None, self.account_id)


def test_credentials_of_another_account() -> None:
    if "account_id" not in ReadOnlyCredentials._fields:
        pytest.skip("this botocore knows no account ids")
    credentials = Rotating()
    made = []
    with RawServer(lambda _: GOOD) as server:

        def source() -> Source:
            made.append(credentials.account_id)
            config = output_config(endpoint=server.url)
            return Source(make_client(config), credentials, "")

        transport = DirectTransport(source, "logs")
        for account_id in ("111111111111", "111111111111", "222222222222", "222222222222"):
            credentials.account_id = account_id
            assert transport.send(memoryview(BODY), 1, 10.0).status == 200
        assert made == ["111111111111", "222222222222"]
        assert {arrived.connection for arrived in server.arrived} == {1}
        transport.close()


def test_an_endpoint_that_needs_botocore_later() -> None:
    """Only a plug-in could do that; then each request fails with the reason."""

    def source() -> Source:
        config = output_config(endpoint="http://h.example/a%2fb")
        return Source(make_client(config), Credentials("A", "s"), "")

    with pytest.raises(NotSentError, match="unusual characters; set the option transport to bot"):
        DirectTransport(source, "logs").send(memoryview(BODY), 1, 1.0)


def test_errors_and_reprs_show_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "open-sesame")
    with serving(responding(b"junk")) as (_, server):
        transport = direct(server.url.replace("//", "//me:sesame@"))
        with pytest.raises(TransportError) as caught:
            post(transport)
        texts = [repr(transport), repr(transport._context), repr(vars(transport))]
        texts += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
        transport.close()
    assert not re.search("sesame", " ".join(texts))
