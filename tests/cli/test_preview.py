"""`kinesis-fast preview`, as a user types it."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from chunks import DATA, chunk_of, load_chunk, load_golden, output_config
from command import run_command

from kinesis_fast import RecordEncoder
from kinesis_fast.cli import main

CHUNKS = DATA / "chunks"


def test_it_shows_size_key_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-p", "partition_key=host", "-p", "append_newline=true", "--limit", "2"]
    assert main(["preview", str(CHUNKS / "access_1.msgpack"), *arguments]) == 0
    captured = capsys.readouterr()
    head, data, *_ = captured.out.splitlines()
    assert head == '#1  234 bytes  partition key "136.11.162.93"'
    assert data.endswith("\\n")
    record = json.loads(data.removesuffix("\\n"))
    golden = load_golden("access_1", "plain").rows[0].data
    assert golden is not None
    assert record == json.loads(golden)
    assert len(captured.out.splitlines()) == 4
    assert captured.err.startswith("2 records, ")


def test_random_keys_are_called_random(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", str(CHUNKS / "fwd_weird_0.msgpack"), "-p", "partition_key=pk"]) == 0
    captured = capsys.readouterr()
    heads = captured.out.splitlines()[::2]
    assert heads[0].endswith("partition key random (missing)")
    assert heads[24].endswith('partition key "key-1"')
    assert sum(head.endswith("random (missing)") for head in heads) == 45
    assert "they lack partition_key 'pk': 45\n" in captured.err
    assert "45 random keys" in captured.err


def test_no_key_is_missing_without_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", str(CHUNKS / "fwd_weird_0.msgpack")]) == 0
    captured = capsys.readouterr()
    heads = captured.out.splitlines()[::2]
    assert all(head.endswith("partition key random (not set)") for head in heads)
    assert "random" not in captured.err


def test_options_that_match_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chunk.msgpack"
    file.write_bytes(chunk_of([{"kubernetes": {"pod_name": "p"}}] * 3))
    options = ["-p", "partition_key=$kubernetes['pod_name']", "-p", "data_keys=kubernetes->pod"]
    assert main(["preview", str(file), *options]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(
        "partition_key '$kubernetes['pod_name']': 3 "
        "(if the key is inside a map, write kubernetes->pod_name)"
    )
    assert lines[1].endswith(
        "records sent as {} because they have none of data_keys 'kubernetes->pod': 3 "
        "(data_keys are at the top level of a record; for a whole map write kubernetes)"
    )
    assert lines[2] == "3 records, 30 bytes (3 random keys, 3 no data keys)"


def test_raw_is_the_data_byte_for_byte() -> None:
    options = {"append_newline": "true", "time_key": "t"}
    done = run_command("preview", str(CHUNKS / "k8s_1.msgpack"), "--raw", options=options)
    encoder = RecordEncoder(output_config(options))
    expected = b"".join(record.data for record in encoder.records(load_chunk("k8s_1")))
    assert done.stdout.encode() == expected
    assert done.returncode == 0
    assert done.stderr.startswith("1,657 records, ")


def test_control_characters_are_escaped_even_in_a_pipe(tmp_path: Path) -> None:
    file = tmp_path / "evil.msgpack"
    file.write_bytes(chunk_of([{"log": "\x1b]0;title\x07 \u202e \x9b2J", "k": "\x1b[31m"}]))
    options = {"log_key": "log", "partition_key": "k"}
    done = run_command("preview", str(file), options=options)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        '#1  24 bytes  partition key "\\x1b[31m"',
        "\\x1b]0;title\\x07 \\u202e \\x9b2J",
    ]


@pytest.mark.parametrize(
    ("chunk", "good", "offset"), [("hm_garbage", 1, 17), ("hm_trunc", 1, 17), ("hm_empty", 0, None)]
)
def test_a_malformed_tail_is_reported_with_its_place(
    chunk: str, good: int, offset: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["preview", str(CHUNKS / f"{chunk}.msgpack")])
    captured = capsys.readouterr()
    assert captured.out.count("partition key") == good
    assert code == (0 if offset is None else 1)
    if offset is not None:
        assert f"malformed from byte {offset} on" in captured.err
        assert "1 malformed" in captured.err
        assert "--format" not in captured.err


def test_text_that_is_read_as_msgpack_comes_with_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "app.jsonl"
    file.write_text('{"log": "a line"}\n')
    assert main(["preview", str(file)]) == 1
    told = capsys.readouterr().err
    assert "malformed from byte 0 on: the rest cannot be read; it was read as msgpack, the" in told
    assert "--format jsonl" in told


def test_the_place_of_a_malformed_tail_counts_from_the_begin_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "long.msgpack"
    long = load_chunk("access_0")
    file.write_bytes(long + b"\xc1")
    assert main(["preview", str(file), "--raw"]) == 1
    captured = capsys.readouterr()
    assert f"malformed from byte {len(long):,} on" in captured.err
    assert "11,602 records, " in captured.err


def test_what_is_left_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", str(CHUNKS / "hm_nonmap.msgpack"), "-p", "log_key=log"]) == 0
    assert "1 not map" in capsys.readouterr().err
    assert main(["preview", str(CHUNKS / "fwd_weird_0.msgpack"), "-p", "log_key=log"]) == 0
    assert "24 records" in (text := capsys.readouterr().err)
    assert "28 no log key" in text


def test_stdin_and_other_formats() -> None:
    done = run_command("preview", "-", "--format", "jsonl", stdin=b'{"a": 1}\noops\n{"a": 2}')
    assert done.returncode == 1
    assert [json.loads(line)["a"] for line in done.stdout.splitlines()[1::2]] == [1, 2]
    assert "line 2: not JSON" in done.stderr
    assert "1 bad line" in done.stderr
    done = run_command("preview", "-", "--format", "lines", "--raw", stdin=b"a\nb")
    assert (done.returncode, done.stdout) == (0, '{"log":"a"}{"log":"b"}')


def preview_of(
    records: list[dict[str, str]], tmp_path: Path, **options: str
) -> tuple[list[str], str]:
    """Return the lines about some records, and the summary."""
    file = tmp_path / "chunk.msgpack"
    file.write_bytes(chunk_of(records))
    done = run_command("preview", str(file), options=options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()[-1]


def test_an_aggregate_is_shown_with_the_records_in_it(tmp_path: Path) -> None:
    records = [{"k": "a"}, {"k": "b"}, {"k": "a"}]
    options = {"aggregation": "true", "partition_key": "k", "aggregation_buckets": "1"}
    lines, summary = preview_of(records, tmp_path, **options)

    middle = 2**127
    assert lines == [
        f'entry 1  3 records in 119 bytes  partition key "a"  explicit hash key {middle}',
        *('#1  10 bytes  partition key "a"', '{"k":"a"}'),
        *('#2  10 bytes  partition key "b"', '{"k":"b"}'),
        *('#3  10 bytes  partition key "a"', '{"k":"a"}'),
    ]
    assert summary == "3 records, 30 bytes; sent as 1 entry of 119 bytes in all"


def test_joined_and_compressed_records_are_shown_as_they_were(tmp_path: Path) -> None:
    lines, summary = preview_of(
        [{"i": "0"}, {"i": "1"}], tmp_path, simple_aggregation="true", compression="gzip"
    )

    assert lines[0].startswith("entry 1  2 records in ")
    assert lines[0].endswith(" bytes  partition key random (not set)")
    assert lines[2::2] == ['{"i":"0"}\\n', '{"i":"1"}\\n']
    assert summary.startswith("2 records, 36 bytes; sent as 1 entry of ")


def test_a_compressed_record_is_shown_as_it_was(tmp_path: Path) -> None:
    lines, _ = preview_of([{"i": "0"}], tmp_path, compression="snappy", partition_key="i")

    assert lines[0].startswith("entry 1  1 record in ")
    assert lines[1:] == ['#1  10 bytes  partition key "0"', '{"i":"0"}']


def test_raw_is_what_the_stream_stores(tmp_path: Path) -> None:
    file = tmp_path / "chunk.msgpack"
    file.write_bytes(chunk_of([{"i": "0"}, {"i": "1"}]))
    target = tmp_path / "data.gz"
    options = ["-p", "simple_aggregation=true", "-p", "compression=gzip", "--raw"]
    with target.open("wb") as out:
        subprocess.run(
            [sys.executable, "-P", "-m", "kinesis_fast", "preview", str(file), *options],
            stdout=out,
            check=True,
        )

    assert gzip.decompress(target.read_bytes()) == b'{"i":"0"}\n{"i":"1"}\n'
