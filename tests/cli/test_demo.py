"""`kinesis-fast demo` reports whether every record arrived."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from command import run_command

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.cli import demo, main
from kinesis_fast.cli.expectation import Comparison, Expected, signature
from kinesis_fast.local.kinesis import LocalKinesis, LocalRecord

# But for run_command: that starts a local Kinesis in a process of its own.
pytestmark = pytest.mark.usefixtures("shared_local")

Change = Callable[[list[LocalRecord]], list[LocalRecord]]


def test_all_records_arrive_as_the_go_plugin_made_them() -> None:
    done = run_command("demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "compared with the packaged output of the Go plugin for the same chunks" in done.stdout
    assert done.stdout.endswith("\ndelivered 10000 of 10000\n")
    shards = [line.split() for line in done.stdout.splitlines() if line.startswith("shardId-")]
    assert len(shards) == 4
    assert sum(int(number.replace(",", "")) for _, number, _ in shards) == 10_000
    assert "MB/s" in done.stdout


@pytest.mark.parametrize("number", [1, 399, 951])
def test_any_number_of_records(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--records", str(number)]) == 0
    assert capsys.readouterr().out.endswith(f"\ndelivered {number} of {number}\n")


def test_options_that_keep_the_records_keep_the_packaged_expectation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["-p", "experimental_concurrency=3", "-p", "append_newline=on"]
    assert main(["demo", "--records", "2000", *options]) == 0
    out = capsys.readouterr().out
    assert "the packaged output" in out
    assert out.endswith("\ndelivered 2000 of 2000\n")


def test_options_that_change_the_records_are_compared_with_the_encoder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["-p", "log_key=log", "-p", "partition_key=stream"]
    assert main(["demo", "--records", "950", *options]) == 0
    out = capsys.readouterr().out
    assert "compared with the output of RecordEncoder, because -p changes the records" in out
    assert "skipped as the options say: 726 records" in out
    assert out.endswith("\ndelivered 224 of 224\n")


@pytest.mark.parametrize(
    "options",
    [
        "aggregation=true",
        "aggregation=true partition_key=stream",
        "aggregation=true compression=gzip",
        "simple_aggregation=true",
        "simple_aggregation=true partition_key=stream compression=zstd",
        "compression=snappy",
    ],
)
def test_what_a_consumer_sees_does_not_depend_on_aggregation_and_compression(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [part for option in options.split() for part in ("-p", option)]
    assert main(["demo", "--records", "950", *arguments]) == 0
    assert capsys.readouterr().out.endswith("\ndelivered 950 of 950\n")


def test_times_are_those_of_utc_wherever_it_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert main(["demo", "--records", "398"]) == 0
        assert capsys.readouterr().out.endswith("\ndelivered 398 of 398\n")
        assert os.environ["TZ"] == "Asia/Kolkata"
        assert time.tzname == ("IST", "IST")
    finally:
        monkeypatch.undo()
        time.tzset()


def one_missing(records: list[LocalRecord]) -> list[LocalRecord]:
    return records[1:]


def one_twice(records: list[LocalRecord]) -> list[LocalRecord]:
    return [*records, records[0]]


def one_without_newline(records: list[LocalRecord]) -> list[LocalRecord]:
    first = records[0]
    return [first._replace(data=first.data.removesuffix(b"\n")), *records[1:]]


def one_with_another_key(records: list[LocalRecord]) -> list[LocalRecord]:
    return [records[0]._replace(partition_key="elsewhere"), *records[1:]]


def one_digit_different(records: list[LocalRecord]) -> list[LocalRecord]:
    at = next(i for i, r in enumerate(records) if b'"code":200,' in r.data)
    changed = records[at].data.replace(b'"code":200,', b'"code":200.0,')
    return [*records[:at], records[at]._replace(data=changed), *records[at + 1 :]]


@pytest.mark.parametrize(
    ("change", "delivered", "message"),
    [
        (one_missing, 397, "1 record missing, 0 unexpected"),
        (one_twice, 398, "0 records missing, 1 unexpected"),
        (one_without_newline, 397, "1 record missing, 1 unexpected"),
        (one_with_another_key, 397, "1 record missing, 1 unexpected"),
        (one_digit_different, 397, "1 record missing, 1 unexpected"),
    ],
)
def test_it_fails_when_a_record_is_missing_extra_or_different(
    change: Change,
    delivered: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read_all = LocalKinesis.read_all
    monkeypatch.setattr(LocalKinesis, "read_all", lambda self, name: change(read_all(self, name)))
    assert main(["demo", "--records", "398"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith(f"\ndelivered {delivered} of 398\n")
    assert message in captured.err


def test_it_fails_when_the_output_does_not_take_a_chunk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PATIENCE_S", 0)
    monkeypatch.setattr(KinesisOutput, "flush", lambda *_: FlushResult.RETRY)
    assert main(["demo", "--records", "10"]) == 1
    assert "was not delivered within" in capsys.readouterr().err


def test_the_order_of_keys_does_not_matter_but_digits_do() -> None:
    assert signature(b'{"a":1,"b":2.50}', "k") == signature(b'{"b":2.50,"a":1}', "k")
    assert signature(b'{"a":1}', "k") != signature(b'{"a":1.0}', "k")
    assert signature(b'{"a":1}', "k") != signature(b'{"a":"1"}', "k")
    assert signature(b'{"a":1}', "k") != signature(b'{"a":1}\n', "k")
    assert signature(b"no json", "k") == signature(b"no json", "k")
    assert signature(b"\xff", "k") != signature(b"\xfe", "k")


def test_a_random_key_has_to_look_like_one() -> None:
    comparison = Comparison()
    comparison.expect("s", [Expected(b"{}", None), Expected(b"{}", "fixed")])
    assert comparison.arrive(b"{}", "not random!") is None
    assert comparison.arrive(b"{}", "abcDEF12") == "s"
    assert comparison.arrive(b"{}", "abcDEF13") is None
    assert comparison.arrive(b"{}", "fixed") == "s"
    assert [sample for sample, _ in comparison.missing()] == []
    assert not comparison.is_equal
    assert len(comparison.unexpected) == 2
