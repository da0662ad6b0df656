"""A client of the benchmarks' sink that decides how its bytes are cut."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any

from counting_sink import CountingSink


class Client:
    """A connection on which several requests may be under way."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._answers = connected.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, Any]]:
        """Read one answer: its status and its JSON."""
        status = int(self._answers.readline().split()[1])
        headers = http.client.parse_headers(self._answers)
        return status, json.loads(self._answers.read(int(headers["Content-Length"])))

    def has_ended(self) -> bool:
        """Wait for what comes next and return whether it is the end."""
        return self._answers.read(1) == b""

    def close(self) -> None:
        """End the connection."""
        self._answers.close()
        self.socket.close()


Connect = Callable[[CountingSink], Client]
