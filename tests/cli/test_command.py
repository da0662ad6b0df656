"""The command as a whole: help, errors, exit codes."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
from chunks import DATA
from command import COMMAND, run_command, run_script
from started import Started

from kinesis_fast import __version__
from kinesis_fast.cli import COMMANDS, main
from kinesis_fast.errors import ConfigError, TransportError
from kinesis_fast.local.kinesis import LocalKinesis

CHUNK = str(DATA / "chunks" / "access_1.msgpack")


def test_the_version() -> None:
    done = run_script("--version")
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
    assert ("-p OPTION=VALUE" in text) == (name != "plugin-path")
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
        (["demo", "--records", "0"], "'0' is not a whole number >= 1"),
        (["demo", "--records", "many"], "'many' is not a whole number >= 1"),
        (["demo", "-p", "append_newline"], "-p append_newline: write it as -p option=value"),
        (["demo", "-p", "=true"], "write it as -p option=value"),
        (["demo", "-p", "apend_newline=true"], "append_newline"),
        (["demo", "-p", "append_newline=maybe"], "maybe"),
        (["demo", "-p", "time_key=a", "-p", "TIME_KEY=b"], "option time_key is given twice"),
        (["demo", "-p", "stream=mine"], "leave out -p stream"),
        (["demo", "-p", "endpoint=localhost"], "leave out -p endpoint"),
        (["demo", "-p", "compression=lz4"], "not one of the allowed values"),
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


SECRETS = ("tell-NOBODY-external", "tell/NOBODY@pass=word?", "x/1")
URL = f"https://user:{SECRETS[1]}@host"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", f"external_id={SECRETS[0]}", "-p", f"external_id={SECRETS[0]}2"],
        ["-p", f"external_id={SECRETS[0]}", "-p", f"EXTERNAL_ID = {SECRETS[0]}"],
        ["-p", f"external_id {SECRETS[0]}"],
        ["-p", f"external_id:{SECRETS[0]}="],
        ["-p", f"external_id{SECRETS[0]}"],
        ["-p", "external_id x/1"],
        ["-p", f"external-id={SECRETS[0]}"],
        ["-p", f"external-id={SECRETS[0]}", "-p", f"external-id={SECRETS[0]}"],
        ["-p", "external_id", SECRETS[0]],
        ["-p", "external_id=", SECRETS[0]],
        ["-p", f"external_id={SECRETS[0]}", SECRETS[0]],
        ["-p", f"external_id={SECRETS[0]}!"],
        ["--external_id", SECRETS[0]],
        [f"--external-id={SECRETS[0]}"],
        ["-p", f"endpoint={URL}", "-p", f"endpoint={URL}2"],
        ["-p", f"endpoint={URL}"],
        ["-p", f"endpoint {URL}"],
        ["-p", f"endpoint:{URL}"],
        ["-p", URL],
        ["-p", f"{URL}/=1"],
        ["-p", "endpoint", URL],
        ["--endpoint", URL],
        [f"--sts_endpoint={URL}"],
        ["-p", f"sts_endpoint=user:{SECRETS[1]}@host", "-p", f"sts_endpoint=user:{SECRETS[1]}@h"],
        ["-p", f"sts_endpoint user:{SECRETS[1]}@host"],
        ["-p", "sts_endpoint", f"user:{SECRETS[1]}@host"],
        ["-p", f"stream={URL}"],
        ["-p", "endpoint=https://user:tell/NOBODY@host"],
        ["-p", "endpoint=https://tell/NOBODY@host"],
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["send", "--format", "lines", "--local"],
        ["send", "--format", "lines"],
        ["preview"],
        ["demo"],
        ["doctor", "--fluent-bit", "/none"],
        ["spool", "ls", "--spool", "/none"],
        ["unknown"],
    ],
)
def test_no_error_of_the_command_line_shows_a_secret(
    command: list[str],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("kinesis_fast.transport.secrets._lasting", [])
    target = ["-p", "region=us-east-1", "-p", "stream=any"] if command[:1] == ["doctor"] else []
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*command, *target, "--debug", *arguments])
    text = capsys.readouterr().err + out.getvalue()
    assert code != 0
    assert text
    for secret in ("NOBODY", "x/1"):
        assert secret not in text


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


def test_the_traceback_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kinesis_fast.transport.secrets._lasting", [])

    def run(_arguments: object) -> int:
        try:
            raise ValueError(f"cause {SECRETS[0]} https://user:pw@host")
        except ValueError as error:
            raise RuntimeError("oops") from error

    monkeypatch.setattr("kinesis_fast.cli.preview.run", run)
    assert main(["preview", "file", "--debug", "-p", f"external_id={SECRETS[0]}"]) == 1
    text = capsys.readouterr().err
    assert "ValueError: cause *** https://***@host" in text
    assert "NOBODY" not in text


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with Started[bytes](
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


@pytest.mark.parametrize("closed", ["1", "2", "12", "012"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["preview", "--raw", CHUNK], 0),
        (["preview", CHUNK, "-p", "partition_key=host"], 0),
        (["--help"], 0),
        (["preview", "/no/such/file"], 2),
        ([], 2),
    ],
)
def test_standard_streams_may_be_closed(arguments: list[str], code: int, closed: str) -> None:
    expected = run_command(*arguments)
    done = run_command(*arguments, closed=closed)
    assert (expected.returncode, done.returncode) == (code, code)
    assert done.stdout == ("" if "1" in closed else expected.stdout)
    assert done.stderr == ("" if "2" in closed else expected.stderr)


def test_the_installed_script_needs_no_standard_streams() -> None:
    done = run_script("preview", "--raw", CHUNK, closed="012")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("closed", ["1", "2", "12"])
def test_sending_needs_no_standard_streams(closed: str) -> None:
    done = run_command("send", "--format", "lines", "--local", stdin=b"one\ntwo\n", closed=closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("" if "1" in closed else "Kinesis: 2 records\n")
    assert bool(done.stdout) == ("1" not in closed)


@pytest.mark.parametrize("arguments", [["send", "--format", "lines"], ["preview", "-"]])
def test_stdin_that_is_to_be_read_must_not_be_closed(arguments: list[str]) -> None:
    target = ["-p", "region=us-east-1", "-p", "stream=any"]
    done = run_script(*arguments, *target, closed="01")
    assert (done.returncode, done.stderr) == (2, "kinesis-fast: stdin is closed\n")


def test_a_terminal_without_unicode_gets_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    file = tmp_path / "text.log"
    file.write_text("caf\u00e9 \U0001f600\n", encoding="utf-8")
    done = run_script("preview", str(file), "--format", "lines")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1] == '{"log":"caf\\xe9 \\U0001f600"}'


def test_without_moto_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)
    # A run before has looked these up. Nothing of the text may be masked for that.
    secret = LocalKinesis.environment()["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setattr("kinesis_fast.transport.secrets._renewed", [secret])
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "kinesis-fast: the local Kinesis needs moto's server, but moto cannot be found:"
        " pip install 'kinesis-fast[local]'\n"
    )
