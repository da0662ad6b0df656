"""What the command says when it is given the wrong directory, or cannot write its output."""

import subprocess
from pathlib import Path

import pytest
from command import COMMAND, TIMEOUT_S
from outputs import numbered
from spools import open_spool

from kinesis_fast.cli import main


@pytest.mark.parametrize("action", [("ls",), ("export",), ("purge", "--yes")])
def test_the_directory_of_an_output_is_not_taken_for_an_empty_spool(
    action: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = open_spool(tmp_path / "spool")
    chunk = spool.put(numbered([1]), "app")
    spool.close()
    assert main(["spool", *action, "--spool", spool.path]) == 1
    message = capsys.readouterr().err
    assert f"{spool.path} belongs to one output and is not a spool; give the directory" in message
    assert Path(chunk.path).exists()


@pytest.mark.parametrize("arguments", [["plugin-path"], ["spool", "ls", "--spool", "{spool}"]])
def test_an_output_that_cannot_be_written(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *(argument.format(spool=tmp_path) for argument in arguments)],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"kinesis-fast: cannot write the output: No space left on device\n"
