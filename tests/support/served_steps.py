"""A server that responds as a FakeTransport does, for the transports that need one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from fake_transport import FakeTransport
from raw_server import Arrived, RawServer, http

from kinesis_fast import TransportError


class ServedSteps:
    """Passes each request to a transport, and closes the connection when that raises.

    Attributes:
        transport: decides; a test may replace it between two requests.
    """

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self._server = RawServer(self._respond)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    @contextmanager
    def serving(self) -> Iterator[ServedSteps]:
        """Serve."""
        with self._server:
            yield self

    def _respond(self, arrived: Arrived) -> bytes | None:
        self._server.arrived.clear()
        n_records = len(json.loads(arrived.body)["Records"])
        try:
            response = self.transport.send(memoryview(arrived.body), n_records, None)
        except TransportError:
            return None
        return http(response.status, response.body)
