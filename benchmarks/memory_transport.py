"""Transports that respond from memory, as the service does when it accepts all entries."""

import functools
import hashlib
import json

from kinesis_fast.transport import Response


@functools.cache
def put_records_response(n_records: int) -> bytes:
    """The response of the service when it accepts all entries, in its real size."""
    entry = {"SequenceNumber": "4" * 56, "ShardId": "shardId-000000000000"}
    response = {"FailedRecordCount": 0, "Records": [entry] * n_records}
    return json.dumps(response, separators=(",", ":")).encode()


class MemoryTransport:
    """Responds at once and records the number of entries of each request."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Take a body of `n_records` entries."""
        self.sent.append(n_records)
        return Response(200, {}, put_records_response(n_records))


class HashingTransport(MemoryTransport):
    """Takes the SHA-256 of each body first, as signing a request does."""

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Take a body of `n_records` entries."""
        hashlib.sha256(body).digest()
        return super().send(body, n_records, timeout_s)
