"""Chunks through KinesisOutput and real HTTP into a local Kinesis, read back and compared.

What should arrive comes from the golden files of the Go plugin, not from the encoder.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest
from chunks import GOLDEN_OPTIONS, chunk_of, load_chunk, load_golden
from local_stream import LocalStream
from outputs import assert_stats
from parsed_json import parsed

from kinesis_fast import FlushResult, KinesisOutput, OutputConfig
from kinesis_fast.cli.expectation import first_events, load_samples
from kinesis_fast.local.kinesis import LocalKinesis, LocalRecord

MIB = 1024 * 1024
PATIENCE_S = 20.0
RANDOM_KEY = re.compile("[a-zA-Z0-9]{8}")

# Chunks and options for which the Go plugin and this package agree on every record, but for the
# order of keys and for escapes that mean the same.
AGREED = [
    ("access_0", "plain"),
    ("access_1", "newline"),
    ("access_1", "datakeys"),
    ("access_1", "pk_host"),
    ("access_1", "timekey_newline"),
    ("k8s_1", "plain"),
    ("k8s_1", "pk_k8s"),
    ("k8s_1", "logkey_nl"),
    ("typed_0", "plain"),
    ("typed_0", "timekey_f"),
    ("fwd_evt_0", "timekey_L"),
    ("dummy_0", "timekey_pk"),
]


class Arrived(NamedTuple):
    """A record as it is compared: parsed when it is JSON; a key of None was chosen at random."""

    content: str
    partition_key: str | None


def comparable(data: bytes, partition_key: str | None) -> Arrived:
    """Return a record in a form that does not depend on the order of keys."""
    newline = data.endswith(b"\n")
    try:
        content = json.dumps(parsed(data.removesuffix(b"\n")), sort_keys=True)
    except ValueError:
        return Arrived(repr(data), partition_key)
    return Arrived(content + "\n" * newline, partition_key)


def arrived(records: Iterable[LocalRecord], random_keys: bool) -> Iterator[Arrived]:
    """Yield the records of a stream."""
    for record in records:
        if random_keys:
            assert RANDOM_KEY.fullmatch(record.partition_key)
        yield comparable(record.data, None if random_keys else record.partition_key)


def wanted(chunk: str, options: str, number: int) -> Iterator[Arrived]:
    """Yield the Go plugin's records for the first events of a chunk."""
    for row in load_golden(chunk, options).rows[:number]:
        assert row.data is not None
        yield comparable(row.data, row.partition_key.decode() if row.partition_key else None)


@pytest.fixture
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of the golden files."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_utc")
@pytest.mark.parametrize(
    ("chunk", "options", "concurrency"),
    [
        *((*agreed, "0") for agreed in AGREED),
        ("k8s_1", "plain", "2"),
        ("typed_0", "timekey_f", "2"),
    ],
)
def test_what_arrives_is_what_the_go_plugin_would_have_sent(
    stream: LocalStream, chunk: str, options: str, concurrency: str
) -> None:
    rows = load_golden(chunk, options).rows[:2000]
    wanted_records = Counter(wanted(chunk, options, len(rows)))
    config = {**stream.target, **GOLDEN_OPTIONS[options], "experimental_concurrency": concurrency}
    with KinesisOutput(OutputConfig.from_options(config)) as output:
        assert output.flush(first_events(load_chunk(chunk), len(rows)), "e2e") is FlushResult.OK
    random_keys = "partition_key" not in GOLDEN_OPTIONS[options]
    assert Counter(arrived(stream.read(), random_keys)) == wanted_records
    assert_stats(output, delivered=len(rows), in_=len(rows), pending=0)


@pytest.mark.usefixtures("_utc")
@pytest.mark.parametrize("name", ["access", "kubernetes", "typed", "odd"])
def test_the_packaged_samples(stream: LocalStream, name: str) -> None:
    sample = next(sample for sample in load_samples() if sample.name == name)
    config = OutputConfig.from_options({**stream.target, **sample.options})
    with KinesisOutput(config) as output:
        assert output.flush(sample.chunk) is FlushResult.OK
    assert_stats(output, delivered=len(sample.expected))
    records = stream.read()
    if "partition_key" in sample.options:
        fixed = {record.partition_key for record in sample.expected if record.partition_key}
        found = {
            comparable(r.data, r.partition_key if r.partition_key in fixed else None)
            for r in records
        }
    else:
        found = set(arrived(records, True))
    assert found == {comparable(*record) for record in sample.expected}
    assert len(records) == len(sample.expected)


def test_records_of_one_key_share_a_shard_and_keep_their_order(stream: LocalStream) -> None:
    bodies = [{"n": number, "key": f"key {number % 7}"} for number in range(1700)]
    options = {**stream.target, "partition_key": "key"}
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        assert output.flush(chunk_of(bodies)) is FlushResult.OK
    assert_stats(output, delivered=1700, requests=4)
    places: dict[str, str] = {}
    order: dict[str, list[int]] = {}
    for record in stream.read():
        assert places.setdefault(record.partition_key, record.shard_id) == record.shard_id
        order.setdefault(record.partition_key, []).append(json.loads(record.data)["n"])
    assert order == {f"key {k}": list(range(k, 1700, 7)) for k in range(7)}


def test_requests_up_to_the_limits_of_the_service_are_taken(stream: LocalStream) -> None:
    large = {"log": "x" * (MIB - 100)}
    bodies = [*([large] * 12), *({"n": n} for n in range(1001))]
    with KinesisOutput(OutputConfig.from_options(stream.target)) as output:
        assert output.flush(chunk_of(bodies)) is FlushResult.OK
    assert_stats(output, delivered=1013, dead=0, truncated=0, requests=5)
    sizes = Counter(len(record.data) for record in stream.read())
    assert sizes[MIB - 100 + len('{"log":""}')] == 12
    assert sizes.total() == 1013


def test_a_record_beyond_the_default_limit_is_cut_and_taken(stream: LocalStream) -> None:
    options = {**stream.target, "append_newline": "true"}
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        assert output.flush(chunk_of([{"log": "\u00e9" * MIB}])) is FlushResult.OK
    assert_stats(output, delivered=1, truncated=1)
    (record,) = stream.read()
    assert MIB - 2 <= len(record.data) + len(record.partition_key) <= MIB
    assert record.data.endswith("\u00e9[Truncated...]\n".encode())


def test_a_record_that_the_stream_refuses_is_dead_and_its_neighbours_arrive(
    stream: LocalStream,
) -> None:
    options = {**stream.target, "max_record_size": str(10 * MIB)}
    bodies = [{"n": 1}, {"log": "x" * (2 * MIB)}, {"n": 2}, {"n": 3}]
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        assert output.flush(chunk_of(bodies)) is FlushResult.OK
    assert_stats(output, delivered=3, dead=1, in_=4)
    assert sorted(r.data for r in stream.read()) == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


@pytest.mark.slow
def test_records_of_10_mib_when_the_stream_takes_them() -> None:
    with LocalKinesis(max_record_size=10 * MIB) as local, local.applied_environment():
        stream = LocalStream(local)
        options = {**stream.target, "max_record_size": str(10 * MIB)}
        exact = 10 * MIB - 8 - len('{"log":""}')
        bodies = [{"log": "x" * exact}, {"n": 1}, {"log": "y" * (exact + 1)}]
        with KinesisOutput(OutputConfig.from_options(options)) as output:
            assert output.flush(chunk_of(bodies)) is FlushResult.OK
        assert_stats(output, delivered=3, dead=0, truncated=1, requests=3)
        data = sorted((record.data for record in stream.read()), key=len)
        assert data[0] == b'{"n":1}'
        assert [len(one) + 8 for one in data[1:]] == [10 * MIB, 10 * MIB]
        assert sum(one.endswith(b"[Truncated...]") for one in data) == 1


def test_more_flushes_than_slots_all_arrive(stream: LocalStream) -> None:
    options = {**stream.target, "experimental_concurrency": "3"}
    n_retries = 0
    deadline = time.monotonic() + PATIENCE_S
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        for number in range(10):
            chunk = chunk_of({"chunk": number, "n": n} for n in range(600))
            while output.flush(chunk) is not FlushResult.OK:
                n_retries += 1
                assert time.monotonic() < deadline
                time.sleep(0.005)
    assert n_retries > 0
    assert_stats(output, delivered=6000, pending=0, dead=0, returned=600 * n_retries)
    found = Counter(record.data for record in stream.read())
    assert len(found) == found.total() == 6000


def test_a_missing_stream_gives_the_chunk_back(stream: LocalStream) -> None:
    options = {**stream.target, "stream": "no-such-stream"}
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        assert output.flush(chunk_of([{"n": 1}, {"n": 2}])) is FlushResult.RETRY
    assert_stats(output, returned=2, delivered=0)


def test_a_stream_can_be_named_by_its_arn(stream: LocalStream) -> None:
    arn = f"arn:aws:kinesis:{stream.local.region}:123456789012:stream/{stream.name}"
    options = {**stream.target, "stream": arn}
    with KinesisOutput(OutputConfig.from_options(options)) as output:
        assert output.flush(chunk_of([{"n": 1}])) is FlushResult.OK
    assert [record.data for record in stream.read()] == [b'{"n":1}']
