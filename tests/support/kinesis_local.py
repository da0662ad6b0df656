"""kinesis-local of npm, an emulator of Kinesis that speaks CBOR."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import node
import pytest

START_S = 120.0
LOOK_S = 0.05
_NUMBERS = itertools.count(1)
# It listens on all addresses, and there is no option for that.
ON_LOOPBACK = """
const net = require('net')
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, done) {
    return listen.call(this, {port, host: '127.0.0.1'}, done)
}
require('./main.js')
"""


@contextmanager
def kinesis_local() -> Iterator[str]:
    """Run it, and return its URL; skip the test without node."""
    program = node.node()
    plain, tls = _free_ports(2)
    with subprocess.Popen(
        [program, "--eval", ON_LOOPBACK],
        cwd=node.DIRECTORY / "node_modules" / "kinesis-local",  # it reads its certificate there
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "KINESIS_MOCK_PLAIN_PORT": str(plain),
            "KINESIS_MOCK_TLS_PORT": str(tls),
            "LOG_LEVEL": "ERROR",
            "CREATE_STREAM_DURATION": "0ms",
        },
    ) as process:
        try:
            url = f"http://127.0.0.1:{plain}"
            _wait_until_it_listens(url, process)
            yield url
        finally:
            process.kill()


def stream_name() -> str:
    """Return a name that no test has used."""
    return f"stream-{next(_NUMBERS)}"


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _wait_until_it_listens(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"kinesis-local has ended with exit status {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/healthcheck", timeout=LOOK_S * 20):
                return
        except OSError:
            time.sleep(LOOK_S)
    pytest.fail(f"kinesis-local does not listen after {START_S} s")
