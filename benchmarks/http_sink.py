"""A stand-in for Kinesis that takes everything: an HTTP server on loopback, in its own process.

Run as a script it prints its port, answers POST with the PutRecords answer for as many entries as
the body holds, and GET with the entries counted so far, until standard input is closed. With a
directory as its argument each connection's bodies go into a file there, one a line.
"""

import functools
import itertools
import json
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

ENTRY_MARK = b'"PartitionKey"'


@functools.cache
def put_records_answer(n_records: int) -> bytes:
    """The answer of the service when all entries were taken, of the size that it really has."""
    entry = {"SequenceNumber": "4" * 56, "ShardId": "shardId-000000000000"}
    answer = {"FailedRecordCount": 0, "Records": [entry] * n_records}
    return json.dumps(answer, separators=(",", ":")).encode()


class HttpSink:
    """The server process; a context manager that stops it at the end.

    Args:
        keep: a directory for the bodies, to look at them later; None: they are counted only.
    """

    def __init__(self, keep: Path | None = None) -> None:
        self._keep = keep

    def __enter__(self) -> "HttpSink":
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), *([self._keep] if self._keep else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port.isdigit():
            raise RuntimeError(f"the HTTP sink did not start: it said {port!r} instead of its port")
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=10)

    def n_records(self) -> int:
        """How many entries have arrived so far."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url, timeout=10) as answer:
            return int(answer.read())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    total = 0
    lock = threading.Lock()
    keep: Path | None = None
    numbers = itertools.count(1)
    kept: BinaryIO | None = None

    def setup(self) -> None:
        super().setup()
        if self.keep is not None:
            self.kept = (self.keep / f"connection-{next(self.numbers)}").open("wb")

    def finish(self) -> None:
        super().finish()
        if self.kept is not None:
            self.kept.close()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.kept is not None:
            self.kept.write(body + b"\n")
            self.kept.flush()
        n_records = body.count(ENTRY_MARK)
        with self.lock:
            _Handler.total += n_records
        self._answer(put_records_answer(n_records), "application/x-amz-json-1.1")

    def do_GET(self) -> None:
        self._answer(str(_Handler.total).encode(), "text/plain")

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: a line per request would only cost time."""

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", "00000000-0000-0000-0000-000000000000")
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until standard input is closed."""
    if len(sys.argv) > 1:
        _Handler.keep = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
