"""Builds, starts and queries the server of benchmarks/sink, which accepts and counts everything.

It is compiled when it is first needed, with the C compiler that is `cc`, into build/bench. For
HTTPS it needs OpenSSL's headers and, for the certificate, the package `cryptography`; without them
`tls_obstacle()` says so, and all but HTTPS works.
"""

import functools
import http.client
import importlib.util
import json
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "benchmarks" / "sink"
BUILT = ROOT / "build" / "bench"
FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-pthread")
TLS_FLAGS = ("-DSINK_TLS", "-lssl", "-lcrypto")
TLS_PROBE = "#include <openssl/ssl.h>\n"
TIMEOUT_S = 10.0


class SinkError(RuntimeError):
    """The sink cannot be built or did not start."""


class Certificate(NamedTuple):
    """Two PEM files; `certificate` is also what a client has to trust (AWS_CA_BUNDLE)."""

    certificate: Path
    key: Path


class Totals(NamedTuple):
    """What the sink counted since it was started or reset.

    connections: connections that were opened, the control connection of totals() included.
    body_bytes: size of the bodies of PutRecords requests, without headers.
    malformed: requests that were not HTTP/1.1 with a length, were cut off, or did not have 1 to 500
        records.
    """

    connections: int
    requests: int
    records: int
    body_bytes: int
    malformed: int


class CountingSink:
    """The server process; a context manager that stops it at the end.

    Args:
        tls: the certificate to serve HTTPS with, None for plain HTTP.
        latency_ms: delay of each response.
        keep: a directory in which the bodies are kept; None to only count them.

    Raises:
        SinkError: on entering, when it cannot be built or does not start.
    """

    def __init__(
        self, tls: Certificate | None = None, *, latency_ms: int = 0, keep: Path | None = None
    ) -> None:
        self._tls = tls
        self._arguments = ["--latency-ms", str(latency_ms)]
        self._arguments += ["--keep", str(keep)] if keep else []
        self._arguments += ["--tls", *map(str, tls)] if tls else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [build(), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port.isdigit():
            raise SinkError(f"the sink did not start: it printed {port!r} instead of its port")
        self.port = int(port)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        self._control = self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.communicate(timeout=TIMEOUT_S)

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def totals(self) -> Totals:
        """What was counted so far."""
        return self._ask("GET", "/totals")

    def reset(self) -> Totals:
        """What was counted so far; from now on it counts from zero."""
        return self._ask("POST", "/reset")

    def stop(self) -> Totals:
        """End the process with SIGTERM; returns the totals of its last line."""
        self._process.terminate()
        text, _ = self._process.communicate(timeout=TIMEOUT_S)
        return Totals(**json.loads(text))

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        trust = ssl.create_default_context(cafile=self._tls.certificate)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=TIMEOUT_S, context=trust)

    def _ask(self, method: str, path: str) -> Totals:
        self._control.request(method, path, headers={"Content-Length": "0"})
        with self._control.getresponse() as response:
            return Totals(**json.loads(response.read()))


def tls_obstacle() -> str | None:
    """Why there can be no HTTPS here, and what to install; None when there can."""
    if not has_openssl():
        return (
            "HTTPS is left out: the C compiler does not find openssl/ssl.h; install OpenSSL's "
            "headers (Debian: apt-get install libssl-dev)"
        )
    if importlib.util.find_spec("cryptography") is None:
        return "HTTPS is left out because a certificate cannot be made: pip install cryptography"
    return None


def make_certificate(directory: Path) -> Certificate:
    """Write a certificate for the loopback, and its key, into a directory."""
    certificate, key = importlib.import_module("certificate").make(directory)
    return Certificate(certificate, key)


@functools.cache
def has_openssl() -> bool:
    """Whether the C compiler finds OpenSSL's headers."""
    command = [compiler(), "-E", "-x", "c", "-"]
    probe = subprocess.run(command, input=TLS_PROBE, text=True, capture_output=True, check=False)
    return probe.returncode == 0


def compiler() -> str:
    """The C compiler; SinkError when there is none."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise SinkError("no C compiler found as $CC, cc, gcc or clang (Debian: apt-get install gcc)")


@functools.cache
def build() -> Path:
    """Compile the server where it is missing or older than its sources; returns its path."""
    program = BUILT / ("sink-tls" if has_openssl() else "sink")
    sources = sorted(SOURCES.iterdir())
    newest = max(source.stat().st_mtime for source in sources)
    if program.exists() and program.stat().st_mtime > newest:
        return program
    BUILT.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    files = [source for source in sources if source.suffix == ".c"]
    command = [compiler(), *FLAGS, *files, "-o", unfinished, *(TLS_FLAGS if has_openssl() else ())]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise SinkError(f"the sink cannot be compiled:\n{made.stderr}")
    unfinished.replace(program)
    return program
