"""The installed command, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from command_server import CommandServer
from started import Started

from kinesis_fast.local.kinesis import LocalKinesis

COMMAND = str(Path(sys.executable).with_name("kinesis-fast"))
TIMEOUT_S = 60


def as_arguments(options: Mapping[str, str]) -> list[str]:
    """Return options as the arguments -p NAME=VALUE."""
    return [part for name, value in options.items() for part in ("-p", f"{name}={value}")]


def run_command(
    *arguments: str, stdin: bytes = b"", options: Mapping[str, str] | None = None, closed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, without any real credentials.

    Args:
        arguments: after its name.
        stdin: what it can read.
        options: further arguments, as -p NAME=VALUE.
        closed: the numbers of its streams that are closed, such as "12".
    """
    command = [*arguments, *as_arguments(options or {})]
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writing, stdin))
    feeder.start()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = (reading, out.fileno(), err.fileno())
        try:
            status = _server().run(command, LocalKinesis.environment(), streams, closed)
        finally:
            os.close(reading)
            feeder.join()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            command, status, out.read().decode(), err.read().decode()
        )


def run_script(
    *arguments: str, stdin: bytes = b"", closed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the installed script as a user does; run_command takes much less time.

    Args:
        arguments: after its name.
        stdin: what it can read.
        closed: the numbers of its streams that are closed, such as "12".
    """
    redirections = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$0" "$@" {redirections}', COMMAND, *arguments]
    environment = LocalKinesis.environment()
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        env=environment,
        timeout=TIMEOUT_S,
        check=False,
    )
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@cache
def _server() -> CommandServer:
    return CommandServer(TIMEOUT_S)


def _feed(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as pipe:
        while data:
            data = data[pipe.write(data) :]


def start_command(
    *arguments: str, stdin: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> Started[str]:
    """Start the command without waiting for it."""
    return Started[str](
        [COMMAND, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=LocalKinesis.environment(),
        text=True,
    )


def rows(account: str) -> dict[str, int]:
    """Return the rows of an account that `send` has printed."""
    found: dict[str, int] = {}
    for line in account.splitlines():
        name, number = line[:10].strip(), line[10:22].strip().replace(",", "")
        if number.isdigit():
            found[name] = int(number)
    return found


def lines(number: int, text: str = "line") -> bytes:
    """Return n different lines of text."""
    return b"".join(f"{text} {index}\n".encode() for index in range(number))


def log_records(texts: Iterable[str]) -> list[bytes]:
    """Return the data of the records of lines of text, sorted."""
    return sorted(json.dumps({"log": text}, separators=(",", ":")).encode() for text in texts)


def joined(parts: Iterable[str]) -> str:
    """Join lines of help or log, so that sentences can be found in them."""
    return " ".join(" ".join(parts).split())
