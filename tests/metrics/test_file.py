"""The file with the metrics: always whole, readable, and written by one process."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_transport import FakeTransport
from outputs import eventually, new_output, numbered
from scraping import samples_of, value

from kinesis_fast import FlushResult
from kinesis_fast.logs import LOGGER
from kinesis_fast.metrics.file import MetricsFile


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines so far."""
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the metrics go."""
    return tmp_path / "kinesis.prom"


def test_an_output_writes_its_metrics(path: Path) -> None:
    with new_output(FakeTransport(), metrics_file=str(path)) as output:
        assert output.flush(numbered([1, 2])) is FlushResult.OK
        eventually(path.exists)
    samples = samples_of(path.read_text(), is_openmetrics=False)
    assert value(samples, "records_total", outcome="delivered") == 2
    assert value(samples, "request_duration_seconds_count") == 1
    assert list(path.parent.iterdir()) == [path]


def test_the_last_numbers_of_several_outputs_are_there(path: Path) -> None:
    outputs = [new_output(FakeTransport(), metrics_file=str(path)) for _ in range(2)]
    eventually(path.exists)
    for number, output in enumerate(outputs):
        assert output.flush(numbered(range(number + 1))) is FlushResult.OK
    outputs[0].close()
    outputs[1].close()
    samples = samples_of(path.read_text(), is_openmetrics=False)
    assert value(samples, "records_in_total") == 2


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_every_user_may_read_it(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        metrics = MetricsFile(str(path), lambda: b"x", LOGGER)
        metrics.write()
        metrics.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def failing_write(code: int, n_bytes: int) -> Callable[[int, memoryview], int]:
    """Return an os.write that fails after so many bytes."""
    real, left = os.write, [n_bytes]

    def write(fd: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(code, os.strerror(code))
        n = real(fd, data[: min(3, left[0])])
        left[0] -= n
        return n

    return write


def test_a_full_disk_leaves_the_old_file_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    contents = iter([b"first content", b"second", b"third", b"fourth"])
    metrics = MetricsFile(str(path), lambda: next(contents), LOGGER)
    metrics.write()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing_write(errno.ENOSPC, 4))
        assert metrics.write()
        assert metrics.write()
    assert path.read_bytes() == b"first content"
    assert list(path.parent.iterdir()) == [path]
    assert metrics.write()
    metrics.close()
    assert path.read_bytes() == b"fourth"
    failed, again = lines(caplog)
    assert failed.startswith(f"cannot write metrics_file {path}: No space left on device; tries")
    assert again == f"metrics_file {path} is written again"


def test_short_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"0123456789" * 10
    monkeypatch.setattr(os, "write", failing_write(errno.ENOSPC, len(content)))
    metrics = MetricsFile(str(path), lambda: content, LOGGER)
    metrics.write()
    metrics.close()
    assert path.read_bytes() == content


def test_the_file_is_never_there_in_part(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    metrics = MetricsFile(str(path), lambda: b"0123456789", LOGGER)

    def look(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*arguments: object, **keywords: object) -> object:
            seen.append(path.read_bytes() if path.exists() else None)
            return real(*arguments, **keywords)

        return call

    metrics.write()
    for name in ("open", "write", "fchmod", "replace", "close"):
        monkeypatch.setattr(os, name, look(name))
    metrics.write()
    metrics.close()
    assert set(seen) == {b"0123456789"}


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda path: path.mkdir(), "it is not a regular file"),
        (os.mkfifo, "it is not a regular file"),
        (lambda path: path.parent.rmdir(), "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    prepare: Callable[[Path], object],
    reason: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "below" / "kinesis.prom"
    path.parent.mkdir()
    prepare(path)
    with new_output(FakeTransport(), metrics_file=str(path)) as output:
        assert output.flush(numbered([1])) is FlushResult.OK
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [line.partition(": ")[2].partition(";")[0] for line in errors] == [reason]


WRITER = """
import logging, sys
from kinesis_fast.metrics.file import MetricsFile
logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
metrics = MetricsFile(sys.argv[1], lambda: b"of the other", logging.getLogger())
for line in sys.stdin:
    metrics.write()
    print("done", flush=True)
"""


def test_of_two_processes_one_writes(path: Path) -> None:
    command = [sys.executable, "-P", "-c", WRITER, str(path)]
    metrics = MetricsFile(str(path), lambda: b"ours", LOGGER)
    metrics.write()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin
        assert other.stdout

        def ask() -> list[str]:
            other.stdin.write("write\n")  # type: ignore[union-attr]
            other.stdin.flush()  # type: ignore[union-attr]
            said = []
            while (line := other.stdout.readline()) != "done\n":  # type: ignore[union-attr]
                said.append(line)
            return said

        (refused,) = ask()
        assert "another process writes it" in refused
        assert ask() == []
        metrics.write()
        assert path.read_bytes() == b"ours"
        metrics.close()
        (again,) = ask()
        assert "is written again" in again
        assert path.read_bytes() == b"of the other"
        metrics.write()
        assert path.read_bytes() == b"of the other"
        other.stdin.close()
    metrics.write()  # the other process has ended
    metrics.close()
    assert path.read_bytes() == b"ours"


def test_a_link_to_elsewhere_is_not_followed(path: Path) -> None:
    victim = path.parent / "victim"
    victim.write_text("untouched")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.symlink_to(victim)
    metrics = MetricsFile(str(path), lambda: b"x", LOGGER)
    metrics.write()
    metrics.close()
    assert victim.read_text() == "untouched"
    assert path.read_bytes() == b"x"
