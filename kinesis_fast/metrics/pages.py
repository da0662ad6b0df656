"""Writes the metrics of a process in the format that a reader asks for."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, generate_latest

from kinesis_fast.metrics.endpoint import Page
from kinesis_fast.metrics.families import Collector
from kinesis_fast.metrics.shown import Registry


class Pages:
    """The metrics as pages and as a file.

    Args:
        registry: the outputs.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(Collector(registry))

    def page(self, accept: str) -> Page:
        """Return the page for a request: OpenMetrics if the header Accept asks for it."""
        encode, content_type = choose_encoder(accept)
        return Page(content_type, encode(self._registry))

    def file(self) -> bytes:
        """Return the metrics in the text format, the one that textfile collectors read."""
        return generate_latest(self._registry)
