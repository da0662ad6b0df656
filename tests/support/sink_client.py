"""A client of the benchmarks' sink that controls how its bytes are split."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any

import cbor2
from counting_sink import CountingSink

from kinesis_fast.transport import CBOR_TYPE


class Client:
    """A connection that can carry several requests at a time."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._responses = connected.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def response(self) -> tuple[int, dict[str, Any]]:
        """Read one response; returns its status and its parsed body."""
        status = int(self._responses.readline().split()[1])
        headers = http.client.parse_headers(self._responses)
        body = self._responses.read(int(headers["Content-Length"]))
        return status, (cbor2 if headers["Content-Type"] == CBOR_TYPE else json).loads(body)

    def has_ended(self) -> bool:
        """Wait, and return whether the server has closed the connection."""
        return self._responses.read(1) == b""

    def close(self) -> None:
        """Close the connection."""
        self._responses.close()
        self.socket.close()


Connect = Callable[[CountingSink], Client]
