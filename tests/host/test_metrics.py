"""Metrics inside a host: options are texts, and the endpoint ends with the last output."""

from __future__ import annotations

import socket

import pytest
from chunks import chunk_of
from local_stream import LocalStream
from plugin_host import SANITIZED, PluginHost, assert_clean_end, assert_ok
from scraping import free_port, scrape, value, values

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer knows no other libraries")


def is_open(port: int) -> bool:
    """Tell whether something listens at a port."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_reloads(host: PluginHost, stream: LocalStream) -> None:
    port = free_port()
    options = {**stream.target, "Metrics_Listen": str(port), "stats_interval": ""}
    signals = host.signals()
    n_threads = []
    for number in range(3):
        name = f"output {number}"
        assert host.init(name, options) == 1
        assert_ok(host.flush(name, chunk_of([{"n": 1}])))
        samples = scrape(port).samples
        assert value(samples, "records_total", outcome="delivered", output=str(number)) == 1
        assert host.signals() == signals
        assert host.exit(name) == 1
        assert not is_open(port)
        n_threads.append(host.n_threads())
    assert max(n_threads) <= n_threads[0] + 1  # a late thread may have caused a new one
    assert_clean_end(host)


def test_two_outputs_and_a_taken_port(host: PluginHost, stream: LocalStream) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert host.init("a", {**stream.target, "metrics_listen": f"127.0.0.1:{port}"}) == 1
        assert host.init("b", {**stream.target, "metrics_listen": str(number)}) == 1
        for name in ("a", "b"):
            assert_ok(host.flush(name, chunk_of([{"n": 1}])))
        assert sorted(values(scrape(port).samples, "requests_total", "output")) == ["0", "1"]
        assert host.exit("a") == 1
        assert not is_open(port)
    (line,) = host.log("error")
    assert line.text.startswith(f"cannot serve metrics at 127.0.0.1:{number}: Address already in")
    assert line.number == 1
    assert host.exit("b") == 1
    assert host.quit() == 0
