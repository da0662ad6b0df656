"""Dead letters: the content of a line, their size limit, sharing, and disk errors."""

import base64
import errno
import json
import logging
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chunks import output_config
from faulty_os import FaultyOs, install
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback_settings import program_environment

from kinesis_fast.errors import StorageError
from kinesis_fast.storage.dead_letters import FILE, LOCK_PERIOD_S, LOCK_S, DeadLetters, iso_time
from kinesis_fast.storage.directory import Directory

MB = 1_000_000
ALL_TEXT = st.text(st.characters(exclude_categories=()), max_size=700)


def open_dead_letters(root: Path, **options: str) -> DeadLetters:
    """Open the dead letters of an output."""
    return DeadLetters.open(output_config({"dead_letter_dir": str(root), **options}))


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the dead letters in a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_the_members_of_a_line(root: Path) -> None:
    dead_letters = open_dead_letters(root, stream="mine")
    assert dead_letters.add(
        "too deep", "app.log", b"event", 1_700_000_000_123_456_789, "200 levels"
    )
    before = datetime.now(UTC)
    assert dead_letters.add("malformed", "app\x1b", memoryview(b"\xff\x00"))
    one, two = rows(root / FILE)
    assert one == {
        "time": "2023-11-14T22:13:20.123456789Z",
        "region": "us-east-1",
        "stream": "mine",
        "reason": "too deep",
        "tag": "app.log",
        "detail": "200 levels",
        "n_bytes": 5,
        "event": base64.b64encode(b"event").decode(),
    }
    assert abs(datetime.fromisoformat(two["time"][:26] + "+00:00") - before).total_seconds() < 60
    assert (two["tag"], base64.b64decode(two["event"])) == ("app\x1b", b"\xff\x00")
    assert b"\x1b" not in (root / FILE).read_bytes()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None
)
@given(reason=ALL_TEXT, tag=ALL_TEXT, detail=ALL_TEXT, event=st.binary(max_size=2000))
def test_any_dead_letter_is_one_line(
    root: Path, reason: str, tag: str, detail: str, event: bytes
) -> None:
    dead_letters = open_dead_letters(root)
    assert dead_letters.add(reason, tag, event, None, detail)
    content = (root / FILE).read_bytes()
    letter = json.loads(content.splitlines()[-1])
    assert (letter["reason"], letter["tag"]) == (reason[:100], tag[:500])
    assert (letter["detail"], base64.b64decode(letter["event"])) == (detail[:500], event)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (4_102_444_800_000_000_001, "2100-01-01T00:00:00.000000001Z"),
        (10**40, "1970-01-01T00:00:00.000000000Z"),
    ],
)
def test_times(time_ns: int, text: str) -> None:
    assert iso_time(time_ns) == text


def test_modes_whatever_the_umask(root: Path) -> None:
    before = os.umask(0)
    try:
        open_dead_letters(root).add("reason", "tag", b"event")
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / FILE).stat().st_mode) == 0o600


def test_the_oldest_files_are_dropped_at_the_limit(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead_letters = open_dead_letters(root, dead_letter_max_bytes="1M")
    for number in range(150):
        assert dead_letters.add("reason", str(number), b"x" * 10_000)
        sizes = {path.name: path.stat().st_size for path in root.iterdir()}
        assert sum(sizes.values()) <= MB
        assert max(sizes.values()) <= MB // 4
    names = [f"{FILE}.3", f"{FILE}.2", f"{FILE}.1", FILE]
    assert sorted(sizes) == sorted(names)
    found = [int(row["tag"]) for name in names for row in rows(root / name)]
    assert found == list(range(150 - len(found), 150))
    assert sum(sizes.values()) > MB // 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    dropped = [int(message.split(", ")[1].split()[0]) for message in caplog.messages]
    line = len((root / FILE).read_bytes().splitlines()[0]) + 1
    assert abs(sum(dropped) - (150 - len(found)) * line) < 1000
    assert caplog.messages[0].startswith("dropped the oldest dead letters in ")
    assert caplog.messages[0].endswith(" bytes: dead_letter_max_bytes is 1000000")


def test_a_smaller_limit_takes_effect(root: Path) -> None:
    dead_letters = open_dead_letters(root, dead_letter_max_bytes="8M")
    for _ in range(200):
        dead_letters.add("reason", "tag", b"x" * 25_000)
    assert sum(path.stat().st_size for path in root.iterdir()) > 4 * MB
    dead_letters = open_dead_letters(root, dead_letter_max_bytes="1M")
    dead_letters.add("reason", "tag", b"event")
    assert sum(path.stat().st_size for path in root.iterdir()) <= MB


def test_a_long_event_is_cut_and_marked(root: Path) -> None:
    dead_letters = open_dead_letters(root, dead_letter_max_bytes="1M")
    event = os.urandom(300_000)
    wide = "\U0001f600" * 1000
    assert dead_letters.add(wide, wide, event, None, wide)
    assert dead_letters.add("reason", "tag", event)
    for path in (root / FILE, root / f"{FILE}.1"):
        assert path.stat().st_size <= MB // 4
        (letter,) = rows(path)
        kept = base64.b64decode(letter["event"])
        assert event.startswith(kept)
        assert 150_000 < len(kept) < len(event)
        assert (letter["n_bytes"], letter["cut"]) == (300_000, True)


def test_an_unfinished_line_does_not_damage_the_next(root: Path) -> None:
    dead_letters = open_dead_letters(root)
    dead_letters.add("reason", "one", b"event")
    with (root / FILE).open("ab") as file:
        file.write(b'{"time":"20')
    dead_letters.add("reason", "two", b"event")
    dead_letters.add("reason", "three", b"event")
    lines = (root / FILE).read_bytes().splitlines()
    assert lines[1] == b'{"time":"20'
    assert [json.loads(lines[index])["tag"] for index in (0, 2, 3)] == ["one", "two", "three"]


WRITE_MANY = """
import sys
from threading import Thread
from chunks import output_config
from kinesis_fast.storage.dead_letters import DeadLetters

config = output_config({"dead_letter_dir": sys.argv[1], "dead_letter_max_bytes": "1M"})

def work(dead_letters, name):
    for index in range(300):
        assert dead_letters.add("reason", f"{sys.argv[2]} {name} {index}", b"x" * 200)

shared = DeadLetters.open(config)
threads = [Thread(target=work, args=(shared, "shared")),
           Thread(target=work, args=(shared, "as well")),
           Thread(target=work, args=(DeadLetters.open(config), "own"))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert shared.n_lost == 0
"""


@pytest.mark.heavy
def test_threads_and_processes_share_a_directory(root: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", WRITE_MANY, str(root), str(number)],
            env=program_environment(),
        )
        for number in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    found = [row["tag"] for path in root.iterdir() for row in rows(path)]
    assert len(found) == len(set(found)) == 1800
    assert len(list(root.iterdir())) > 2


ADD = ["open", "open", "write", "close", "close"]


@pytest.mark.parametrize("failing", range(4))
def test_an_error_at_any_step_is_counted_and_logged_once(
    root: Path,
    failing: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dead_letters = open_dead_letters(root)
    dead_letters.add("reason", "kept", b"event")
    faulty = FaultyOs()
    with monkeypatch.context() as patch:
        install(patch, faulty)
        dead_letters.add("reason", "tag", b"event")
    assert [name for name in faulty.calls if name != "pread"] == ADD
    position = [index for index, name in enumerate(faulty.calls) if name != "pread"][failing]
    before = (root / FILE).read_bytes()
    for _ in range(3):
        with monkeypatch.context() as patch:
            install(patch, FaultyOs(lambda index, _name: index == position, errno.ENOSPC))
            assert not dead_letters.add("reason", "lost", b"event")
    assert dead_letters.n_lost == 3
    if ADD[failing] != "close":
        assert (root / FILE).read_bytes() == before
    (line,) = caplog.messages
    assert line.startswith("dead letters that could not be written and are lost: 1; cannot ")
    assert line.endswith("(ENOSPC); free space on that file system")
    assert dead_letters.add("reason", "again", b"event")
    assert rows(root / FILE)[-1]["tag"] == "again"


def test_lost_dead_letters_are_logged_once_a_minute(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    config = output_config({"dead_letter_dir": str(root)})
    dead_letters = DeadLetters.open(config, clock=lambda: now)
    root.rmdir()
    root.write_text("not a directory")
    for _ in range(5):
        assert not dead_letters.add("reason", "tag", b"event")
    now += 60
    assert not dead_letters.add("reason", "tag", b"event")
    numbers = [message.partition("lost: ")[2].partition(";")[0] for message in caplog.messages]
    assert numbers == ["1", "5"]
    assert dead_letters.n_lost == 6


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_nothing_but_a_regular_file_is_written(root: Path, tmp_path: Path, kind: str) -> None:
    dead_letters = open_dead_letters(root)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret\n")
    if kind == "link":
        (root / FILE).symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(root / FILE)
    else:
        (root / FILE).mkdir()
    assert not dead_letters.add("reason", "tag", b"event")
    assert secret.read_bytes() == b"secret\n"


def test_a_lock_that_is_never_released_loses_only_the_dead_letter(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dead_letters = open_dead_letters(root)
    monkeypatch.setattr("kinesis_fast.storage.dead_letters.LOCK_S", 0.05)
    other = Directory.open(str(root), create=False)
    assert other.lock()
    assert not dead_letters.add("reason", "tag", b"event")
    assert "locked by another process for 0.05 seconds" in caplog.text
    other.close()
    assert dead_letters.add("reason", "tag", b"event")


def test_a_directory_that_cannot_be_used_raises_at_the_start(root: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="create its parent directory"):
        open_dead_letters(tmp_path / "no" / "letters")
    root.symlink_to(tmp_path)
    with pytest.raises(StorageError, match="not a symbolic link"):
        open_dead_letters(root)


# --- many dead letters at once ---


def many(number: int) -> list[tuple[str, str, bytes, int | None, str]]:
    """Return dead letters with the numbers from 0 as tags."""
    return [("reason", str(index), b"event", None, "") for index in range(number)]


def test_many_dead_letters_are_one_write(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_letters = open_dead_letters(root)
    faulty = FaultyOs()
    install(monkeypatch, faulty)
    assert dead_letters.add_all(many(1000)) == 1000
    assert [row["tag"] for row in rows(root / FILE)] == [str(index) for index in range(1000)]
    assert [name for name in faulty.calls if name != "pread"] == ADD


def test_no_dead_letters_are_no_write(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_letters = open_dead_letters(root)
    faulty = FaultyOs()
    install(monkeypatch, faulty)
    assert dead_letters.add_all([]) == 0
    assert faulty.calls == []


def test_a_very_long_list_is_not_held_in_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinesis_fast.storage.dead_letters.BLOCK_BYTES", 1000)
    dead_letters = open_dead_letters(root)
    sizes: list[int] = []

    def each() -> Any:
        for letter in many(100):
            sizes.append((root / FILE).stat().st_size if (root / FILE).exists() else 0)
            yield letter

    assert dead_letters.add_all(each()) == 100
    assert len(set(sizes)) > 10
    assert len(rows(root / FILE)) == 100


@pytest.mark.parametrize("n_at_once", [1, 7, 150])
def test_rotation_with_many_at_once(root: Path, n_at_once: int) -> None:
    dead_letters = open_dead_letters(root, dead_letter_max_bytes="1M")
    letters = [("reason", str(index), b"x" * 10_000, None, "") for index in range(150)]
    for first in range(0, 150, n_at_once):
        assert dead_letters.add_all(letters[first : first + n_at_once]) == len(
            letters[first : first + n_at_once]
        )
    sizes = [path.stat().st_size for path in root.iterdir()]
    assert sum(sizes) <= MB
    assert max(sizes) <= MB // 4
    names = [f"{FILE}.3", f"{FILE}.2", f"{FILE}.1", FILE]
    found = [int(row["tag"]) for name in names for row in rows(root / name)]
    assert found == list(range(150 - len(found), 150))
    assert sum(sizes) > MB // 2


def test_an_error_in_the_middle_of_many(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was written before it counts as written; the rest is not tried."""
    monkeypatch.setattr("kinesis_fast.storage.dead_letters.BLOCK_BYTES", 1000)
    dead_letters = open_dead_letters(root)
    writes = 0

    def third_write(_index: int, name: str) -> bool:
        nonlocal writes
        writes += name == "write"
        return name == "write" and writes == 3

    with monkeypatch.context() as patch:
        install(patch, FaultyOs(third_write, errno.ENOSPC))
        n_written = dead_letters.add_all(many(100))
    assert writes == 3
    assert 0 < n_written < 20
    assert dead_letters.n_lost == 100 - n_written
    assert [row["tag"] for row in rows(root / FILE)] == [str(index) for index in range(n_written)]
    (line,) = caplog.messages
    assert line.startswith(
        f"dead letters that could not be written and are lost: {100 - n_written}; "
    )


def test_waits_for_the_lock_are_bounded_by_the_clock(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    waits: list[float] = []
    dead_letters = DeadLetters.open(
        output_config({"dead_letter_dir": str(root)}), clock=lambda: now
    )
    wait = Directory.wait_for_lock

    def counted(directory: Directory, timeout_s: float) -> None:
        waits.append(timeout_s)
        wait(directory, 0.0)

    monkeypatch.setattr(Directory, "wait_for_lock", counted)
    other = Directory.open(str(root), create=False)
    assert other.lock()
    for _ in range(50):
        assert dead_letters.add_all(many(10)) == 0
    assert waits == [LOCK_S]
    assert dead_letters.n_lost == 500
    (line,) = caplog.messages
    assert line.startswith("dead letters that could not be written and are lost: 10; ")
    now += LOCK_PERIOD_S
    assert dead_letters.add_all(many(10)) == 0
    assert waits == [LOCK_S] * 2
    line = caplog.messages[1]
    assert line.startswith("dead letters that could not be written and are lost: 500; ")
    assert dead_letters.add_all(many(10)) == 0
    now += LOCK_PERIOD_S / 2
    other.close()
    # A lock that is free is taken, in the pause as well.
    assert dead_letters.add_all(many(10)) == 10
    assert not any(waits[2:])


def test_waits_that_end_well_are_bounded_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    waits: list[float] = []
    dead_letters = DeadLetters.open(
        output_config({"dead_letter_dir": str(root)}), clock=lambda: now
    )
    wait = Directory.wait_for_lock

    def slow(directory: Directory, timeout_s: float) -> None:
        nonlocal now
        waits.append(timeout_s)
        now += min(timeout_s, 0.75)
        wait(directory, 0.0)

    monkeypatch.setattr(Directory, "wait_for_lock", slow)
    for _ in range(6):
        assert dead_letters.add_all(many(1)) == 1
    assert waits == pytest.approx([2.0, 1.35, 0.7, 0.1, 0.1, 0.1])


def test_a_removed_directory_is_made_again(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    dead_letters = open_dead_letters(root)
    root.rmdir()
    assert dead_letters.add("reason", "tag", b"event")
    assert dead_letters.add("reason", "tag", b"event")
    assert len(rows(root / FILE)) == 2
    assert caplog.messages == [f"the dead_letter_dir {root} was removed; made it again"]
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
