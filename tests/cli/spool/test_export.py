"""`kinesis-fast spool export`, and the events of a chunk."""

from pathlib import Path

import pytest
from chunks import event, load_chunk, output_config
from command import run_command
from hypothesis import given
from hypothesis import strategies as st
from spool_contents import flip, leave, leave_settled, numbered, write_letters

from kinesis_fast import RecordEncoder
from kinesis_fast.cli.sources import events
from kinesis_fast.cli.spool.items import is_set, n_set


def test_export_of_chunks(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    leave_settled(root, b"\x02", load_chunk("k8s_1"), numbered(0, 1, 2), log_key="n")
    file = tmp_path / "copy"
    arguments = ["spool", "export", "--spool", str(root)]
    done = run_command(*arguments, "-o", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "2 chunks copied\n")
    assert file.read_bytes() == load_chunk("k8s_1") + numbered(0, 1, 2)
    assert file.stat().st_mode & 0o777 == 0o600
    assert run_command(*arguments, "-o", str(file)).returncode == 2
    done = run_command(*arguments, "--format", "jsonl", "--unsettled")
    assert done.stdout == "0\n2\n"
    other = tmp_path / "other"
    assert run_command(*arguments, "--unsettled", "-o", str(other)).returncode == 0
    assert other.read_bytes() == b"".join(
        event for number, event in enumerate(events(load_chunk("k8s_1"))) if number != 1
    ) + numbered(0, 2)


def test_export_leaves_out_what_is_damaged(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    one, _ = leave(root, numbered(1), numbered(2))
    flip(one, -1)
    done = run_command("spool", "export", "--spool", str(root), "--format", "jsonl")
    assert (done.returncode, done.stdout) == (1, '{"n":2}\n')
    assert f"left out: {one}: damaged the checksum" in done.stderr
    assert done.stderr.endswith("1 chunk copied, 1 chunk left out\n")


def test_export_of_letters(tmp_path: Path) -> None:
    root = tmp_path / "dead"
    write_letters(root, ("refused", event({"n": 1})), ("refused", event({"n": 2})))
    arguments = ["spool", "export", "--dead-letters", str(root)]
    lines = run_command(*arguments, "--format", "jsonl").stdout
    assert lines.encode() == (root / "dead-letters.jsonl").read_bytes()
    file = tmp_path / "copy"
    assert run_command(*arguments, "-o", str(file)).returncode == 0
    assert file.read_bytes() == event({"n": 1}) + event({"n": 2})


@given(st.binary(max_size=20))
def test_bits(bits: bytes) -> None:
    expected = [octet >> bit & 1 for octet in bits for bit in range(8)]
    assert [is_set(bits, number) for number in range(len(expected) + 9)] == [*expected, *[0] * 9]
    assert n_set(bits) == sum(expected)


@pytest.mark.parametrize("name", ["access_1", "fwd_weird_0", "hm_garbage", "hm_trunc", "hm_empty"])
def test_events_are_all_of_a_chunk(name: str) -> None:
    chunk = load_chunk(name)
    found = list(events(chunk))
    assert b"".join(found) == chunk
    assert all(found)
    count = RecordEncoder(output_config()).count
    if not name.startswith("hm_"):
        assert [count(event) for event in found] == [1] * len(found)
