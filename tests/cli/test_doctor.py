"""`kinesis-fast doctor`: its findings and advice, and what it must never do or show."""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cbor2
import pytest
from command import as_arguments
from local_stream import LocalStream
from raw_server import Arrived, RawServer, http

from kinesis_fast.cli import doctor, main, service_check
from kinesis_fast.cli.service_check import State
from kinesis_fast.host import locate
from kinesis_fast.local.kinesis import LocalKinesis
from kinesis_fast.transport import CBOR_TYPE

SUMMARY = {"StreamName": "logs", "StreamStatus": "ACTIVE", "OpenShardCount": 2}
SECRET = "a-secret-that-must-not-be-shown"
KEY = "AKIDNOTSHOWN1234"
Answer = tuple[int, dict[str, Any]]
Answers = Mapping[str, Answer]

DESCRIBED: Answer = (200, {"StreamDescriptionSummary": SUMMARY})
DRY_RUN: Answer = (400, {"__type": "DryRunOperationException", "message": "dry run"})
DENIED: Answer = (400, {"__type": "AccessDeniedException", "message": "not allowed"})


class Report:
    """What the doctor printed: (state, text, advice) of each subject, and the exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        self.lines: dict[str, tuple[str, str]] = {}
        self.advice: dict[str, str] = {}
        subject = ""
        for line in text.splitlines():
            if line.lstrip().startswith("-> "):
                self.advice[subject] = line.strip().removeprefix("-> ")
            else:
                subject = line[5:17].strip()
                self.lines[subject] = (line[:4].strip(), line[18:])

    def state(self, subject: str) -> str:
        """Return the mark of a line."""
        return self.lines[subject][0]


Run = Callable[..., Report]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the doctor in this process, without a Fluent Bit on PATH."""
    monkeypatch.setattr(shutil, "which", lambda _: None)

    def run_it(*arguments: str, **options: str) -> Report:
        code = main(["doctor", *arguments, *as_arguments(options)])
        return Report(code, capsys.readouterr().out)

    return run_it


@pytest.fixture
def made_up_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that must not appear in any output."""
    for name, value in LocalKinesis.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def service(answers: Answers) -> RawServer:
    """A service with one response for each operation."""

    def answer(arrived: Arrived) -> bytes:
        status, content = answers[arrived.headers["x-amz-target"].partition(".")[2]]
        return http(status, json.dumps(content).encode())

    return RawServer(answer)


def ask(run: Run, monkeypatch: pytest.MonkeyPatch, answers: Answers, **options: str) -> Report:
    """Run the doctor against a service that is known to respect DryRun."""
    monkeypatch.setattr(service_check, "AWS_HOSTS", ("127.0.0.1",))
    with service(answers) as server:
        report = run(region="us-east-1", stream="logs", endpoint=server.url, **options)
    for arrived in server.arrived:
        if arrived.headers["x-amz-target"].endswith("PutRecords"):
            assert json.loads(arrived.body)["DryRun"] is True
    return report


def test_the_installation(run: Run) -> None:
    report = run()
    assert report.code == 0
    for subject in ("interpreter", "libpython", "package", "compiled", "botocore", "plugin"):
        assert report.state(subject) == "ok", report.text
    assert report.lines["interpreter"][1].startswith(sys.executable)
    assert report.lines["service"] == (
        "-",
        "not checked: give the output's options, -p region=... and so on",
    )


def test_a_stream_in_a_local_kinesis_stays_empty(run: Run, stream: LocalStream) -> None:
    report = run(**stream.target)
    assert report.code == 0
    assert report.state("credentials") == "ok"
    assert report.lines["endpoint"][1] == f"{stream.local.endpoint} (region us-east-1)"
    assert report.lines["stream"] == ("ok", f"{stream.name} is ACTIVE, 3 open shards")
    assert report.state("PutRecords") == "-"
    assert "127.0.0.1 may ignore DryRun" in report.lines["PutRecords"][1]
    assert stream.read() == []


def test_a_stream_that_does_not_exist(run: Run, stream: LocalStream) -> None:
    report = run(**{**stream.target, "stream": "nowhere"})
    assert report.code == 1
    assert report.state("stream") == "bad"
    assert report.advice["stream"].startswith("no such stream in this account")


@pytest.mark.usefixtures("made_up_credentials")
def test_all_is_green_where_a_dry_run_is_possible(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"DescribeStreamSummary": DESCRIBED, "PutRecords": DRY_RUN}
    report = ask(run, monkeypatch, answers, external_id="hidden-id")
    assert report.code == 0
    assert report.lines["PutRecords"] == ("ok", "allowed (dry run, nothing was written)")
    assert report.lines["credentials"] == ("ok", "from env, access key ...1234")
    for secret in (SECRET, KEY, "hidden-id"):
        assert secret not in report.text


@pytest.mark.usefixtures("made_up_credentials")
def test_sending_is_not_allowed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"DescribeStreamSummary": DESCRIBED, "PutRecords": DENIED}
    report = ask(run, monkeypatch, answers)
    assert report.code == 1
    assert report.lines["PutRecords"][0] == "bad"
    assert report.advice["PutRecords"].startswith("allow kinesis:PutRecords")


@pytest.mark.usefixtures("made_up_credentials")
def test_looking_is_not_needed_for_sending(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"DescribeStreamSummary": DENIED, "PutRecords": DRY_RUN}
    report = ask(run, monkeypatch, answers)
    assert report.code == 0
    assert (report.state("stream"), report.state("PutRecords")) == ("-", "ok")


@pytest.mark.usefixtures("made_up_credentials")
def test_a_service_that_ignores_the_dry_run_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}
    written = (200, {"FailedRecordCount": 0, "Records": [entry]})
    answers = {"DescribeStreamSummary": DESCRIBED, "PutRecords": written}
    report = ask(run, monkeypatch, answers)
    assert "an empty record may have been written" in report.lines["PutRecords"][1]


@pytest.mark.usefixtures("made_up_credentials")
@pytest.mark.parametrize(
    ("change", "options", "subject", "advice"),
    [
        ({"StreamStatus": "CREATING"}, {}, "stream", "wait until it is active"),
        (
            {"MaxRecordSizeInKiB": 1024},
            {"max_record_size": "2097152"},
            "record size",
            "raise the limit of the stream",
        ),
    ],
)
def test_a_stream_that_is_not_fit(
    change: dict[str, Any],
    options: dict[str, str],
    subject: str,
    advice: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    described = (200, {"StreamDescriptionSummary": {**SUMMARY, **change}})
    answers = {"DescribeStreamSummary": described, "PutRecords": DRY_RUN}
    report = ask(run, monkeypatch, answers, **options)
    assert report.code == 1
    assert report.state(subject) == "bad"
    assert advice in report.advice[subject]


def test_an_older_botocore_cannot_ask_for_a_dry_run() -> None:
    operation = SimpleNamespace(input_shape=SimpleNamespace(members={"Records": None}))
    model = SimpleNamespace(operation_model=lambda _: operation)
    client = SimpleNamespace(meta=SimpleNamespace(service_model=model))
    finding = service_check._put_records(client, {"StreamName": "logs"})
    assert finding.state is State.UNKNOWN
    assert "does not support DryRun" in finding.text


@pytest.mark.usefixtures("made_up_credentials")
def test_no_credentials(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    report = run(region="us-east-1", stream="logs", endpoint="http://127.0.0.1:9")
    assert report.code == 1
    assert report.state("credentials") == "bad"
    assert "give the process AWS credentials" in report.text
    assert "stream" not in report.lines


@pytest.mark.usefixtures("made_up_credentials")
def test_a_credential_process_that_is_not_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "config"
    settings.write_text("[profile logs]\ncredential_process = /no/such/program\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    report = run(region="us-east-1", stream="logs", profile="logs")
    assert report.code == 1
    assert report.state("credentials") == "bad"
    assert "credential_process" in report.text


@pytest.mark.usefixtures("made_up_credentials")
def test_an_endpoint_that_does_not_answer(run: Run) -> None:
    report = run(region="us-east-1", stream="logs", endpoint="http://127.0.0.1:9")
    assert report.code == 1
    assert report.state("stream") == "bad"
    assert "check the network" in report.lines["stream"][1]


@pytest.mark.usefixtures("made_up_credentials")
def test_a_profile_that_does_not_exist(run: Run) -> None:
    report = run(region="us-east-1", stream="logs", profile="nobody")
    assert report.code == 1
    assert "known profiles: none" in report.lines["client"][1]


@pytest.mark.parametrize(
    "arguments", [["-p", "stream=logs"], ["-p", "region"], ["--fluent"], ["-p", "strem=logs"]]
)
def test_wrong_use(arguments: list[str], run: Run) -> None:
    assert run(*arguments).code == 2


def test_what_can_be_missing(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(locate, "libpython", lambda: None)
    monkeypatch.setattr(doctor, "library", lambda: tmp_path / "out_kinesis.so")
    report = run()
    assert report.code == 1
    assert report.state("libpython") == report.state("plugin") == "bad"
    assert "apt-get install libpython3" in report.advice["libpython"]
    assert "pip install" in report.advice["plugin"]


def test_a_python_without_a_gil(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sysconfig.get_config_vars(), "Py_GIL_DISABLED", 1)
    report = run()
    assert report.code == 1
    assert report.state("libpython") == "bad"
    assert "a Python with a GIL is required" in report.advice["libpython"]


def test_options_of_the_library_itself(run: Run, tmp_path: Path) -> None:
    report = run(python=str(tmp_path / "python3"), libpython=str(tmp_path / "libpython.so"))
    assert report.code == 1
    assert report.state("interpreter") == report.state("libpython") == "bad"
    (tmp_path / "python3").symlink_to(sys.executable)
    other = run(python=str(tmp_path / "python3"))
    assert other.code == 0
    assert f"{tmp_path}/python3 -m kinesis_fast doctor" in other.lines["interpreter"][1]
    same = run(python=sys.executable)
    assert same.lines["interpreter"][1].startswith(sys.executable)


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        ("echo Fluent Bit v9; echo '  kinesis  Streams'", "ok", "Fluent Bit v9 at"),
        (
            "echo Fluent Bit v9; echo '  kinesis_streams  Streams'",
            "bad",
            "does not load the plugin",
        ),
        ("exit 1", "bad", "does not run"),
    ],
)
def test_fluent_bit(script: str, state: str, said: str, run: Run, tmp_path: Path) -> None:
    program = tmp_path / "fluent-bit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    report = run("--fluent-bit", str(program))
    assert report.lines["Fluent Bit"][0] == state
    assert said in report.lines["Fluent Bit"][1]
    assert report.code == (0 if state == "ok" else 1)


def test_colours_only_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in run().text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[32mok  \x1b[0m interpreter" in run().text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run().text


@pytest.mark.usefixtures("made_up_credentials")
@pytest.mark.parametrize(
    ("is_cbor", "wanted"), [(True, ("ok", "the endpoint takes CBOR")), (False, ("-", None))]
)
def test_whether_the_endpoint_takes_cbor(
    run: Run, monkeypatch: pytest.MonkeyPatch, is_cbor: bool, wanted: tuple[str, str | None]
) -> None:
    monkeypatch.setattr(service_check, "AWS_HOSTS", ("127.0.0.1",))
    asked: list[Any] = []

    def answer(arrived: Arrived) -> bytes:
        if arrived.headers["content-type"] == CBOR_TYPE:
            asked.append(cbor2.loads(arrived.body))
            said = {"__type": "ValidationException", "message": "no records"}
            if is_cbor:
                return http(400, cbor2.dumps(said), content_type=CBOR_TYPE)
            return http(500, b"<html>")
        operation = arrived.headers["x-amz-target"].partition(".")[2]
        status, content = DESCRIBED if operation == "DescribeStreamSummary" else DRY_RUN
        return http(status, json.dumps(content).encode())

    with RawServer(answer) as server:
        report = run(region="us-east-1", stream="logs", endpoint=server.url, protocol="cbor")
    assert report.code == 0
    state, text = wanted
    assert report.state("protocol") == state
    assert text in (None, report.lines["protocol"][1])
    assert asked == [{"Records": [], "StreamName": "logs"}]
