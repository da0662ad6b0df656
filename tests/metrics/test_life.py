"""When metrics are served, where, and when no more."""

from __future__ import annotations

import gc
import logging
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_transport import FakeTransport
from loopback_settings import program_environment
from outputs import eventually, new_output, numbered
from scraping import free_port, samples_of, scrape, shown, value, values

from kinesis_fast import ConfigError, FlushResult, KinesisOutput
from kinesis_fast.metrics import services
from kinesis_fast.metrics.endpoint import Endpoint
from kinesis_fast.metrics.process import this_process


def listening(port: int, **options: str) -> KinesisOutput:
    """Return an output that is scraped at a port."""
    return new_output(FakeTransport(), metrics_listen=str(port), **options)


def is_open(port: int) -> bool:
    """Tell whether something listens at a port."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines that are errors."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A server that has taken its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_scrape_in_openmetrics(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    with listening(port) as output:
        assert output.flush(numbered([1, 2])) is FlushResult.OK
        scraped = scrape(port)
        assert scraped.content_type.startswith("application/openmetrics-text; version=1.0.0")
        assert value(scraped.samples, "records_in_total", output="0", stream="logs") == 2
        text = scrape(port, accept="*/*")
        assert text.content_type.startswith("text/plain; version=")
        assert samples_of(text.body.decode(), is_openmetrics=False) == scraped.samples
    assert not is_open(port)
    assert f"metrics are served at http://127.0.0.1:{port}/metrics" in caplog.messages


def test_outputs_share_an_endpoint() -> None:
    port = free_port()
    first, second = listening(port), listening(port, stream="others")
    for output in (first, first, second):
        assert output.flush(numbered([1])) is FlushResult.OK
    assert values(scrape(port).samples, "records_in_total", "stream") == {"logs": 2, "others": 1}
    still_known = shown(first)
    first.close()
    assert still_known.stats()["in"] == 2
    assert values(scrape(port).samples, "records_in_total", "stream") == {"others": 1}
    second.close()
    second.close()
    assert not is_open(port)


def test_each_address_serves_all_outputs() -> None:
    ports = [free_port(), free_port()]
    outputs = [listening(port) for port in ports]
    for port in ports:
        assert sorted(values(scrape(port).samples, "requests_total", "output")) == ["0", "1"]
    outputs[0].close()
    assert not is_open(ports[0])
    assert sorted(values(scrape(ports[1]).samples, "requests_total", "output")) == ["1"]
    outputs[1].close()


def test_a_reload_serves_again() -> None:
    port = free_port()
    for _ in range(3):
        with listening(port) as output:
            assert output.flush(numbered([1])) is FlushResult.OK
            assert value(scrape(port).samples, "records_in_total") == 1
        assert not is_open(port)


def test_a_reload_that_starts_the_new_output_first() -> None:
    port = free_port()
    old = listening(port)
    for _ in range(3):
        new = listening(port)
        old.close()
        assert value(scrape(port).samples, "records_in_total") == 0
        old = new
    old.close()
    assert not is_open(port)


def test_a_taken_port_is_one_line_and_tried_again(
    taken: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tries = []

    class Counted(Endpoint):
        def __init__(self, *arguments: Any) -> None:
            tries.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(services, "LISTEN_AGAIN_S", 0.01)
    monkeypatch.setattr(services, "Endpoint", Counted)
    port = taken.getsockname()[1]
    with listening(port) as output, listening(port):
        assert output.flush(numbered([1])) is FlushResult.OK
        eventually(lambda: len(tries) >= 4)
        assert errors(caplog) == [
            f"cannot serve metrics at 127.0.0.1:{port}: Address already in use; the output goes on "
            "without, and tries again every 0 seconds, without a further line until it succeeds"
        ]
        taken.close()
        eventually(lambda: "metrics are served" in caplog.text)
        assert value(scrape(port).samples, "records_in_total", output="0") == 1
    assert not is_open(port)
    assert len(errors(caplog)) == 1


def test_an_output_may_end_while_its_port_is_taken(taken: socket.socket) -> None:
    with listening(taken.getsockname()[1]) as output:
        assert output.flush(numbered([1])) is FlushResult.OK


def test_an_address_of_another_machine(caplog: pytest.LogCaptureFixture) -> None:
    with new_output(FakeTransport(), metrics_listen="192.0.2.1:9402") as output:
        assert output.flush(numbered([1])) is FlushResult.OK
    (line,) = errors(caplog)
    assert line.startswith("cannot serve metrics at 192.0.2.1:9402: Cannot assign requested addr")


def test_an_output_that_is_dropped_is_shown_no_more() -> None:
    port = free_port()
    with listening(port):
        dropped = listening(port, stream="dropped")
        assert "dropped" in scrape(port).body.decode()
        gone = weakref.ref(dropped)
        del dropped
        gc.collect()
        assert gone() is None
        assert "dropped" not in scrape(port).body.decode()
    for shared in this_process()._shared.values():  # that of the dropped output
        shared.service.end()
    this_process()._shared.clear()


def test_an_output_that_cannot_be_opened_listens_nowhere(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "spool").write_text("no directory")
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
    with pytest.raises(Exception, match="spool"):
        listening(port, **options)
    assert not is_open(port)


@pytest.mark.parametrize("name", ["metrics_listen", "metrics_file"])
def test_a_missing_package_is_an_error_that_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError) as caught:
        new_output(FakeTransport(), **{name: "/x" if name == "metrics_file" else "9402"})
    assert str(caught.value).startswith(f"option {name} needs the package prometheus_client, ")
    assert str(caught.value).endswith(
        "; install it for this Python: pip install 'kinesis-fast[metrics]'"
    )


@pytest.mark.parametrize(
    ("options", "imported"),
    [
        ({}, []),
        ({"stats_interval": "3600"}, ["kinesis_fast.metrics"]),
        ({"metrics_listen": "9402"}, ["kinesis_fast.metrics", "prometheus_client"]),
    ],
)
def test_what_is_not_wanted_is_not_imported(options: dict[str, str], imported: list[str]) -> None:
    program = f"""
import sys
from chunks import output_config
from fake_transport import FakeTransport
from outputs import numbered
from kinesis_fast import KinesisOutput
with KinesisOutput(output_config({options}), FakeTransport()) as output:
    output.flush(numbered([1]))
print([name for name in ("kinesis_fast.metrics", "prometheus_client") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=program_environment(),
    )
    assert done.stdout == f"{imported}\n"


def test_a_scrape_waits_for_no_delivery() -> None:
    """A scrape reads counters while the locks of a delivery are held."""
    port = free_port()
    with listening(port) as output:
        parts = output._parts
        assert parts
        context, meter = parts.context, shown(output).meter
        with context.concurrency._lock, context.resume._lock, meter._lock, output._changed:
            assert scrape(port).status == 200


def test_many_scrapes_during_flushes() -> None:
    port = free_port()
    is_over = threading.Event()
    seen: list[float] = []

    def look() -> None:
        while not is_over.is_set():
            seen.append(value(scrape(port).samples, "records_in_total"))

    with listening(port) as output:
        thread = threading.Thread(target=look)
        thread.start()
        for number in range(30):
            assert output.flush(numbered(range(number * 10))) is FlushResult.OK
        is_over.set()
        thread.join()
    assert seen == sorted(seen)
    assert seen[-1] <= sum(number * 10 for number in range(30))
