"""Fuzz target: any bytes as a response of the service in CBOR, with cbor2 as the second opinion.

An input is as that of `answer_target`; its headers say CBOR.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import answer_target
import cbor2
from answer_target import N_HEAD, N_RECORDS, STATUSES, input_of, is_acknowledged, status_of

from kinesis_fast._core.cbor_answer import all_accepted_cbor, decode_cbor
from kinesis_fast.delivery.retry import (
    Outcome,
    Verdict,
    classify,
    is_sign_against_cbor,
    knows_cbor,
)
from kinesis_fast.logs import printable
from kinesis_fast.transport import CBOR_TYPE, Response
from kinesis_fast.transport.secrets import without_secrets

HEADERS = {"Content-Type": CBOR_TYPE}


def run(data: bytes) -> None:
    """Classify one input; raise AssertionError if the verdict contradicts the CBOR."""
    head = data[:N_HEAD].ljust(N_HEAD, b"\0")
    status = status_of(int.from_bytes(head[:2], "big"))
    n_records = N_RECORDS[head[2] % len(N_RECORDS)]
    response = Response(status, HEADERS, data[N_HEAD:])
    check_decoder(response.body)
    check(classify(response, n_records), response, n_records)
    knows_cbor(response)
    assert is_sign_against_cbor(response, is_known=False)
    is_sign_against_cbor(response, is_known=True)
    assert len(without_secrets(response).body) == len(response.body)


def seeds() -> Iterator[bytes]:
    """Yield the seeds of the JSON responses in CBOR, and forms that only CBOR has."""
    for seed in answer_target.seeds():
        head, body = seed[:N_HEAD], seed[N_HEAD:]
        yield seed
        try:
            said = json.loads(body)
        except ValueError:
            continue
        yield head + cbor2.dumps(said)
        yield head + indefinite(said)
    nulls = {"ErrorCode": None, "ErrorMessage": None, "SequenceNumber": "1", "ShardId": "s"}
    for status in STATUSES:
        said = {"EncryptionType": None, "FailedRecordCount": 0, "Records": [nulls]}
        yield input_of(status, 0, 0, cbor2.dumps(said))
    others = [1.5, -7, 2**64 - 1, b"\xff", True, ["é"], {"a": {"b": None}}]
    yield input_of(200, 0, 0, cbor2.dumps({"Records": others, "E": others}))


def indefinite(value: Any) -> bytes:
    """Write maps, arrays and texts without their lengths."""
    if isinstance(value, dict):
        pairs = (indefinite(key) + indefinite(item) for key, item in value.items())
        return b"\xbf" + b"".join(pairs) + b"\xff"
    if isinstance(value, list):
        return b"\x9f" + b"".join(map(indefinite, value)) + b"\xff"
    if isinstance(value, str):
        return b"\x7f" + cbor2.dumps(value[:3]) + cbor2.dumps(value[3:]) + b"\xff"
    return bytes(cbor2.dumps(value))


def check_decoder(body: bytes) -> None:
    """Assert that what is read is what cbor2 reads, and that what cbor2 writes is read."""
    has_tag = any(0xC0 <= byte < 0xE0 for byte in body)
    try:
        found = decode_cbor(body)
    except ValueError:
        return
    if not has_tag:
        theirs = cbor2.loads(body)
        assert found == theirs or repr(found) == repr(theirs)
    assert repr(decode_cbor(cbor2.dumps(found))) == repr(found)


def check(verdict: Verdict, response: Response, n_records: int) -> None:
    """Assert that no record counts as acknowledged that the response does not acknowledge."""
    is_good = 200 <= response.status < 300
    failed = failed_of(response.body, n_records) if is_good else None
    assert (verdict.outcome is Outcome.SETTLED) == (failed == [])
    if failed:
        assert verdict.outcome in (Outcome.PARTIAL, Outcome.REFUSED)
    assert list(verdict.failed) == (failed or [])
    assert bool(verdict.reason) == (verdict.outcome is not Outcome.SETTLED)
    if all_accepted_cbor(response.body, n_records):
        assert failed == [] or not is_good
    printable(verdict.reason, 200).encode()
    printable(verdict.hint, 200).encode()


def failed_of(body: bytes, n_records: int) -> list[int] | None:
    """Return the indexes of the entries without a sequence number, or None if it is unclear."""
    if body.startswith(b"{"):  # JSON in spite of the headers
        return answer_target.failed_of(body, n_records)
    try:
        answer = decode_cbor(body)
    except ValueError:
        return None
    entries = answer.get("Records") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or len(entries) != n_records:
        return None
    return [i for i, entry in enumerate(entries) if not is_acknowledged(entry)]
