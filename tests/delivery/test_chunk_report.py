"""The lines about one flush: what happened to its records, and why."""

import logging

import pytest
from chunks import chunk_of
from fake_transport import FakeTime, FakeTransport, error, fail
from outputs import assert_stats, new_output, numbered

from kinesis_fast import FlushResult

OK, RETRY = FlushResult.OK, FlushResult.RETRY


def test_the_line_about_what_is_returned(caplog: pytest.LogCaptureFixture) -> None:
    transport, time = FakeTransport(then=fail(0)), FakeTime()
    output = new_output(transport, time)
    assert output.flush(numbered(range(1200)), "app.log") is RETRY
    assert transport.sizes == [500, 1, 1, 1]
    assert time.waits == [0.25, 0.5, 1.0]
    assert_stats(output, in_=1200, delivered=499, returned=701, retried=3, throttles=4)
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == [
        "chunk 'app.log': returning 701 of 1200 records to Fluent Bit (RETRY): "
        "PutRecords failed after 4 attempts: 1 of 1 records were not "
        "accepted (1 x ProvisionedThroughputExceededException): "
        "ProvisionedThroughputExceededException on shard 0 "
        "(the stream is at its limit: add shards, or spread the partition keys)"
    ]


def test_the_line_has_a_hint(caplog: pytest.LogCaptureFixture) -> None:
    output = new_output(FakeTransport(then=error(400, "AccessDeniedException", "User: x\ty")))
    output.flush(numbered(range(2)), "bad\x1btag")
    assert caplog.messages[-1] == (
        "chunk 'bad\\x1btag': returning 2 of 2 records to Fluent Bit (RETRY): "
        "PutRecords failed after 1 attempt: "
        "AccessDeniedException (HTTP 400): User: x\\ty "
        "(allow kinesis:PutRecords on the stream for these credentials)"
    )


def test_one_warning_per_flush_says_what_happened(caplog: pytest.LogCaptureFixture) -> None:
    bodies = [{"log": "x" * 2000, "k": "key"}, {"log": "b"}, 7, {"k": "key"}, {"log": "c"}]
    chunk = chunk_of(bodies * 300)
    output = new_output(FakeTransport(), partition_key="k", log_key="log", max_record_size="1024")
    assert output.flush(chunk + b"\xc1rest", "app") is OK
    assert_stats(output, in_=1501, delivered=900, skipped=601, random_keys=600, truncated=300)
    assert_stats(output, skipped_not_map=300, skipped_no_log_key=300, skipped_malformed=1)
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == [
        "chunk 'app': records skipped because the body of the event is not a map: 300; "
        "records cut to max_record_size: 300; "
        "records skipped because they lack log_key 'log': 300; "
        "records with a random partition key because they lack partition_key 'k': 600; "
        f"malformed or cut off at byte {len(chunk)}; the rest is skipped"
    ]


@pytest.mark.parametrize(
    ("options", "counter", "line"),
    [
        (
            {"data_keys": "Level,msg"},
            "no_data_keys",
            "sent as {} because they have none of data_keys 'Level,msg': 600 "
            "(names are exact, in upper and lower case too)",
        ),
        (
            {"partition_key": "kubernetes.pod_name"},
            "random_keys",
            "with a random partition key because they lack partition_key 'kubernetes.pod_name': "
            "600 (if the key is inside a map, write kubernetes->pod_name)",
        ),
        (
            {"log_key": "message,log"},
            "skipped_no_log_key",
            "skipped because they lack log_key 'message,log': 600 (log_key is one key, not a list)",
        ),
    ],
)
def test_an_option_that_matches_no_record_has_a_hint(
    options: dict[str, str], counter: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = new_output(FakeTransport(), None, **options)
    assert output.flush(chunk_of([{"level": "info"}] * 600), "app") is OK
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"chunk 'app': records {line}"]
    stats: dict[str, int] = output.stats()
    assert stats[counter] == 600
    assert_stats(output, in_=600)


@pytest.mark.parametrize(
    ("option", "value"), [("data_keys", "a.b"), ("partition_key", "a.b"), ("log_key", "a.b")]
)
def test_an_option_that_matches_some_records_has_no_hint(
    option: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first request is as it should be, so the option is not the reason."""
    output = new_output(FakeTransport(), None, **{option: value})
    assert output.flush(chunk_of([*[{"a.b": "x"}] * 500, *[{"c": 1}] * 100])) is OK
    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.endswith(f"{option} 'a.b': 100")


def test_records_after_the_last_request_are_counted() -> None:
    output = new_output(FakeTransport())
    assert output.flush(chunk_of([7, 8])) is OK
    assert_stats(output, in_=2, skipped=2, skipped_not_map=2, requests=0)
