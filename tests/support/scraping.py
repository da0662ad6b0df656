"""Scrapes metrics as Prometheus does, and finds samples in them."""

from __future__ import annotations

import http.client
import socket
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from kinesis_fast import KinesisOutput
from kinesis_fast.metrics.families import Collector
from kinesis_fast.metrics.shown import Registry, ShownOutput

OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0"
PATIENCE_S: Final = 10.0

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scraped(NamedTuple):
    """A response of the endpoint."""

    status: int
    content_type: str
    body: bytes

    @property
    def samples(self) -> Samples:
        """The samples in OpenMetrics; it has to be valid."""
        return samples_of(self.body.decode())


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def scrape(
    port: int, path: str = "/metrics", *, method: str = "GET", accept: str = OPENMETRICS
) -> Scraped:
    """Request a page of an endpoint on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, headers={"Accept": accept})
        response = connection.getresponse()
        content_type = response.getheader("Content-Type", "")
        return Scraped(response.status, content_type, response.read())
    finally:
        connection.close()


def samples_of(text: str, *, is_openmetrics: bool = True) -> Samples:
    """Return the samples of a text by name and labels; each occurs once."""
    parse = text_string_to_metric_families if is_openmetrics else text_families
    samples: Samples = {}
    for family in parse(text):
        for sample in family.samples:
            key = (sample.name.removeprefix("kinesis_fast_"), frozenset(sample.labels.items()))
            assert key not in samples, key
            samples[key] = float(sample.value)
    return samples


def samples_of_outputs(*outputs: KinesisOutput | ShownOutput) -> Samples:
    """Return the samples of outputs that show metrics, without an endpoint."""
    registry = Registry()
    for output in outputs:
        registry.add(shown(output) if isinstance(output, KinesisOutput) else output)
    collectors = CollectorRegistry()
    collectors.register(Collector(registry))
    written: bytes = generate_latest(collectors)  # type: ignore[no-untyped-call]
    return samples_of(written.decode())


def shown(output: KinesisOutput) -> ShownOutput:
    """Return what the metrics see of an output."""
    publication = output._parts.publication if output._parts else None
    assert publication is not None
    assert publication._shown is not None
    return publication._shown


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the one sample of this name that has these labels among others."""
    wanted = labels.items()
    (found,) = [v for (n, has), v in samples.items() if n == name and wanted <= has]
    return found


def values(samples: Samples, name: str, label: str) -> dict[str, float]:
    """Return the samples of this name by the value of one label."""
    return {dict(has)[label]: v for (n, has), v in samples.items() if n == name}
