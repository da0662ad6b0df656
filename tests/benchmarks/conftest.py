"""Sinks, started as the benchmarks start them."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing

import counting_sink
import pytest
from counting_sink import Certificate, CountingSink
from sink_client import Client, Connect


@pytest.fixture(scope="session", autouse=True)
def _compiler() -> None:
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        pytest.skip("no C compiler on PATH: the sink cannot be built")


@pytest.fixture(scope="session")
def loopback_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for HTTPS."""
    obstacle = counting_sink.tls_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    return counting_sink.make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest) -> Certificate | None:
    """The certificate of an HTTPS sink; None for plain HTTP."""
    if request.param == "http":
        return None
    made: Certificate = request.getfixturevalue("loopback_certificate")
    return made


@pytest.fixture
def sink(tls: Certificate | None) -> Iterator[CountingSink]:
    """A running sink without latency."""
    with CountingSink(tls) as running:
        yield running


@pytest.fixture
def connect(tls: Certificate | None) -> Iterator[Connect]:
    """Opens connections to a sink, closed with the test."""
    with ExitStack() as opened:

        def connect_to(sink: CountingSink) -> Client:
            connected = socket.create_connection(("127.0.0.1", sink.port), timeout=10)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                trust = ssl.create_default_context(cafile=tls.certificate)
                connected = trust.wrap_socket(connected, server_hostname="127.0.0.1")
            return opened.enter_context(closing(Client(connected)))

        yield connect_to
