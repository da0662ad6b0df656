"""`--keep`: a local Kinesis runs on after `send` or `demo`, so that `read` can look at it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import lines, run_command, start_command

from kinesis_fast.cli import main
from kinesis_fast.local.kinesis import plain_client


@pytest.fixture
def kept_by_send(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A `send --local --keep` that has sent 500 lines, and the URL of its Kinesis."""
    file = tmp_path / "app.log"
    file.write_bytes(lines(500))
    with start_command("send", str(file), "--format", "lines", "--local", "--keep") as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        url = re.search(r"kinesis-fast read --local (http://127.0.0.1:\d+)$", first)
        assert url is not None, first
        assert running.stderr.readline() == "the local Kinesis runs until Ctrl-C\n"
        try:
            yield running, url[1]
        finally:
            running.kill()


def test_what_send_has_sent_to_a_local_kinesis_can_be_read(
    kept_by_send: tuple[subprocess.Popen[str], str],
) -> None:
    running, url = kept_by_send
    done = run_command("read", "--local", url)
    assert done.returncode == 0, done.stderr
    found = sorted(json.loads(line)["log"] for line in done.stdout.splitlines())
    assert found == sorted(lines(500).decode().splitlines())
    assert done.stderr.startswith("500 records from 500 stored records, ")
    port = url.rpartition(":")[2]
    assert run_command("read", "--local", port, "-p", "stream=local").stdout == done.stdout
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (0, "")
    assert out.endswith("arrived in the local Kinesis: 500 records\n")
    gone = run_command("read", "--local", url, "--patience", "1")
    assert gone.returncode == 1
    assert "EndpointConnectionError" in gone.stderr


def test_a_stream_has_to_be_named_if_there_are_several(
    kept_by_send: tuple[subprocess.Popen[str], str],
) -> None:
    _, url = kept_by_send
    client = plain_client(url, "us-east-1")
    client.create_stream(StreamName="second", ShardCount=1)
    done = run_command("read", "--local", url)
    assert done.returncode == 2
    assert (
        "this Kinesis has the streams: local, second; name one with -p stream=NAME" in done.stderr
    )
    assert run_command("read", "--local", url, "-p", "stream=second").returncode == 0
    for name in ("local", "second"):
        client.delete_stream(StreamName=name)
    client.close()
    assert "this Kinesis has the streams: none" in run_command("read", "--local", url).stderr


def test_the_records_of_the_demo_can_be_read() -> None:
    with start_command("demo", "--records", "950", "--keep") as running:
        assert running.stderr is not None
        url = running.stderr.readline().split()[-1]
        assert running.stderr.readline() == "the local Kinesis runs until Ctrl-C\n"
        done = run_command("read", "--local", url)
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert out.endswith("delivered 950 of 950\n")
    assert done.stderr.startswith("950 records ")


def test_keep_is_for_a_local_kinesis(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", os.devnull, "--format", "lines", "--keep"]) == 2
    assert "--keep is for the local Kinesis of --local" in capsys.readouterr().err
