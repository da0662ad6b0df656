"""What responses mean and how long to wait: the pure functions."""

import json
import random
import time
from typing import Any

import pytest
from fake_transport import INTERNAL, THROTTLED, entries_answer
from hypothesis import given
from hypothesis import strategies as st

from kinesis_fast.delivery import retry
from kinesis_fast.delivery.retry import (
    Outcome,
    Verdict,
    backoff_s,
    classify,
    classify_exception,
    halves,
)
from kinesis_fast.errors import TransportError
from kinesis_fast.limits import BACKOFF_BASE_S, BACKOFF_CAP_S, MAX_ATTEMPTS, RETRY_BUDGET_S
from kinesis_fast.transport import NotSentError, Response, secrets

COMPACT, SPACED = (",", ":"), (", ", ": ")
ACCEPTED = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}


def response(body: Any, status: int = 200, **headers: str) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers, data)


def refusal(code: str, message: str = "no", status: int = 400) -> Verdict:
    return classify(response({"__type": code, "message": message}, status), 3)


# --- HTTP 200 ---


@pytest.mark.parametrize("separators", [COMPACT, SPACED])
@pytest.mark.parametrize("n_records", [1, 2, 500])
def test_all_accepted(n_records: int, separators: tuple[str, str]) -> None:
    answered = entries_answer([None] * n_records, separators)
    assert classify(answered, n_records) == retry.SETTLED


@pytest.mark.parametrize("separators", [COMPACT, SPACED])
def test_only_the_entries_that_failed_are_to_be_sent_again(separators: tuple[str, str]) -> None:
    answered = entries_answer([None, THROTTLED, None, INTERNAL, THROTTLED], separators)
    verdict = classify(answered, 5)
    assert verdict.outcome is Outcome.PARTIAL
    assert verdict.failed == [1, 3, 4]
    assert verdict.throttled
    assert verdict.reason == (
        "3 of 5 records were not accepted (2 x ProvisionedThroughputExceededException, "
        "1 x InternalFailure): ProvisionedThroughputExceededException on shard 0"
    )


def test_a_reason_quotes_an_entry_that_is_sent_again() -> None:
    verdict = classify(entries_answer(["ValidationException", None, THROTTLED]), 3)
    assert verdict.again == [2]
    assert verdict.reason.endswith("): ProvisionedThroughputExceededException on shard 0")


def test_any_code_of_an_entry_is_a_failure() -> None:
    verdict = classify(entries_answer([None, "SomethingNew"]), 2)
    assert (verdict.outcome, verdict.failed) == (Outcome.PARTIAL, [1])
    assert not verdict.throttled


@pytest.mark.parametrize(
    "entry",
    [
        {"ShardId": "shardId-0"},
        {"SequenceNumber": ""},
        {"SequenceNumber": None},
        {"SequenceNumber": 7},
        {**ACCEPTED, "ErrorCode": INTERNAL},
        {},
        None,
        [],
        "SequenceNumber",
    ],
)
def test_an_entry_without_a_sequence_number_is_not_acknowledged(entry: Any) -> None:
    body = {"FailedRecordCount": 0, "Records": [ACCEPTED, entry]}
    verdict = classify(response(body), 2)
    assert (verdict.outcome, verdict.failed) == (Outcome.PARTIAL, [1])


def test_an_error_code_of_null_is_no_error() -> None:
    entry = {**ACCEPTED, "ErrorCode": None, "ErrorMessage": None}
    assert classify(response({"FailedRecordCount": 0, "Records": [entry]}), 1) == retry.SETTLED


def test_the_entries_count_and_failed_record_count_does_not() -> None:
    body = {"FailedRecordCount": 0, "Records": [ACCEPTED, {"ErrorCode": INTERNAL}]}
    assert classify(response(body), 2).failed == [1]
    body = {"FailedRecordCount": 1, "Records": [ACCEPTED, ACCEPTED]}
    assert classify(response(body), 2) == retry.SETTLED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"0",
        b"<html>sign in</html>",
        b"\xff\xfe\x00",
        b'{"FailedRecordCount":0',
        b'{"FailedRecordCount":0}',
        b'{"FailedRecordCount":0,"Records":null}',
        b'{"FailedRecordCount":0,"Records":{}}',
        b'{"FailedRecordCount":0,"Records":[]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"}]}',
        b'{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1"},{"SequenceNumber":"2"}]',
        b"[" * 100_000,
    ],
)
def test_after_garbage_everything_is_sent_again(body: bytes) -> None:
    verdict = classify(response(body), 2)
    assert verdict.outcome is Outcome.RETRY_ALL
    assert not verdict.throttled
    assert "endpoint" in verdict.hint


@pytest.mark.parametrize("tail", [b"", b',"EncryptionType":"KMS"'])
def test_a_response_that_was_cut_off_is_garbage(tail: bytes) -> None:
    body = entries_answer([None, None]).body[:-1] + tail + b"}"
    assert classify(response(body), 2) == retry.SETTLED
    for end in range(len(body)):
        assert classify(response(body[:end]), 2).outcome is Outcome.RETRY_ALL


def test_too_many_entries_are_as_bad_as_too_few() -> None:
    assert classify(entries_answer([None] * 3), 2).outcome is Outcome.RETRY_ALL
    assert classify(entries_answer([None] * 1), 2).outcome is Outcome.RETRY_ALL


def judged(response: Response, n_records: int) -> tuple[Any, ...]:
    """Return a verdict without its texts."""
    verdict = classify(response, n_records)
    return verdict.outcome, list(verdict.failed), verdict.throttled


def judged_by_parsing(response: Response, n_records: int) -> tuple[Any, ...]:
    """Return the same by parsing: the short cut does not accept white space."""
    spaced = response.body.replace(b'"SequenceNumber":', b'"SequenceNumber" :')
    return judged(response._replace(body=spaced), n_records)


codes = st.one_of(st.none(), st.sampled_from([THROTTLED, INTERNAL, "X"]))


@given(st.lists(codes, min_size=1, max_size=20), st.integers(-1, 1), st.data())
def test_the_short_cut_agrees_with_parsing(
    given: list[str | None], more: int, data: st.DataObject
) -> None:
    answered = entries_answer(given)
    n_records = max(1, len(given) + more)
    cut = data.draw(st.integers(0, len(answered.body)))
    position = data.draw(st.integers(0, len(answered.body) - 1))
    damaged = bytearray(answered.body)
    damaged[position] = data.draw(st.integers(0, 127))
    for body in (answered.body, answered.body[:cut], answered.body[cut:]):
        garbled = answered._replace(body=body)
        assert judged(garbled, n_records) == judged_by_parsing(garbled, n_records)
    # A wrong byte inside a text goes unnoticed; a failure must not.
    if classify(answered._replace(body=bytes(damaged)), n_records) == retry.SETTLED:
        assert len(given) == n_records
        assert given.count(None) == n_records


# --- other responses ---


@pytest.mark.parametrize(
    "code",
    [THROTTLED, "LimitExceededException", "KMSThrottlingException", "ThrottlingException"],
)
def test_a_throttled_request_is_retried(code: str) -> None:
    verdict = refusal(code)
    assert verdict.outcome is Outcome.RETRY_ALL
    assert verdict.throttled
    assert "add shards" in verdict.hint


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [b"", b"<html/>", b'{"__type":"InternalFailure"}'])
def test_a_server_error_is_retried(status: int, body: bytes) -> None:
    verdict = classify(response(body, status), 3)
    assert verdict.outcome is Outcome.RETRY_ALL
    assert not verdict.throttled
    assert str(status) in verdict.reason


@pytest.mark.parametrize("code", ["InternalFailure", "InternalFailureException"])
def test_an_internal_failure_is_retried_with_any_status(code: str) -> None:
    assert refusal(code).outcome is Outcome.RETRY_ALL


def test_status_429_and_408_are_retried() -> None:
    assert classify(response(b"", 429), 3).throttled
    assert classify(response(b"", 429), 3).outcome is Outcome.RETRY_ALL
    assert classify(response(b"", 408), 3).outcome is Outcome.RETRY_ALL


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "kinesis:PutRecords"),
        ("ResourceNotFoundException", "stream"),
        ("ExpiredTokenException", "expired"),
        ("UnrecognizedClientException", "access key"),
        ("InvalidSignatureException", "region"),
        ("IncompleteSignatureException", "clock"),
        ("KMSDisabledException", "KMS"),
        ("KMSInvalidStateException", "KMS"),
        ("KMSAccessDeniedException", "KMS"),
        ("KMSNotFoundException", "KMS"),
        ("KMSOptInRequired", "KMS"),
        ("MissingAuthenticationTokenException", "profile"),
        ("UnknownOperationException", "endpoint"),
    ],
)
def test_a_blocking_error_comes_with_a_hint(code: str, hint: str) -> None:
    verdict = refusal(code, "the reason")
    assert verdict.outcome is Outcome.BLOCKED
    assert verdict.reason == f"{code} (HTTP 400): the reason"
    assert hint in verdict.hint


def test_an_unrecognised_error_is_quoted() -> None:
    verdict = refusal("Unheard", "the reason")
    assert verdict.outcome is Outcome.BLOCKED
    assert verdict.reason == (
        "unrecognised error; the service says: Unheard (HTTP 400): the reason"
    )
    assert not verdict.hint


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    verdict = classify(response(b"", status), 3)
    assert verdict.outcome is Outcome.BLOCKED
    assert "endpoint" in verdict.hint


@pytest.mark.parametrize("status", [400, 403, 404, 407])
def test_a_response_that_is_not_from_kinesis(status: int) -> None:
    verdict = classify(response(b"<html>Forbidden</html>", status), 3)
    assert verdict.outcome is Outcome.BLOCKED
    assert verdict.reason == f"HTTP {status}: <html>Forbidden</html>"
    assert "proxy" in verdict.hint


def test_the_code_may_have_a_namespace_or_be_in_the_header() -> None:
    kms = "com.amazonaws.kinesis.v20131202#KMSThrottlingException"
    assert refusal(kms).throttled
    header = {"X-Amzn-ErrorType": "AccessDeniedException:http://internal.example/"}
    verdict = classify(response({"Message": "not you"}, 400, **header), 3)
    assert verdict.reason == "AccessDeniedException (HTTP 400): not you"


def test_fields_of_unexpected_types_are_ignored() -> None:
    verdict = classify(response({"__type": 7, "message": ["a"]}, 400), 3)
    assert verdict.outcome is Outcome.BLOCKED


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationException", "1 validation error detected: Value '[x]' at 'records' failed"),
        ("ValidationException", "Value 'streamName' at 'records.1.member.partitionKey' failed"),
        ("InvalidArgumentException", "Records size exceeds 5 MB limit"),
        ("InvalidArgumentException", ""),
        ("RequestEntityTooLargeException", ""),
        ("SomeLimit", "Request size exceeds the limit"),
        ("SomeLimit", "the record exceeds 1048576 bytes"),
        ("SomeLimit", "Payload too large"),
    ],
)
def test_refused_content(code: str, message: str) -> None:
    assert refusal(code, message).outcome is Outcome.REFUSED


def test_refused_size_by_status() -> None:
    assert classify(response(b"<html>413</html>", 413), 3).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    "message",
    [
        "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint",
        "2 validation errors detected: Value 'x' at 'streamARN' failed; Value 'y' at 'records' ...",
        "StreamARN arn:aws:kinesis:x is not valid",
        "Invalid stream name",
    ],
)
@pytest.mark.parametrize("code", ["ValidationException", "InvalidArgumentException"])
def test_a_bad_stream_name_is_not_bad_content(code: str, message: str) -> None:
    verdict = refusal(code, message)
    assert verdict.outcome is Outcome.BLOCKED
    assert "option stream" in verdict.hint


# --- no response ---


def test_a_missing_response_is_retried() -> None:
    assert classify_exception(TransportError("time-out")).outcome is Outcome.RETRY_ALL
    assert classify_exception(TransportError("time-out")).reason == "time-out"
    verdict = classify_exception(KeyError("bug"))
    assert (verdict.outcome, verdict.reason) == (Outcome.RETRY_ALL, "KeyError: 'bug'")


def test_a_request_that_cannot_be_sent_blocks() -> None:
    verdict = classify_exception(NotSentError("no credentials"))
    assert (verdict.outcome, verdict.reason) == (Outcome.BLOCKED, "no credentials")


# --- waits ---


def test_waits_grow_to_a_bound() -> None:
    bounds = [backoff_s(n, 1.0, 5.0, lambda: 1.0) for n in range(1, 6)]
    assert bounds == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff_s(5000, 1.0, 5.0, lambda: 1.0) == 5.0


@given(st.integers(1, 10_000), st.integers())
def test_waits_stay_below_the_bound(failures: int, seed: int) -> None:
    wait = backoff_s(failures, BACKOFF_BASE_S, BACKOFF_CAP_S, random.Random(seed).random)
    assert 0 <= wait < BACKOFF_CAP_S


def test_attempts_are_bounded() -> None:
    pauses = [retry.pause_s(n, 0.0, lambda: 0.5) for n in range(1, MAX_ATTEMPTS + 1)]
    assert pauses == [0.25, 0.5, 1.0, None]


def test_no_attempt_starts_after_the_budget() -> None:
    assert retry.pause_s(1, RETRY_BUDGET_S - 0.25, lambda: 0.5) == 0.25
    assert retry.pause_s(1, RETRY_BUDGET_S - 0.24, lambda: 0.5) is None
    assert retry.pause_s(1, RETRY_BUDGET_S + 30, lambda: 0.0) is None


@given(st.integers(2, 500))
def test_halves_cover_the_request(n_records: int) -> None:
    first, second = halves(n_records)
    assert [*first, *second] == list(range(n_records))
    assert len(first) > 0
    assert len(second) > 0


@pytest.mark.parametrize("status", [200, 400])
def test_hostile_texts_of_a_server_cost_little(status: int) -> None:
    """Patterns see a few hundred characters at most, however long a text is."""
    texts = ["value '" * 20_000, "exceed " * 20_000, "size " * 30_000, "stream " * 20_000]
    started = time.process_time()
    for text in texts:
        body = {"__type": "ValidationException" + text, "message": text}
        entry = {"ErrorCode": text, "ErrorMessage": text}
        answer = body if status == 400 else {"FailedRecordCount": 1, "Records": [entry]}
        verdict = classify(Response(status, {}, json.dumps(answer).encode()), 1)
        assert len(verdict.reason) < 2000
    assert time.process_time() - started < 2.0


def test_no_secret_of_an_entrys_message_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON may escape it, so it is not found in the response as it came."""
    monkeypatch.setattr(secrets, "_lasting", ["a/secret+key"])
    failed = {"ErrorCode": "ValidationException", "ErrorMessage": "no a/secret+key"}
    records = [{"SequenceNumber": "1", "ShardId": "s"}, failed]
    body = json.dumps({"FailedRecordCount": 1, "Records": records}).replace("/", "\\/")
    verdict = classify(Response(200, {}, body.encode()), 2)
    assert "secret" not in f"{verdict.reason} {verdict.refused}"
    assert verdict.refused == {1: "ValidationException: no ***"}
