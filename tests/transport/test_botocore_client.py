"""What the botocore transport alone does, or does in its own way."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.httpsession import URLLib3Session
from chunks import output_config
from direct import BODY, Service
from raw_server import RawServer, http

from kinesis_fast import TransportError
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.client import make_client, open_transport
from kinesis_fast.transport.direct.transport import DirectTransport


@pytest.fixture
def transport(server: RawServer) -> Iterator[DirectTransport | BotocoreTransport]:
    transport = open_transport(output_config(endpoint=server.url, transport="botocore"))
    yield transport
    transport.close()


@pytest.mark.skipif(
    not hasattr(URLLib3Session, "_get_request_timeout"),
    reason="this botocore has no time-out per request",
)
def test_no_response_in_time(
    transport: DirectTransport | BotocoreTransport, service: Service
) -> None:
    service.delay_s = 20.0
    started = time.monotonic()
    with pytest.raises(TransportError, match="ReadTimeoutError"):
        transport.send(memoryview(BODY), 1, 0.05)
    assert time.monotonic() - started < 10
    service.hurry.set()


def test_the_time_out_of_the_configuration(server: RawServer, service: Service) -> None:
    service.delay_s = 20.0
    transport = open_transport(
        output_config(endpoint=server.url, http_request_timeout="1", transport="botocore")
    )
    started = time.monotonic()
    with pytest.raises(TransportError, match="ReadTimeoutError"):
        transport.send(memoryview(BODY), 1, None)
    assert 0.9 < time.monotonic() - started < 10
    service.hurry.set()
    transport.close()


def test_several_threads_do_not_mix_up_their_requests(server: RawServer) -> None:
    server._handler = lambda arrived: http(200, arrived.body[::-1])
    together = threading.Barrier(2)
    config = output_config(endpoint=server.url, transport="botocore")

    def wait(**_: object) -> None:
        together.wait(10)  # until both threads are in the middle of a call

    def client() -> Any:
        client = make_client(config)
        for moment in ("provide-client-params", "after-call"):
            client.meta.events.register(f"{moment}.kinesis.PutRecords", wait)
        return client

    transport = BotocoreTransport(client, config.stream)
    bodies = [b"body %d " % i * (i + 1) for i in range(20)]
    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(lambda body: transport.send(memoryview(body), 1, 5.0), bodies))
    assert [response.body for response in responses] == [body[::-1] for body in bodies]
    assert sorted(arrived.body for arrived in server.arrived) == sorted(bodies)
    assert {arrived.connection for arrived in server.arrived} == {1, 2}
    transport.close()


def test_the_environments_proxy_is_used(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    transport = open_transport(
        output_config(endpoint="http://kinesis.example.invalid:81", transport="botocore")
    )
    assert transport.send(memoryview(BODY), 1, None).status == 200
    assert server.arrived[0].line == "POST http://kinesis.example.invalid:81/ HTTP/1.1"
    transport.close()
