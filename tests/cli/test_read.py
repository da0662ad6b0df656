"""`kinesis-fast read`: what it shows, counts and says, and how it ends."""

from __future__ import annotations

import base64
import gzip
import json
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import cramjam
import pytest
from command import COMMAND, as_arguments, lines, start_command
from kpl_aggregates import aggregate
from local_stream import LocalStream

from kinesis_fast.cli import main, read, shown
from kinesis_fast.local.kinesis import LocalKinesis, plain_client
from kinesis_fast.reading import inflate
from kinesis_fast.reading.kpl import SubRecord

LAST = str(2**128 - 1)
NOT_UTF8 = b"\xff\x00 not UTF-8"


class Result:
    """What one run printed, and its exit code."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of jsonl."""
        return [json.loads(line) for line in self.out.splitlines()]


Read = Callable[..., Result]


@pytest.fixture
def run(stream: LocalStream, capfdbinary: pytest.CaptureFixture[bytes]) -> Read:
    """Runs the command in this process, on the test's stream."""

    def run_it(*arguments: str) -> Result:
        code = main(["read", *arguments, *as_arguments(stream.target)])
        out, err = capfdbinary.readouterr()
        return Result(code, out, err.decode())

    return run_it


def put(stream: LocalStream, *entries: dict[str, Any]) -> None:
    """Put entries of PutRecords; without a key or hash key they go to the first shard."""
    client = plain_client(stream.local.endpoint, stream.local.region)
    records = [{"PartitionKey": "k", "ExplicitHashKey": "0", **entry} for entry in entries]
    assert not client.put_records(StreamName=stream.name, Records=records)["FailedRecordCount"]
    client.close()


def test_text_is_the_data_each_record_from_a_new_line_on(stream: LocalStream, run: Read) -> None:
    put(stream, {"Data": b"one"}, {"Data": b"two\n"}, {"Data": NOT_UTF8}, {"Data": b"a\nb\n"})
    result = run()
    assert result.code == 0
    assert result.out == b"one\ntwo\n" + NOT_UTF8 + b"\na\nb\n"
    assert result.err == (
        "4 records (5 lines) from 4 stored records, 0 of them aggregates; 27 bytes stored, "
        "23 bytes of data\n"
    )


def test_an_empty_stream(run: Read) -> None:
    result = run()
    assert (result.code, result.out) == (0, b"")
    assert result.err.startswith("0 records from 0 stored records, 0 of them aggregates; ")


def test_jsonl_has_all_fields(stream: LocalStream, run: Read) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    several = [SubRecord("a", "5", b"sub 0"), SubRecord("b", "6", gzip.compress(b"sub 1"))]
    put(stream, {"Data": "caf\u00e9".encode(), "PartitionKey": "k\u00e9y"}, {"Data": NOT_UTF8})
    put(stream, {"Data": aggregate(several)})
    result = run("--format", "jsonl")
    for record in result.records:
        arrival = datetime.fromisoformat(record.pop("arrival"))
        assert before <= arrival <= datetime.now(UTC)
        assert arrival.utcoffset() == timedelta(0)
    common = {"shard": "shardId-000000000000", "explicit_hash_key": None, "compression": None}
    sub = {"shard": "shardId-000000000000", "sequence_number": "3"}
    found = result.records
    for record in found:
        del record["arrival"]
    assert found == [
        {
            **common,
            "sequence_number": "1",
            "sub_sequence_number": None,
            "partition_key": "k\u00e9y",
            "data": "caf\u00e9",
        },
        {
            **common,
            "sequence_number": "2",
            "sub_sequence_number": None,
            "partition_key": "k",
            "data_base64": base64.b64encode(NOT_UTF8).decode(),
        },
        {
            **sub,
            "sub_sequence_number": 0,
            "partition_key": "a",
            "explicit_hash_key": "5",
            "compression": None,
            "data": "sub 0",
        },
        {
            **sub,
            "sub_sequence_number": 1,
            "partition_key": "b",
            "explicit_hash_key": "6",
            "compression": "gzip",
            "data": "sub 1",
        },
    ]
    assert "4 records from 3 stored records, 1 of them aggregates;" in result.err
    assert ", 1 inflated\n" in result.err
    assert result.err.endswith("KCL would drop 0 of 2 records in aggregates\n")


def test_compressed_data_is_inflated(stream: LocalStream, run: Read) -> None:
    joined = lines(300)
    put(stream, {"Data": gzip.compress(joined)}, {"Data": zlib.compress(b"zlib")})
    result = run()
    assert result.out == joined + b"zlib\n"
    assert "2 records (301 lines) from 2 stored records" in result.err
    assert f"{len(joined) + 4:,} bytes of data, 2 inflated" in result.err


def test_raw_snappy_has_to_be_named(stream: LocalStream, run: Read) -> None:
    compressed = bytes(cramjam.snappy.compress_raw(lines(20)))
    put(stream, {"Data": compressed})
    assert run("--raw").out == compressed
    assert run("--compression", "snappy").out == lines(20)
    result = run("--compression", "gzip")
    assert result.out == compressed + (b"" if compressed.endswith(b"\n") else b"\n")
    assert result.code == 0
    assert (
        "shown as it is stored: a record of 1 in shardId-000000000000 is not gzip: " in result.err
    )
    assert "shown as stored, as they could not be inflated: 1" in result.err


def test_nothing_is_inflated_if_that_is_asked_for(stream: LocalStream, run: Read) -> None:
    compressed = gzip.compress(b"text")
    put(stream, {"Data": aggregate([SubRecord("k", None, compressed)])})
    assert run("--compression", "none").out == compressed + b"\n"
    assert run().out == b"text\n"


def test_raw_is_what_is_stored_byte_for_byte(stream: LocalStream, run: Read) -> None:
    stored = [gzip.compress(b"one"), aggregate([SubRecord("a", None, b"x")] * 3), b"plain"]
    put(stream, *({"Data": data} for data in stored))
    result = run("--raw")
    assert result.out == b"".join(stored)
    assert "3 records from 3 stored records, 0 of them aggregates" in result.err
    found = run("--raw", "--format", "jsonl").records
    assert [base64.b64decode(record["data_base64"]) for record in found[:2]] == stored[:2]
    assert [record["sub_sequence_number"] for record in found] == [None] * 3


def test_a_record_that_only_looks_compressed_is_named(stream: LocalStream, run: Read) -> None:
    damaged = gzip.compress(lines(100))[:-9]
    put(stream, *({"Data": damaged} for _ in range(shown.NAMED_PROBLEMS + 5)))
    result = run()
    assert result.code == 0
    assert result.out.startswith(damaged)
    assert result.err.count("is not gzip: its end is missing") == shown.NAMED_PROBLEMS
    assert "could not be inflated: 15\n" in result.err


def test_a_bomb_is_shown_as_it_is_stored(
    stream: LocalStream, run: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflate, "MAX_INFLATED_BYTES", 1 << 20)
    bomb = gzip.compress(bytes((1 << 20) + 1))
    put(stream, {"Data": bomb})
    result = run("--raw")
    assert result.out == bomb
    assert "is not gzip: it holds more than 1 MiB" in run().err


def test_a_missing_library_is_an_error_that_names_the_extra(
    stream: LocalStream, run: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    put(stream, {"Data": b"shown"}, {"Data": inflate.ZSTD_MAGIC + b"rest"}, {"Data": b"not shown"})
    result = run()
    assert (result.code, result.out) == (1, b"shown\n")
    assert "pip install 'kinesis-fast[zstd]'" in result.err


def test_what_kcl_would_drop_is_named(stream: LocalStream, run: Read) -> None:
    inside = [SubRecord("a", "0", b"kept")] * 2
    outside = [SubRecord("b", "0", b"lost"), SubRecord("c\n", LAST, b"lost too")]
    put(stream, {"Data": aggregate(inside)}, {"Data": aggregate(outside)}, {"Data": b"bare"})
    everything = run()
    assert everything.code == 0
    assert everything.out == b"kept\nkept\nlost\nlost too\nbare\n"
    survivors = run("--rule", "kcl")
    assert survivors.code == 1
    assert survivors.out == b"kept\nkept\nbare\n"
    third = (2**128) // 3 - 1
    for result in (everything, survivors):
        assert (
            "KCL would drop 2 records, the whole aggregate 2 in shardId-000000000000: its record "
            f"1, partition key 'c\\\\n', has the hash key {LAST}, and the shard has 0 to {third}"
        ) in result.err
        assert result.err.endswith("KCL would drop 2 of 4 records in aggregates\n")


def test_only_some_aggregates_are_named(stream: LocalStream, run: Read) -> None:
    outside = aggregate([SubRecord("k", "none", b"x")])
    put(stream, *({"Data": outside} for _ in range(shown.NAMED_AGGREGATES + 5)))
    result = run("--rule", "kcl")
    assert result.code == 1
    assert result.err.count("has the hash key none") == shown.NAMED_AGGREGATES
    assert "further aggregates that KCL would drop are only counted" in result.err
    assert "KCL would drop 15 of 15 records in aggregates" in result.err


@pytest.mark.parametrize("number", [1, 3, 4, 6, 7])
def test_the_limit_counts_records_within_aggregates_too(
    stream: LocalStream, run: Read, number: int
) -> None:
    put(stream, {"Data": aggregate([SubRecord("k", "0", b"%d" % i) for i in range(4)])})
    put(stream, {"Data": b"4"}, {"Data": b"5"})
    result = run("--limit", str(number))
    assert result.code == 0
    assert result.out == b"".join(b"%d\n" % i for i in range(min(number, 6)))
    assert result.err.startswith(f"{min(number, 6)} record")


def test_one_shard(stream: LocalStream, run: Read) -> None:
    put(stream, {"Data": b"first"}, {"Data": b"last", "ExplicitHashKey": LAST})
    assert run("--shard", "shardId-000000000002").out == b"last\n"
    result = run("--shard", "shardId-000000000009")
    assert (result.code, result.out) == (1, b"")
    assert "the stream has no shard 'shardId-000000000009'; its shards: shardId-0000" in result.err
    assert "stored record" not in result.err


def test_from_a_time_or_an_age(stream: LocalStream, run: Read) -> None:
    put(stream, {"Data": b"x"})
    later = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for start in ("oldest", "1h", "2d", later, later.replace("+00:00", "Z"), "2020-01-01"):
        assert run("--from", start).out == b"x\n", start


def test_a_time_without_an_offset_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert read._start("2026-01-01T00:00:00Z").time == datetime(2026, 1, 1, tzinfo=UTC)
        local = datetime(2025, 12, 31, 18, 30, tzinfo=UTC)
        assert read._start("2026-01-01T00:00:00").time == local
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--from", "latest"], "--from latest shows what arrives from now on: add --follow"),
        (["--from", "yesterday"], "'yesterday' is not oldest, latest, an age such as 90s"),
        (["--from", "2999-01-01"], "2999-01-01 is in the future"),
        (["--from", "0001-01-01T00:00:00+23:00"], "is not oldest, latest, an age"),
        (["--limit", "0"], "'0' is not a whole number >= 1"),
        (["--local", "http://10.0.0.1:80"], "is not a port or a URL of this machine"),
        (["--local", "ftp://127.0.0.1"], "is not a port or a URL of this machine"),
        (["--local", "4567", "-p", "endpoint=http://x"], "leave out -p endpoint"),
        (["--rule", "kpl"], "invalid choice: 'kpl'"),
        ([], "region"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    if "latest" in arguments:
        arguments += ["-p", "region=us-east-1", "-p", "stream=s"]
    assert main(["read", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_a_stream_that_does_not_exist(run: Read, stream: LocalStream) -> None:
    stream.name = "nowhere"
    result = run()
    assert result.code == 1
    assert result.err.endswith("; no such stream in this account: check stream, region, role_arn\n")


@pytest.mark.slow
def test_nothing_answers_for_so_long(capsys: pytest.CaptureFixture[str]) -> None:
    target = {"region": "us-east-1", "stream": "s", "endpoint": "http://127.0.0.1:1"}
    with LocalKinesis.applied_environment():
        assert main(["read", "--patience", "1", *as_arguments(target)]) == 1
    err = capsys.readouterr().err
    assert "EndpointConnectionError" in err
    assert "; trying again\n" in err
    assert "every request failed for 1 s: EndpointConnectionError" in err


def test_without_credentials_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in LocalKinesis.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    target = {"region": "us-east-1", "stream": "s", "endpoint": "http://127.0.0.1:1"}
    assert main(["read", *as_arguments(target)]) == 1
    assert "give the process AWS credentials, or set profile" in capsys.readouterr().err


def test_control_characters_are_escaped_on_a_terminal(
    stream: LocalStream, run: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(stream, {"Data": b"\x1b[31mred\r\xff\nsecond\n"}, {"Data": "caf\u00e9".encode()})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    shown_text = b"\\x1b[31mred\\r\\xff\nsecond\ncaf\xc3\xa9\n"
    assert run().out == shown_text
    assert run("--raw").out == shown_text
    assert b"\x1b" not in run("--format", "jsonl").out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(stream: LocalStream, number: signal.Signals) -> None:
    put(stream, {"Data": b"there"})
    with start_command("read", "--follow", *as_arguments(stream.target)) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "there\n"
        put(stream, {"Data": b"later"})
        assert running.stdout.readline() == "later\n"
        running.send_signal(number)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 128 + number
    assert err == (
        "2 records from 2 stored records, 0 of them aggregates; 12 bytes stored, 10 bytes of data\n"
    )


def test_following_starts_with_what_arrives_from_now_on(stream: LocalStream) -> None:
    put(stream, {"Data": b"old"})
    arguments = ["--follow", "--from", "latest", "--limit", "1", "--debug"]
    with start_command("read", *arguments, *as_arguments(stream.target)) as running:
        found: list[bytes] = []
        while running.poll() is None and len(found) < 200:  # until it has asked for the latest
            found.append(b"new %d" % len(found))
            put(stream, {"Data": found[-1]})
        out, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert out.encode().strip() in found


def test_a_pipe_that_is_closed_ends_it_quietly(stream: LocalStream) -> None:
    put(stream, *({"Data": b"x" * 1000} for _ in range(500)))
    command = [COMMAND, "read", *as_arguments(stream.target)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=LocalKinesis.environment(),
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(30) == 128 + signal.SIGPIPE
