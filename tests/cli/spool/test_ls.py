"""`kinesis-fast spool ls`, and what all of its actions have in common."""

import time
from pathlib import Path

import pytest
from chunks import event, load_chunk, output_config
from command import COMMAND, as_arguments
from spool_contents import (
    flip,
    leave,
    leave_settled,
    listed,
    numbered,
    write_letters,
)
from spools import as_of_version, open_spool

from kinesis_fast.cli import main
from kinesis_fast.storage.dead_letters import DeadLetters


def test_ls_of_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    leave_settled(root, b"\x05", load_chunk("access_1"), numbered(1, 2, 3))
    assert main(["spool", "ls", "--spool", str(root)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    head, first, second, total = captured.out.splitlines()
    assert head.split() == ["time", "bytes", "records", "settled", "state", "what"]
    assert first.split()[1:] == [
        f"{len(load_chunk('access_1')):,}",
        "398",
        "2",
        "waiting",
        "tag.0",
        "logs",
    ]
    assert second.split()[2:] == ["3", "2", "waiting", "tag.1", "logs"]
    assert first.split()[0] == time.strftime("%Y-%m-%dT", time.gmtime()) + first.split()[0][11:]
    assert total.startswith("2 chunks, ")
    assert total.endswith("401 records, 4 settled")


def test_ls_as_json_has_all_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    (path,) = leave(root, numbered(1), log_key="log")
    (item,) = listed(capsys, "--spool", str(root))
    assert item.pop("time").endswith("Z")
    assert item.pop("options")["log_key"] == "log"
    assert item == {
        "state": "waiting",
        "path": str(path),
        "tag": "tag.0",
        "region": "us-east-1",
        "stream": "logs",
        "bytes": len(numbered(1)),
        "records": 1,
        "settled": 0,
        "remark": "",
    }


def test_ls_shows_what_today_s_options_would_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "spool"
    leave(root, numbered(1))
    leave(root, numbered(2), log_key="log")
    target = as_arguments({"region": "us-east-1", "stream": "logs"})
    assert [item["state"] for item in listed(capsys, "--spool", str(root), *target)] == [
        "waiting",
        "other options",
    ]
    assert main(["spool", "ls", "--spool", str(root), *target]) == 0
    assert "other options  tag.0 logs (log_key)" in capsys.readouterr().out


def test_ls_tells_what_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    header, payload, version, whole = leave(root, *[numbered(1)] * 4)
    flip(header, 20)
    flip(payload, -1)
    as_of_version(version, 0)
    aside = whole.with_name(whole.name + ".damaged")
    whole.rename(aside)
    assert main(["spool", "ls", "--spool", str(root)]) == 1
    out = capsys.readouterr().out
    assert f"damaged        (the checksum of its header is wrong) {header}" in out
    assert f"(the checksum of its payload is wrong) {payload}" in out
    assert f"unreadable     (its format version is 0, only 1 can be read) {version}" in out
    assert f"damaged        (set aside as damaged) {aside}" in out


def test_ls_of_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "dead"
    write_letters(root, ("not_map", event(5)), ("refused", event({"n": 1})))
    write_letters(root, ("refused", event({"n": 2})), stream="other")
    with (root / "dead-letters.jsonl").open("ab") as file:
        file.write(b"{oops\n")
    assert main(["spool", "ls", "--dead-letters", str(root)]) == 1
    _, *lines, total = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("2023-11-14T22:13:20Z", str(len(event(5))), "1", "0", "dead"),
        *("app.log", "logs", "(not_map:", "detail)"),
    ]
    assert "damaged        (not a dead letter)" in lines[3]
    assert total.startswith("4 letters, ")
    target = as_arguments({"region": "us-east-1", "stream": "logs"})
    states = [item["state"] for item in listed(capsys, "--dead-letters", str(root), *target)]
    assert states == ["dead", "dead", "other stream", "damaged"]


def test_control_characters_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, dead = tmp_path / "spool", tmp_path / "dead"
    spool = open_spool(root)
    spool.put(numbered(1), "a\x1b]0;b\x07\n\u202e")
    spool.close()
    letters = DeadLetters.open(output_config({"dead_letter_dir": str(dead)}))
    letters.add("re\x1bason", "a\x1b[31m", event(1), None, "de\x9btail")
    for place in (["--spool", str(root)], ["--dead-letters", str(dead)]):
        for more in ([], ["--json"]):
            assert main(["spool", "ls", *place, *more]) == 0
            out = capsys.readouterr().out
            assert not set("\x1b\x07\x9b\u202e") & set(out)
    assert main(["spool", "ls", "--spool", str(root)]) == 0
    assert "a\\x1b]0;b\\x07\\n\\u202e logs" in capsys.readouterr().out


def test_what_is_meant_can_be_narrowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "spool"
    leave(root, numbered(1))
    leave(root, numbered(2), stream="other")
    place = ["--spool", str(root)]
    assert len(listed(capsys, *place, "--stream", "other")) == 1
    assert len(listed(capsys, *place, "--older-than", "0s")) == 2
    assert listed(capsys, *place, "--older-than", "1h") == []
    write_letters(tmp_path / "dead", ("refused", event(1)))
    place = ["--dead-letters", str(tmp_path / "dead")]
    assert len(listed(capsys, *place, "--older-than", "365d")) == 1
    assert listed(capsys, *place, "--older-than", "999999d") == []


@pytest.mark.parametrize("action", ["ls", "replay", "export", "purge"])
def test_each_action_has_help(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool", action, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: kinesis-fast spool {action}")
    for word in ("--spool DIR", "--dead-letters DIR", "--older-than AGE", "-p OPTION=VALUE"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ACTION"),
        (["list"], "'list' (choose from"),
        (["ls"], "one of the arguments --spool --dead-letters is required"),
        (["ls", "--spool", "/a", "--dead-letters", "/b"], "not allowed with"),
        (["ls", "--spool", "/no/such/place"], "(ENOENT); the directory does not exist"),
        (["ls", "--spool", COMMAND], "it must be a directory"),
        (["ls", "--spool", "/", "--older-than", "3"], "'3' is not an age such as 90s"),
        (["replay", "--spool", "/"], "-p region=... -p stream=..."),
        (["replay", "--spool", "/", "-p", "region=eu-west-1"], "option stream is missing"),
        (["purge", "--dead-letters", "/no/such/place", "--yes"], "cannot open /no/such/place"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spool", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
