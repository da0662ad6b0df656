"""`kinesis-fast send` with a spool in which an earlier run left chunks."""

from pathlib import Path
from typing import NoReturn

import pytest
from chunks import chunk_of
from command import as_arguments, lines, log_records, rows, run_command
from slow_service import SlowService

from kinesis_fast.cli import main
from kinesis_fast.cli.send import BACKGROUND
from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import StorageError
from kinesis_fast.local.kinesis import LocalKinesis
from kinesis_fast.storage.spool import Spool, SpooledChunk

EARLIER = [f"earlier {number}" for number in range(100)]
SEND = ("send", "-", "--format", "lines")


def leave_chunks(options: dict[str, str]) -> None:
    """Leave two chunks in the spool, as an earlier run does."""
    spool = Spool.open(OutputConfig.from_options(BACKGROUND | options))
    for texts in (EARLIER[:40], EARLIER[40:]):
        spool.put(chunk_of({"log": text} for text in texts), "from byte 0")
    spool.close()


def chunk_files(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.chunk"))


@pytest.mark.parametrize("n_lines", [0, 300])
def test_it_delivers_what_an_earlier_run_left(n_lines: int, tmp_path: Path) -> None:
    with SlowService() as service:
        service.release()
        options = {**service.target, "spool_dir": str(tmp_path)}
        leave_chunks(options)
        done = run_command(*SEND, stdin=lines(n_lines), options=options)
    assert (done.returncode, done.stderr) == (0, "")
    n_records = 100 + n_lines
    assert rows(done.stdout) == {"in": n_records, "delivered": n_records}
    assert "read, and 100 records of an earlier run in the spool\n" in done.stdout
    texts = EARLIER + [f"line {number}" for number in range(n_lines)]
    assert sorted(service.accepted) == log_records(texts)
    assert not chunk_files(tmp_path)


@pytest.mark.slow
def test_it_says_what_of_an_earlier_run_stays_in_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: SpooledChunk) -> NoReturn:
        raise StorageError("the disk does not respond")

    monkeypatch.setattr(SpooledChunk, "read", fail)
    empty = tmp_path / "empty.log"
    empty.touch()
    root = tmp_path / "spool"
    with SlowService() as service, LocalKinesis.applied_environment():
        options = {**service.target, "spool_dir": str(root)}
        leave_chunks(options)
        arguments = ["send", str(empty), "--format", "lines", "--patience", "1"]
        assert main([*arguments, *as_arguments(options)]) == 1
    out, err = capsys.readouterr()
    assert rows(out) == {"in": 0, "delivered": 0}
    kept = f"kept in {root}: 2 chunks of an earlier run; the next start sends them\n"
    assert out.endswith(f"{kept}delivered 0 of 0\n")
    assert "no record was delivered for 1 s, so sending stops; the next start, or" in err
    assert len(chunk_files(root)) == 2
