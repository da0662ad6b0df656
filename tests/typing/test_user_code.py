"""Code as a user writes it: it runs, and `make lint` checks its types with mypy --strict.

The code below TYPE_CHECKING is wrong on purpose. Each `type: ignore` there marks an error that mypy
has to report, because mypy rejects an ignore comment that suppresses nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import pytest

import kinesis_fast
from kinesis_fast import (
    ClosedError,
    ConfigError,
    FlushResult,
    KinesisFastError,
    KinesisOutput,
    NotSentError,
    OutputConfig,
    Record,
    RecordEncoder,
    Request,
    Response,
    SendFailureTimeout,
    Stats,
    StorageError,
    Timing,
    Transport,
    TransportError,
)
from kinesis_fast.host import entry
from kinesis_fast.transport import Response as ResponseOfTransport

CHUNK = b"\x92\x92\xd7\x00\x00\x00\x00\x01\x00\x00\x00\x00\x80\x81\xa1a\x01"  # {"a": 1} at 1 s
OPTIONS = {"region": "eu-west-1", "stream": "logs"}


class MyTransport:
    """Accepts every record."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        self.bodies.append(bytes(body))
        results = [{"SequenceNumber": "1", "ShardId": "shardId-0"}] * n_records
        content = json.dumps({"FailedRecordCount": 0, "Records": results}).encode()
        return Response(200, {"Content-Type": "application/x-amz-json-1.1"}, content)


class WithoutCredentials:
    """Never sends."""

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        raise NotSentError("no credentials")


def options_of(config: OutputConfig) -> tuple[str, tuple[str, ...], str | None, bool, float, int]:
    """Return options of different types."""
    return (
        config.region,
        config.partition_key,
        config.log_key,
        config.append_newline,
        config.http_request_timeout,
        config.max_in_flight,
    )


def shares_of(stats: Stats) -> int:
    """Return the right side of the account."""
    return (
        stats["delivered"] + stats["skipped"] + stats["dead"] + stats["pending"] + stats["returned"]
    )


def total(counters: dict[str, int]) -> int:
    """Return a sum, as code does that was written for a plain dict."""
    return sum(counters.values())


def test_a_flush_through_an_own_transport() -> None:
    transport: Transport = MyTransport()
    timing = Timing(wait=lambda condition, seconds: None)
    with KinesisOutput(OutputConfig.from_options(OPTIONS), transport, timing=timing) as output:
        result = output.flush(CHUNK, tag="app.log")
        assert_type(result, FlushResult)
        stats: kinesis_fast.Stats = output.stats()
    assert result is FlushResult.OK
    assert stats["in"] == stats["delivered"] == shares_of(stats) == 1
    assert isinstance(transport, MyTransport)
    assert json.loads(transport.bodies[0])["StreamName"] == "logs"


def test_stats_are_a_dict_too() -> None:
    with KinesisOutput(OutputConfig.from_options(OPTIONS), MyTransport()) as output:
        plain: dict[str, int] = output.stats()
        names = ("in", "delivered")
        assert [plain[name] for name in names] == [0, 0]
        assert total(output.stats()) == 0
        assert json.loads(json.dumps(output.stats())) == plain
        assert {**plain} == plain
        for name, value in output.stats().items():
            assert_type(name, str)
            assert_type(value, int)


@pytest.mark.parametrize("chunk", [CHUNK, bytearray(CHUNK), memoryview(CHUNK)])
def test_an_own_error_is_a_retry(chunk: bytes | bytearray | memoryview) -> None:
    timing = Timing(clock=lambda: 0.0, wait=lambda condition, seconds: None, random=lambda: 0.5)
    config = OutputConfig.from_options(OPTIONS)
    with KinesisOutput(config, WithoutCredentials(), timing=timing) as output:
        assert output.flush(chunk) is FlushResult.RETRY
        assert output.stats()["returned"] == 1


def test_options_have_types() -> None:
    config = OutputConfig.from_options(OPTIONS | {"partition_key": "a->b"})
    assert_type(config.transport, str)
    assert_type(config.spool_dir, str | None)
    assert options_of(config) == ("eu-west-1", ("a", "b"), None, False, 30.0, 4)
    assert_type(config.warnings(), list[str])


def n_records_of(requests: Iterator[Request]) -> int:
    """Return a count over requests, which are released at once."""
    n_records = 0
    for request in requests:
        n_records += request.n_records
        assert len(request.body) > 0
        request.release()
    return n_records


def test_the_encoder_gives_records_and_requests() -> None:
    encoder = RecordEncoder(OutputConfig.from_options(OPTIONS))
    (record,) = encoder.records(CHUNK)
    assert_type(record, Record)
    data, partition_key = record
    assert (data, len(partition_key)) == (b'{"a":1}', 8)
    requests: Iterator[Request] = encoder.requests(CHUNK)
    assert n_records_of(requests) == encoder.count(CHUNK) == 1


def test_errors_form_a_hierarchy(tmp_path: Path) -> None:
    kinds: tuple[type[KinesisFastError], ...] = (
        *(ConfigError, ClosedError, SendFailureTimeout, TransportError, StorageError),
    )
    assert all(issubclass(kind, KinesisFastError) for kind in kinds)
    not_sent: type[TransportError] = NotSentError
    assert issubclass(not_sent, TransportError)
    with pytest.raises(ValueError, match="region is missing"):
        OutputConfig.from_options({"stream": "logs"})
    (tmp_path / "file").touch()
    options = OPTIONS | {"dead_letter_dir": str(tmp_path / "file")}
    with pytest.raises(StorageError):
        KinesisOutput(OutputConfig.from_options(options), MyTransport())
    output = KinesisOutput(OutputConfig.from_options(OPTIONS), MyTransport())
    output.close(timeout_s=0.0)
    with pytest.raises(ClosedError):
        output.flush(CHUNK)


def test_the_older_names_remain() -> None:
    assert ResponseOfTransport is Response
    calls: Mapping[str, Callable[..., int | list[str]]] = {
        "init": entry.init,
        "flush": entry.flush,
        "exit": entry.exit,
        "option_names": entry.option_names,
    }
    assert entry.option_names()[:2] == ["region", "stream"]
    assert all(map(callable, calls.values()))


def test_all_public_names_exist() -> None:
    assert sorted(kinesis_fast.__all__) == kinesis_fast.__all__
    assert all(getattr(kinesis_fast, name) is not None for name in kinesis_fast.__all__)


if TYPE_CHECKING:

    class TakesBytes:
        def send(self, body: bytes, n_records: int, timeout_s: float | None) -> Response: ...

    class ReturnsAStatus:
        def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> int: ...

    class NeedsATimeout:
        def send(self, body: memoryview, n_records: int, timeout_s: float) -> Response: ...

    class PostsInstead:
        def post(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response: ...

    def refused(config: OutputConfig, output: KinesisOutput, encoder: RecordEncoder) -> None:
        KinesisOutput(config, TakesBytes())  # type: ignore[arg-type]
        KinesisOutput(config, ReturnsAStatus())  # type: ignore[arg-type]
        KinesisOutput(config, NeedsATimeout())  # type: ignore[arg-type]
        KinesisOutput(config, PostsInstead())  # type: ignore[arg-type]
        KinesisOutput(config, timing=Timing(wait=lambda: None))  # type: ignore[misc,arg-type]
        KinesisOutput(OPTIONS)  # type: ignore[arg-type]
        KinesisOutput(config, MyTransport(), lambda reason: None)  # type: ignore[call-arg,arg-type]
        OutputConfig.from_options({"region": "eu-west-1", "max_in_flight": 4})  # type: ignore[dict-item]
        OutputConfig()  # type: ignore[call-arg]
        OutputConfig(region="eu-west-1", stream="logs")  # type: ignore[call-arg]
        print(config.regoin)  # type: ignore[attr-defined]
        config.region = "eu-west-1"  # type: ignore[misc]
        config.log_key.upper()  # type: ignore[union-attr]
        output.flush("text")  # type: ignore[arg-type]
        output.flush(CHUNK, b"tag")  # type: ignore[arg-type]
        output.flush(CHUNK).retry()  # type: ignore[attr-defined]
        output.stats()["delivrd"]  # type: ignore[index]
        output.stats()["delivered"].upper()  # type: ignore[attr-defined]
        output.close("soon")  # type: ignore[arg-type]
        print(encoder.records(CHUNK).partition_key)  # type: ignore[attr-defined]
        print(next(encoder.records(CHUNK)).key)  # type: ignore[attr-defined]
        Response(200, {})  # type: ignore[call-arg]
        Response("200", {}, b"")  # type: ignore[arg-type]
        Timing(0.0)  # type: ignore[arg-type]
