"""`kinesis-fast plugin-path`."""

from pathlib import Path

import pytest
from command import run_command

from kinesis_fast import host
from kinesis_fast.cli import main


def test_it_prints_the_path_of_a_shared_library_and_nothing_else() -> None:
    done = run_command("plugin-path")
    path = Path(done.stdout.removesuffix("\n"))
    assert (done.returncode, done.stderr) == (0, "")
    assert path.name == "out_kinesis.so"
    assert path.read_bytes().startswith(b"\x7fELF")


def test_an_installation_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host, "__file__", str(tmp_path / "__init__.py"))
    assert main(["plugin-path"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"missing at {tmp_path}/out_kinesis.so: install the wheel" in captured.err


def test_it_takes_no_arguments() -> None:
    assert run_command("plugin-path", "more").returncode == 2
