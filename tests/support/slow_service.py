"""A service that takes PutRecords and responds when and as the test says."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

WAIT_S = 30
THROTTLED = "ProvisionedThroughputExceededException"


class SlowService:
    """Listens on the loopback; every response waits for release().

    Args:
        n_throttled: for how many requests the last entry fails.

    Attributes:
        arrived: set as soon as a request has come in.
        accepted: the data of all entries that were acknowledged.
    """

    def __init__(self, n_throttled: int = 0) -> None:
        self.arrived = threading.Event()
        self.accepted: list[bytes] = []
        self._n_throttled = n_throttled
        self._released = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.arrived.set()
                service._released.wait(WAIT_S)
                response = service._respond(body["Records"])
                self.send_response(200)
                self.send_header("Content-Length", str(len(response)))
                self.end_headers()
                self.wfile.write(response)

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def _respond(self, entries: list[dict[str, str]]) -> bytes:
        results = [{"SequenceNumber": "1", "ShardId": "shardId-000000000000"} for _ in entries]
        n_failed = 1 if self._n_throttled else 0
        if n_failed:
            self._n_throttled -= 1
            results[-1] = {"ErrorCode": THROTTLED, "ErrorMessage": "Rate exceeded"}
        accepted = entries[: len(entries) - n_failed]
        self.accepted += [base64.b64decode(entry["Data"]) for entry in accepted]
        return json.dumps({"FailedRecordCount": n_failed, "Records": results}).encode()

    @property
    def target(self) -> dict[str, str]:
        """The options that make an output send to it."""
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        return {"region": "us-east-1", "stream": "slow", "endpoint": endpoint}

    def release(self) -> None:
        """Respond to all requests, from now on at once."""
        self._released.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
