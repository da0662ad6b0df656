"""Records that cannot be delivered: each is written to the dead letters, once."""

import json
from array import array
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from chunks import output_config
from fake_transport import (
    THROTTLED,
    FakeTransport,
    Reply,
    accept,
    entries_answer,
    error,
    refuse_if,
)
from outputs import numbered

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.errors import StorageError
from kinesis_fast.storage.dead_letters import FILE, DeadLetters

OK, RETRY = FlushResult.OK, FlushResult.RETRY
DENIED = error(400, "AccessDeniedException")


def dead_letters(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "dead" / FILE).read_text().splitlines()]


def test_a_letter_holds_the_event_as_it_was(tmp_path: Path) -> None:
    bad = b"\x92\x92\xcee\x53\xf1\x00\x80\x07"
    chunk = numbered([0, 1]) + bad + numbered([2]) + b"\xc1\xc1"
    transport = FakeTransport(then=refuse_if(lambda data: data == b'{"n":1}'))
    config = output_config(dead_letter_dir=str(tmp_path / "dead"))
    with KinesisOutput(config, transport) as output:
        assert output.flush(chunk, "app\x1b") is OK
    found = {letter["reason"]: letter for letter in dead_letters(tmp_path)}
    assert set(found) == {"skipped_not_map", "skipped_malformed", "refused"}
    assert b64decode(found["skipped_not_map"]["event"]) == bad
    assert found["skipped_not_map"]["time"].startswith("2023-11-")
    assert b64decode(found["skipped_malformed"]["event"]) == b"\xc1\xc1"
    assert b64decode(found["refused"]["event"]) == numbered([1])
    assert "ValidationException" in found["refused"]["detail"]
    assert found["refused"]["tag"] == "app\x1b"


@pytest.mark.parametrize("background", [{}, {"experimental_concurrency": "1"}])
@pytest.mark.parametrize("is_array", [False, True])
def test_the_items_of_a_chunk_may_be_larger_than_a_byte(
    is_array: bool, background: dict[str, str], tmp_path: Path
) -> None:
    chunk = numbered(range(8))
    whole = memoryview(chunk).cast("B", (8, len(chunk) // 8))
    transport = FakeTransport(then=refuse_if(lambda data: data == b'{"n":5}'))
    config = output_config({"dead_letter_dir": str(tmp_path / "dead"), **background})
    with KinesisOutput(config, transport) as output:
        given = array("Q", chunk) if is_array else whole
        assert output.flush(given) is OK  # type: ignore[arg-type]
    (letter,) = dead_letters(tmp_path)
    assert b64decode(letter["event"]) == numbered([5])


def test_each_refused_record_has_its_own_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Several entries of a response failed, each with a code and a message of its own."""
    codes = [THROTTLED, None, "ValidationException", "InvalidArgumentException"]

    def step(_records: list[bytes]) -> Reply:
        return Reply(entries_answer(codes), [1])

    config = output_config(dead_letter_dir=str(tmp_path / "dead"))
    with KinesisOutput(config, FakeTransport(step)) as output:
        assert output.flush(numbered(range(4)), "app") is OK
    assert [(b64decode(x["event"]), x["detail"]) for x in dead_letters(tmp_path)] == [
        (numbered([2]), "ValidationException: ValidationException on shard 0"),
        (numbered([3]), "InvalidArgumentException: InvalidArgumentException on shard 0"),
    ]
    lines = [line.partition("is lost: ")[2] for line in caplog.messages if "is lost" in line]
    assert lines == [letter["detail"] for letter in dead_letters(tmp_path)]


def test_a_letter_is_written_once_for_a_chunk_that_comes_again(tmp_path: Path) -> None:
    bad = b"\x92\x92\x00\x80\x07"
    config = output_config(dead_letter_dir=str(tmp_path / "dead"), max_in_flight="1")
    output = KinesisOutput(config, FakeTransport(accept, DENIED))
    chunk = bad + numbered(range(600)) + bad
    assert output.flush(chunk) is RETRY
    assert output.flush(chunk) is OK
    assert len(dead_letters(tmp_path)) == 2


def test_a_directory_that_cannot_be_used_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        KinesisOutput(output_config(dead_letter_dir=str(tmp_path / "file")), FakeTransport())


def test_the_skipped_events_of_a_request_are_written_down_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = b"\x92\x92\x00\x80\x07"
    calls: list[int] = []
    add_all = DeadLetters.add_all

    def counted(dead_letters: DeadLetters, letters: Any) -> int:
        calls.append(add_all(dead_letters, letters))
        return calls[-1]

    monkeypatch.setattr(DeadLetters, "add_all", counted)
    config = output_config(dead_letter_dir=str(tmp_path / "dead"), max_in_flight="1")
    with KinesisOutput(config, FakeTransport()) as output:
        assert output.flush(bad * 300 + numbered(range(700)) + bad * 200) is OK
    assert len(dead_letters(tmp_path)) == 500
    assert sum(calls) == 500
    assert len(calls) <= 3
