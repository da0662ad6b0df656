"""Fuzz target: any bytes as a response of the service.

An input is two bytes of HTTP status, one byte that selects the number of records of the request,
one byte that selects the headers, and then the body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kinesis_fast.delivery.retry import Outcome, Verdict, classify
from kinesis_fast.logs import printable
from kinesis_fast.transport import Response

HEADERS: Final[tuple[Mapping[str, str], ...]] = (
    {},
    {"x-amzn-ErrorType": "ThrottlingException:http://example.org/"},
    {"X-Amzn-Errortype": "\u00ff#, "},
)
N_HEAD: Final = 4
N_RECORDS: Final = (1, 2, 3, 5, 500)
STATUSES: Final = (200, 201, 204, 301, 400, 403, 404, 408, 413, 429, 500, 503, 599)


def run(data: bytes) -> None:
    """Classify one input; raise AssertionError if the verdict contradicts the JSON."""
    head = data[:N_HEAD].ljust(N_HEAD, b"\0")
    status = status_of(int.from_bytes(head[:2], "big"))
    n_records = N_RECORDS[head[2] % len(N_RECORDS)]
    headers = HEADERS[head[3] % len(HEADERS)]
    body = data[N_HEAD:]
    check(classify(Response(status, headers, body), n_records), status, body, n_records)


def status_of(number: int) -> int:
    """Return 200 for most numbers, because the code reads the bodies of those responses."""
    return number % 1000 if number % 1000 in STATUSES else 200


def seeds() -> Iterator[bytes]:
    """Yield successful responses, partly successful ones and errors."""
    for pick, n_records in enumerate(N_RECORDS[:-1]):
        entries: list[dict[str, Any]] = [
            {"SequenceNumber": f"4954{i}", "ShardId": f"shardId-{i:012}"} for i in range(n_records)
        ]
        good = {"FailedRecordCount": 0, "Records": entries}
        failed = [{"ErrorCode": "InternalFailure", "ErrorMessage": "x"}, *entries[1:]]
        for answer in (
            good,
            {**good, "EncryptionType": "KMS"},
            {"EncryptionType": "NONE", **good},
            {"FailedRecordCount": 1, "Records": failed},
            {"FailedRecordCount": 0, "Records": [dict(reversed(e.items())) for e in entries]},
            {"FailedRecordCount": 0, "Records": [{"SequenceNumber": ""}, *entries[1:]]},
        ):
            for separators in ((",", ":"), (", ", ": ")):
                yield input_of(200, pick, 0, json.dumps(answer, separators=separators).encode())
    error = {"__type": "com.example#ValidationException", "message": "value 'x' at 'streamName'"}
    for status in STATUSES:
        for pick in range(len(HEADERS)):
            yield input_of(status, 0, pick, json.dumps(error).encode())
            yield input_of(status, 0, pick, b"<html>\xff")


def input_of(status: int, n_records: int, headers: int, body: bytes) -> bytes:
    """Return the input for a status, selections and a body."""
    return status.to_bytes(2, "big") + bytes([n_records, headers]) + body


def check(verdict: Verdict, status: int, body: bytes, n_records: int) -> None:
    """Assert that no record counts as acknowledged that the response does not acknowledge."""
    failed = failed_of(body, n_records) if 200 <= status < 300 else None
    assert (verdict.outcome is Outcome.SETTLED) == (failed == [])
    assert (verdict.outcome is Outcome.PARTIAL) == bool(failed)
    assert list(verdict.failed) == (failed or [])
    assert bool(verdict.reason) == (verdict.outcome is not Outcome.SETTLED)
    printable(verdict.reason, 200).encode()
    printable(verdict.hint, 200).encode()


def failed_of(body: bytes, n_records: int) -> list[int] | None:
    """Return the indexes of the entries without a sequence number, or None if it is unclear."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    entries = answer.get("Records") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or len(entries) != n_records:
        return None
    return [i for i, entry in enumerate(entries) if not is_acknowledged(entry)]


def is_acknowledged(entry: Any) -> bool:
    """Return whether an entry has a sequence number and no error."""
    if not isinstance(entry, dict) or entry.get("ErrorCode") not in (None, ""):
        return False
    number = entry.get("SequenceNumber")
    return isinstance(number, str) and number != ""
