"""Shards are read in the order of their history, whatever fails in between."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from fake_stream import EPOCH, FakeStream, FakeTime, client_error

from kinesis_fast.reading.shards import LATEST, READ_LIMIT, ReadError, Start, StreamReader

URL = "http://127.0.0.1:1"
THROTTLED = "ProvisionedThroughputExceededException"


@pytest.fixture
def time() -> FakeTime:
    """A clock."""
    return FakeTime()


@pytest.fixture
def stream(time: FakeTime) -> FakeStream:
    """A stream with one shard."""
    return FakeStream(time)


def reader(stream: FakeStream, time: FakeTime, **settings: Any) -> StreamReader:
    """Return a reader with the test's clock."""
    return StreamReader(stream, "logs", timing=time.timing, **settings)


def data_of(stream: FakeStream, time: FakeTime, **settings: Any) -> list[bytes]:
    """Read a stream to its end."""
    return [
        record["Data"]
        for batch in reader(stream, time, **settings).batches()
        for record in batch.records
    ]


def follow(
    stream: FakeStream, time: FakeTime, n_records: int, **settings: Any
) -> list[tuple[str, bytes]]:
    """Follow a stream until so many records have come."""
    found: list[tuple[str, bytes]] = []
    for batch in reader(stream, time, follow=True, **settings).batches():
        found += [(batch.shard.id, record["Data"]) for record in batch.records]
        if len(found) >= n_records:
            break
    return found


def test_an_empty_stream_has_an_end(stream: FakeStream, time: FakeTime) -> None:
    assert data_of(stream, time) == []
    assert time.now == 0


def test_all_records_in_order(stream: FakeStream, time: FakeTime) -> None:
    for number in range(25):
        stream.put("shard-0", b"%d" % number)
    found = reader(stream, time).batches(lambda: 10)
    sizes = [len(batch.records) for batch in found]
    assert sizes == [10, 10, 5]
    assert data_of(stream, time) == [b"%d" % number for number in range(25)]


def test_calls_are_no_more_frequent_than_allowed(stream: FakeStream, time: FakeTime) -> None:
    for number in range(20):
        stream.put("shard-0", b"%d" % number)
    list(reader(stream, time).batches(lambda: 1))
    assert stream.n_calls("GetRecords") == 21
    assert time.now == pytest.approx(20 * 0.25)


def test_several_shards_are_read_in_turn(time: FakeTime) -> None:
    stream = FakeStream(time, 3)
    for number in range(6):
        stream.put(f"shard-{number % 3}", b"%d" % number)
    shards = [batch.shard.id for batch in reader(stream, time).batches(lambda: 1)]
    assert shards == ["shard-0", "shard-1", "shard-2"] * 2
    assert time.now == pytest.approx(0.5)


def test_at_most_10_000_records_a_call(stream: FakeStream, time: FakeTime) -> None:
    list(reader(stream, time).batches(lambda: 10**9))
    assert stream.calls[-1][1]["Limit"] == READ_LIMIT == 10_000


def test_an_empty_answer_is_no_end_while_records_follow(stream: FakeStream, time: FakeTime) -> None:
    stream.put("shard-0", b"late")
    stream.n_empty["shard-0"] = 5
    assert data_of(stream, time) == [b"late"]


def test_pages_of_shards_are_asked_for_with_the_token_alone(time: FakeTime) -> None:
    stream = FakeStream(time, 5)
    stream.page_size = 2
    for number in range(5):
        stream.put(f"shard-{number}", b"%d" % number)
    assert sorted(data_of(stream, time)) == [b"0", b"1", b"2", b"3", b"4"]
    pages = [parameters for name, parameters in stream.calls if name == "ListShards"]
    assert pages == [{"StreamName": "logs"}, {"NextToken": "2"}, {"NextToken": "4"}]


def test_parents_are_read_to_their_ends_before_their_children(time: FakeTime) -> None:
    stream = FakeStream(time, 2)
    for number in range(3):
        stream.put("shard-0", b"parent %d" % number)
        stream.put("shard-1", b"other %d" % number)
    left, right = stream.split("shard-0")
    stream.put(left, b"left")
    merged = stream.merge(right, "shard-1")
    stream.put(merged, b"merged")
    stream.put(left, b"left again")

    found = [
        record["Data"]
        for batch in reader(stream, time).batches(lambda: 1)
        for record in batch.records
    ]
    assert len(found) == 9
    assert found.index(b"parent 2") < found.index(b"left") < found.index(b"left again")
    assert found.index(b"parent 2") < found.index(b"merged")
    assert found.index(b"other 2") < found.index(b"merged")


def test_a_parent_that_no_longer_exists_is_not_waited_for(
    stream: FakeStream, time: FakeTime
) -> None:
    stream.put("shard-0", b"old")
    left, _ = stream.split("shard-0")
    stream.put(left, b"new")
    stream.remove("shard-0")
    assert data_of(stream, time) == [b"new"]


def test_a_closed_shard_ends_even_if_the_service_does_not_say_so(
    stream: FakeStream, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.put("shard-0", b"old")
    left, _ = stream.split("shard-0")
    stream.put(left, b"new")
    get_records = stream.get_records

    def endless(**parameters: Any) -> dict[str, Any]:
        return {"NextShardIterator": "shard-0:1", **get_records(**parameters)}

    monkeypatch.setattr(stream, "get_records", endless)
    assert [data for _, data in follow(stream, time, 2)] == [b"old", b"new"]


def test_following_shows_what_arrives_later(stream: FakeStream, time: FakeTime) -> None:
    stream.put("shard-0", b"before")
    time.at(10, lambda: stream.put("shard-0", b"later"))
    assert follow(stream, time, 2) == [("shard-0", b"before"), ("shard-0", b"later")]
    assert time.now == pytest.approx(10, abs=1)
    assert stream.n_calls("GetRecords") <= 13  # one a second
    assert stream.n_calls("GetShardIterator") == 1


def test_following_finds_the_children_of_a_split(stream: FakeStream, time: FakeTime) -> None:
    def split() -> None:
        left, right = stream.split("shard-0")
        stream.put(left, b"left")
        stream.put(right, b"right")

    stream.put("shard-0", b"parent")
    time.at(5, split)
    found = follow(stream, time, 3)
    assert found[0] == ("shard-0", b"parent")
    assert sorted(found[1:]) == [("shard-1", b"left"), ("shard-2", b"right")]


def test_latest_leaves_out_what_is_there(time: FakeTime) -> None:
    stream = FakeStream(time, 2)
    stream.put("shard-1", b"old")
    stream.put("shard-0", b"older")
    left, _ = stream.split("shard-0")
    stream.put(left, b"old")
    time.at(3, lambda: stream.put(left, b"new"))
    assert follow(stream, time, 1, start=LATEST) == [(left, b"new")]


def test_latest_reads_later_children_from_their_beginning(
    stream: FakeStream, time: FakeTime
) -> None:
    before, _ = stream.split("shard-0")
    stream.put(before, b"old")

    def split() -> None:
        left, _ = stream.split(before)
        stream.put(left, b"new")

    time.at(3, split)
    assert follow(stream, time, 1, start=LATEST) == [("shard-3", b"new")]
    assert "shard-0" not in {
        parameters["ShardId"] for name, parameters in stream.calls if name == "GetShardIterator"
    }


def test_from_a_time(stream: FakeStream, time: FakeTime) -> None:
    stream.put("shard-0", b"before")
    time.now = 60.0
    stream.put("shard-0", b"after")
    start = Start("AT_TIMESTAMP", EPOCH + timedelta(seconds=30))
    assert data_of(stream, time, start=start) == [b"after"]


def test_one_shard(time: FakeTime) -> None:
    stream = FakeStream(time, 2)
    stream.put("shard-0", b"0")
    stream.put("shard-1", b"1")
    assert data_of(stream, time, shard_id="shard-1") == [b"1"]
    left, _ = stream.split("shard-1")
    stream.put(left, b"child")
    assert data_of(stream, time, shard_id="shard-1") == [b"1"]
    assert data_of(stream, time, shard_id=left) == [b"child"]
    with pytest.raises(ReadError, match="no shard 'shard-9'; its shards: shard-0, shard-1"):
        data_of(stream, time, shard_id="shard-9")


def test_throttling_is_waited_out(stream: FakeStream, time: FakeTime) -> None:
    told: list[str] = []
    stream.put("shard-0", b"x")
    stream.failures["GetRecords"].extend([client_error(THROTTLED)] * 3)
    stream.failures["ListShards"].append(client_error("LimitExceededException", "ListShards"))
    stream.failures["GetShardIterator"].append(client_error(THROTTLED, "GetShardIterator"))
    assert data_of(stream, time, tell=told.append) == [b"x"]
    assert time.waits[:5] == [1, 1, 2, 4, 8]  # then the pause between two calls
    assert len(told) == 2
    assert told[1] == (
        f"{THROTTLED}: said the service; each shard takes 5 reads and 2 MB a second from all "
        "readers; trying again"
    )


def test_a_throttled_shard_does_not_stop_the_others(time: FakeTime) -> None:
    stream = FakeStream(time, 2)
    stream.put("shard-0", b"0")
    for number in range(4):
        stream.put("shard-1", b"%d" % number)
    stream.failures["GetRecords"].append(client_error(THROTTLED))
    shards = [batch.shard.id for batch in reader(stream, time).batches(lambda: 1)]
    assert shards == ["shard-1"] * 4 + ["shard-0"]


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        client_error("InternalFailure", status=500),
        client_error("AnythingElse", status=503),
        client_error("ResourceInUseException"),
        client_error("KMSThrottlingException"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_that_may_pass_are_waited_out(
    stream: FakeStream, time: FakeTime, error: Exception
) -> None:
    stream.put("shard-0", b"x")
    stream.failures["GetRecords"].extend([error] * 5)
    assert data_of(stream, time) == [b"x"]


def test_reading_ends_when_every_request_fails_for_long(stream: FakeStream, time: FakeTime) -> None:
    stream.put("shard-0", b"x")
    stream.failures["GetRecords"].extend([EndpointConnectionError(endpoint_url=URL)] * 100)
    with pytest.raises(ReadError, match="every request failed for 60 s: EndpointConnectionError"):
        data_of(stream, time)
    assert 60 < time.now < 100
    assert max(time.waits) <= 30


def test_the_shards_cannot_be_listed_for_long(stream: FakeStream, time: FakeTime) -> None:
    stream.failures["ListShards"].extend(
        [client_error("LimitExceededException", "ListShards")] * 99
    )
    with pytest.raises(ReadError, match="every request failed for 5 s"):
        data_of(stream, time, patience_s=5)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            client_error("AccessDeniedException"),
            "AccessDeniedException: said the service; allow kinesis:ListShards, "
            "kinesis:GetShardIterator and kinesis:GetRecords on the stream",
        ),
        (client_error("ResourceNotFoundException"), "no such stream in this account"),
        (client_error("ExpiredTokenException"), "the credentials have expired"),
        (client_error("InvalidArgumentException"), "InvalidArgumentException: said the service"),
        (NoCredentialsError(), "give the process AWS credentials"),
        (client_error("AccessDenied", "AssumeRole", 403), "the trust policy of the role"),
    ],
    ids=["denied", "no stream", "expired", "argument", "no credentials", "role"],
)
def test_failures_that_do_not_pass_end_it_at_once(
    stream: FakeStream, time: FakeTime, error: Exception, text: str
) -> None:
    stream.failures["GetRecords"].append(error)
    with pytest.raises(ReadError) as caught:
        data_of(stream, time)
    assert text in str(caught.value)
    assert time.now == 0


def test_an_expired_iterator_goes_on_behind_the_last_record(
    stream: FakeStream, time: FakeTime
) -> None:
    for number in range(4):
        stream.put("shard-0", b"%d" % number)
    stream.failures["GetRecords"].extend([None, None, client_error("ExpiredIteratorException")])
    found = [
        record["Data"]
        for batch in reader(stream, time).batches(lambda: 1)
        for record in batch.records
    ]
    assert found == [b"0", b"1", b"2", b"3"]
    assert [parameters for name, parameters in stream.calls if name == "GetShardIterator"][1] == {
        "StreamName": "logs",
        "ShardId": "shard-0",
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "StartingSequenceNumber": "2",
    }


def test_an_iterator_that_expires_before_the_first_record_skips_nothing(
    stream: FakeStream, time: FakeTime
) -> None:
    stream.put("shard-0", b"old")
    time.now = 10.0
    expired = client_error("ExpiredIteratorException")
    stream.failures["GetRecords"].extend([None, None, expired])
    time.at(11.5, lambda: stream.put("shard-0", b"new"))
    assert follow(stream, time, 1, start=LATEST) == [("shard-0", b"new")]
    again = [parameters for name, parameters in stream.calls if name == "GetShardIterator"][1]
    assert again["Timestamp"] == EPOCH + timedelta(seconds=10)


def test_iterators_that_always_expire_do_not_make_it_spin(
    stream: FakeStream, time: FakeTime
) -> None:
    stream.failures["GetRecords"].extend([client_error("ExpiredIteratorException")] * 1000)
    with pytest.raises(ReadError, match="ExpiredIteratorException"):
        data_of(stream, time)
    assert stream.n_calls("GetRecords") < 20


def test_ctrl_c_ends_a_wait(stream: FakeStream, time: FakeTime) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    time.at(2, interrupt)
    with pytest.raises(KeyboardInterrupt):
        follow(stream, time, 1)


def test_a_stream_may_be_named_by_its_arn(time: FakeTime) -> None:
    class ByArn(FakeStream):
        def list_shards(self, **parameters: Any) -> dict[str, Any]:
            return super().list_shards(StreamName=parameters.pop("StreamARN"))

    stream = ByArn(time)
    stream.put("shard-0", b"x")
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/logs"
    found = StreamReader(stream, arn, timing=time.timing).batches()
    assert [len(batch.records) for batch in found] == [1]
    assert stream.calls[1][1]["StreamARN"] == arn
