"""The process of the fault server: sockets, threads, and a control channel on stdin and stdout.

Started by `fault_server.FaultServer`. Each line on stdin is a JSON array, the name of a command
and its arguments; each line on stdout is the JSON of what it returns.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from fault_server_faults import Exchange, answer
from fault_server_rules import Refusal
from fault_server_service import GOOD, Service
from fault_server_wire import GoneError, Head, Wire

TARGET: Final = "Kinesis_20131202.PutRecords"
CREDENTIALS_PATH: Final = "/credentials"
UNKNOWN: Final = Refusal(400, "UnknownOperationException", "only PutRecords")


class FaultServer:
    """Listens on two ports of the loopback, one plain and one for TLS."""

    def __init__(self) -> None:
        self.service = Service()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._certificate = ""
        self._plain, self._tls = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        for listener, is_tls in ((self._plain, False), (self._tls, True)):
            listener.listen(128)
            threading.Thread(target=self._accept, args=(listener, is_tls), daemon=True).start()

    def ports(self) -> list[int]:
        """Return the ports: plain, TLS."""
        return [listener.getsockname()[1] for listener in (self._plain, self._tls)]

    def certificates(self, paths: dict[str, str]) -> None:
        """Load the certificates: files with a chain and its key."""
        for name, path in paths.items():
            self._contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._contexts[name].load_cert_chain(path)

    def certificate(self, name: str) -> None:
        """Choose the certificate for new connections."""
        self._certificate = name

    def call(self, command: str, arguments: list[Any]) -> Any:
        """Run a command of the control channel."""
        service = self.service
        commands: dict[str, Callable[..., Any]] = {
            "ports": self.ports,
            "certificates": self.certificates,
            "certificate": self.certificate,
            "reset": service.reset,
            "plan": service.plan,
            "rule": service.rule,
            "expire_keys": service.expire_keys,
            "seen": service.seen,
            "compare": service.compare,
        }
        return commands[command](*arguments)

    def _accept(self, listener: socket.socket, is_tls: bool) -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection, is_tls), daemon=True).start()

    def _serve(self, connection: socket.socket, is_tls: bool) -> None:
        self.service.count("connections")
        if is_tls:
            try:
                context = self._contexts[self._certificate]
                connection = context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        wire = Wire(connection)
        try:
            while (head := wire.head()) is not None and self._answer(wire, head):
                pass
        except GoneError:
            self.service.count("gone")
        finally:
            self.service.settle(wire)
            wire.close()

    def _answer(self, wire: Wire, head: Head) -> bool:
        self.service.settle(wire)
        self.service.begin(1)
        try:
            return self._exchange(wire, head)
        finally:
            self.service.begin(-1)

    def _exchange(self, wire: Wire, head: Head) -> bool:
        exchange = Exchange(self.service, wire, head)
        if head.path == CREDENTIALS_PATH:
            wire.send(exchange.http(self.service.issue_key()))
            return True
        if head.headers.get("x-amz-target") != TARGET:
            wire.send(exchange.http(b"{}", UNKNOWN.status))
            return True
        fault = self.service.next_fault()
        if fault == GOOD and exchange.refuse_by_rules():
            return True
        return answer(exchange, fault)


def main() -> None:
    """Serve until stdin ends."""
    server = FaultServer()
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(server.call(command, arguments)), flush=True)


if __name__ == "__main__":
    main()
