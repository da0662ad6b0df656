"""Transports that answer from memory what the service answers when all entries were taken."""

import functools
import hashlib
import json

from kinesis_fast.transport import Response


@functools.cache
def put_records_answer(n_records: int) -> bytes:
    """The answer of the service when all entries were taken, of the size that it really has."""
    entry = {"SequenceNumber": "4" * 56, "ShardId": "shardId-000000000000"}
    answer = {"FailedRecordCount": 0, "Records": [entry] * n_records}
    return json.dumps(answer, separators=(",", ":")).encode()


class MemoryTransport:
    """Answers at once, and remembers what it was given."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Take a body of `n_records` entries."""
        self.sent.append(n_records)
        return Response(200, {}, put_records_answer(n_records))


class HashingTransport(MemoryTransport):
    """Takes the SHA-256 of each body first, as signing a request does."""

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Take a body of `n_records` entries."""
        hashlib.sha256(body).digest()
        return super().send(body, n_records, timeout_s)
