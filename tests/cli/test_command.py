"""The command as a whole: help, errors, exit codes."""

import subprocess
import sys

import pytest
from chunks import DATA
from command import COMMAND, run_command

from kinesis_fast import __version__
from kinesis_fast.cli import COMMANDS, main
from kinesis_fast.errors import ConfigError, TransportError


def test_the_version() -> None:
    done = run_command("--version")
    assert (done.returncode, done.stdout) == (0, f"kinesis-fast {__version__}\n")


def test_it_is_also_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "kinesis_fast", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"kinesis-fast {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, purpose in COMMANDS.items():
        assert f"{name}" in text
        assert purpose in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: kinesis-fast {name}")
    assert "-p OPTION=VALUE" in text
    assert "exit code" in text


def test_nothing_gives_help_and_the_code_for_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: kinesis-fast")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sned"], "'sned' (choose from"),
        (["demo", "--record", "5"], "--record"),
        (["demo", "--records", "0"], "'0' is no whole number from 1 on"),
        (["demo", "--records", "many"], "'many' is no whole number from 1 on"),
        (["demo", "-p", "append_newline"], "-p append_newline: write it as -p option=value"),
        (["demo", "-p", "=true"], "write it as -p option=value"),
        (["demo", "-p", "apend_newline=true"], "append_newline"),
        (["demo", "-p", "append_newline=maybe"], "maybe"),
        (["demo", "-p", "time_key=a", "-p", "TIME_KEY=b"], "already set to 'a'"),
        (["demo", "-p", "stream=mine"], "leave out -p stream"),
        (["demo", "-p", "endpoint=localhost"], "leave out -p endpoint"),
        (["demo", "-p", "compression=gzip"], "not supported yet"),
        (["send", "--format", "xml"], "'xml' (choose from"),
        (["send"], "--format"),
        (["send", "--format", "lines", "/no/such/file"], "/no/such/file: No such file"),
        (["send", "--format", "lines", str(DATA), "--local"], "is a directory"),
        (["send", "--format", "lines", str(DATA / "chunks/dummy_0.msgpack")], "region"),
        (
            ["send", "--format", "lines", COMMAND, "--local", "-p", "profile=me"],
            "leave out -p profile",
        ),
        (
            [
                *("send", "--format", "lines", COMMAND, "--local"),
                *("-p", "stream=arn:aws:kinesis:us-east-1:123456789012:stream/x"),
            ],
            "not an ARN",
        ),
        (["preview"], "FILE"),
        (["preview", "/no/such/file"], "/no/such/file: No such file"),
        (["preview", COMMAND, "--limit", "-1"], "'-1'"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("kinesis-fast")
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("option x is wrong"), 2, "kinesis-fast: option x is wrong\n"),
        (TransportError("no\nanswer"), 1, "kinesis-fast: no\\nanswer\n"),
        (ImportError("build again"), 1, "kinesis-fast: build again\n"),
        (
            RuntimeError("oops"),
            1,
            "kinesis-fast: unexpected RuntimeError: oops; --debug shows where\n",
        ),
        (KeyboardInterrupt(), 130, "kinesis-fast: interrupted\n"),
    ],
)
def test_exceptions_become_codes(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(_arguments: object) -> int:
        raise error

    monkeypatch.setattr("kinesis_fast.cli.preview.run", run)
    assert main(["preview", "file"]) == code
    assert capsys.readouterr().err == message


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_arguments: object) -> int:
        raise RuntimeError("oops")

    monkeypatch.setattr("kinesis_fast.cli.preview.run", run)
    for arguments in (["preview", "file", "--debug"], ["--debug", "preview", "file"]):
        assert main(arguments) == 1
        text = capsys.readouterr().err
        assert "Traceback" in text
        assert text.endswith("kinesis-fast: unexpected RuntimeError: oops\n")


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with subprocess.Popen(
        [COMMAND, "preview", str(DATA / "chunks" / "access_0.msgpack")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"#1  ")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_without_moto_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "kinesis-fast: the local Kinesis needs moto's server, but moto cannot be found:"
        " pip install 'kinesis-fast[local]'\n"
    )
