"""What answers mean, how long to wait: the pure functions."""

import json
import random
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
from kinesis_fast.transport import NotSentError, Response

COMPACT, SPACED = (",", ":"), (", ", ": ")
ACCEPTED = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}


def answer(body: Any, status: int = 200, **headers: str) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers, data)


def refusal(code: str, message: str = "no", status: int = 400) -> Verdict:
    return classify(answer({"__type": code, "message": message}, status), 3)


# --- HTTP 200 ---


@pytest.mark.parametrize("separators", [COMPACT, SPACED])
@pytest.mark.parametrize("n_records", [1, 2, 500])
def test_all_accepted(n_records: int, separators: tuple[str, str]) -> None:
    response = entries_answer([None] * n_records, separators)
    assert classify(response, n_records) == retry.SETTLED


@pytest.mark.parametrize("separators", [COMPACT, SPACED])
def test_only_the_entries_that_failed_are_to_be_sent_again(separators: tuple[str, str]) -> None:
    response = entries_answer([None, THROTTLED, None, INTERNAL, THROTTLED], separators)
    verdict = classify(response, 5)
    assert verdict.outcome is Outcome.PARTIAL
    assert verdict.failed == [1, 3, 4]
    assert verdict.throttled
    assert verdict.reason == (
        "3 of 5 records were not accepted (2 x ProvisionedThroughputExceededException, "
        "1 x InternalFailure): ProvisionedThroughputExceededException on shard 0"
    )


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
    verdict = classify(answer(body), 2)
    assert (verdict.outcome, verdict.failed) == (Outcome.PARTIAL, [1])


def test_null_as_error_code_is_none() -> None:
    entry = {**ACCEPTED, "ErrorCode": None, "ErrorMessage": None}
    assert classify(answer({"FailedRecordCount": 0, "Records": [entry]}), 1) == retry.SETTLED


def test_entries_count_more_than_the_sum_above_them() -> None:
    body = {"FailedRecordCount": 0, "Records": [ACCEPTED, {"ErrorCode": INTERNAL}]}
    assert classify(answer(body), 2).failed == [1]
    body = {"FailedRecordCount": 1, "Records": [ACCEPTED, ACCEPTED]}
    assert classify(answer(body), 2) == retry.SETTLED


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
def test_garbage_means_that_nobody_knows(body: bytes) -> None:
    verdict = classify(answer(body), 2)
    assert verdict.outcome is Outcome.RETRY_ALL
    assert not verdict.throttled
    assert "endpoint" in verdict.hint


@pytest.mark.parametrize("tail", [b"", b',"EncryptionType":"KMS"'])
def test_an_answer_that_was_cut_off_is_garbage(tail: bytes) -> None:
    body = entries_answer([None, None]).body[:-1] + tail + b"}"
    assert classify(answer(body), 2) == retry.SETTLED
    for end in range(len(body)):
        assert classify(answer(body[:end]), 2).outcome is Outcome.RETRY_ALL


def test_too_many_entries_are_as_bad_as_too_few() -> None:
    assert classify(entries_answer([None] * 3), 2).outcome is Outcome.RETRY_ALL
    assert classify(entries_answer([None] * 1), 2).outcome is Outcome.RETRY_ALL


def judged(response: Response, n_records: int) -> tuple[Any, ...]:
    """Return all of a verdict but its texts."""
    verdict = classify(response, n_records)
    return verdict.outcome, list(verdict.failed), verdict.throttled


def judged_by_parsing(response: Response, n_records: int) -> tuple[Any, ...]:
    """Return the same without the short cut, which knows no white space."""
    spaced = response.body.replace(b'"SequenceNumber":', b'"SequenceNumber" :')
    return judged(response._replace(body=spaced), n_records)


codes = st.one_of(st.none(), st.sampled_from([THROTTLED, INTERNAL, "X"]))


@given(st.lists(codes, min_size=1, max_size=20), st.integers(-1, 1), st.data())
def test_the_short_cut_never_disagrees_with_parsing(
    said: list[str | None], more: int, data: st.DataObject
) -> None:
    response = entries_answer(said)
    n_records = max(1, len(said) + more)
    cut = data.draw(st.integers(0, len(response.body)))
    position = data.draw(st.integers(0, len(response.body) - 1))
    damaged = bytearray(response.body)
    damaged[position] = data.draw(st.integers(0, 127))
    for body in (response.body, response.body[:cut], response.body[cut:]):
        garbled = response._replace(body=body)
        assert judged(garbled, n_records) == judged_by_parsing(garbled, n_records)
    # One wrong byte inside a text cannot be seen; what counts is that no failure is overlooked.
    if classify(response._replace(body=bytes(damaged)), n_records) == retry.SETTLED:
        assert len(said) == n_records
        assert said.count(None) == n_records


# --- other answers ---


@pytest.mark.parametrize(
    "code",
    [THROTTLED, "LimitExceededException", "KMSThrottlingException", "ThrottlingException"],
)
def test_throttling_of_the_whole_request_passes(code: str) -> None:
    verdict = refusal(code)
    assert verdict.outcome is Outcome.RETRY_ALL
    assert verdict.throttled
    assert "add shards" in verdict.hint


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [b"", b"<html/>", b'{"__type":"InternalFailure"}'])
def test_trouble_of_the_service_passes(status: int, body: bytes) -> None:
    verdict = classify(answer(body, status), 3)
    assert verdict.outcome is Outcome.RETRY_ALL
    assert not verdict.throttled
    assert str(status) in verdict.reason


@pytest.mark.parametrize("code", ["InternalFailure", "InternalFailureException"])
def test_trouble_of_the_service_passes_whatever_the_status(code: str) -> None:
    assert refusal(code).outcome is Outcome.RETRY_ALL


def test_status_429_and_408_pass() -> None:
    assert classify(answer(b"", 429), 3).throttled
    assert classify(answer(b"", 429), 3).outcome is Outcome.RETRY_ALL
    assert classify(answer(b"", 408), 3).outcome is Outcome.RETRY_ALL


@pytest.mark.parametrize(
    ("code", "advice"),
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
def test_what_does_not_pass_by_itself_comes_with_advice(code: str, advice: str) -> None:
    verdict = refusal(code, "the reason")
    assert verdict.outcome is Outcome.BLOCKED
    assert verdict.reason == f"{code} (HTTP 400): the reason"
    assert advice in verdict.hint


def test_an_unknown_error_is_named_as_such() -> None:
    verdict = refusal("NeverHeardOf", "the reason")
    assert verdict.outcome is Outcome.BLOCKED
    assert verdict.reason == (
        "unrecognised error; the service says: NeverHeardOf (HTTP 400): the reason"
    )
    assert not verdict.hint


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    verdict = classify(answer(b"", status), 3)
    assert verdict.outcome is Outcome.BLOCKED
    assert "endpoint" in verdict.hint


@pytest.mark.parametrize("status", [400, 403, 404, 407])
def test_an_answer_of_somebody_else(status: int) -> None:
    verdict = classify(answer(b"<html>Forbidden</html>", status), 3)
    assert verdict.outcome is Outcome.BLOCKED
    assert verdict.reason == f"HTTP {status}: <html>Forbidden</html>"
    assert "proxy" in verdict.hint


def test_the_code_may_have_a_namespace_or_stand_in_the_header() -> None:
    kms = "com.amazonaws.kinesis.v20131202#KMSThrottlingException"
    assert refusal(kms).throttled
    header = {"X-Amzn-ErrorType": "AccessDeniedException:http://internal.example/"}
    verdict = classify(answer({"Message": "not you"}, 400, **header), 3)
    assert verdict.reason == "AccessDeniedException (HTTP 400): not you"


def test_fields_of_unexpected_types_do_no_harm() -> None:
    verdict = classify(answer({"__type": 7, "message": ["a"]}, 400), 3)
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
    assert classify(answer(b"<html>413</html>", 413), 3).outcome is Outcome.REFUSED


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
def test_a_bad_stream_name_is_not_the_fault_of_the_content(code: str, message: str) -> None:
    verdict = refusal(code, message)
    assert verdict.outcome is Outcome.BLOCKED
    assert "option stream" in verdict.hint


# --- no answer ---


def test_no_answer_may_pass() -> None:
    assert classify_exception(TransportError("time-out")).outcome is Outcome.RETRY_ALL
    assert classify_exception(TransportError("time-out")).reason == "time-out"
    verdict = classify_exception(KeyError("bug"))
    assert (verdict.outcome, verdict.reason) == (Outcome.RETRY_ALL, "KeyError: 'bug'")


def test_what_cannot_be_sent_does_not_pass() -> None:
    verdict = classify_exception(NotSentError("no credentials"))
    assert (verdict.outcome, verdict.reason) == (Outcome.BLOCKED, "no credentials")


# --- waits ---


def test_waits_grow_to_a_bound() -> None:
    bounds = [backoff_s(n, 1.0, 5.0, lambda: 1.0) for n in range(1, 6)]
    assert bounds == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff_s(5000, 1.0, 5.0, lambda: 1.0) == 5.0


@given(st.integers(1, 10_000), st.integers())
def test_waits_are_anywhere_below_the_bound(failures: int, seed: int) -> None:
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
def test_halves_are_all_of_it(n_records: int) -> None:
    first, second = halves(n_records)
    assert [*first, *second] == list(range(n_records))
    assert len(first) > 0
    assert len(second) > 0
