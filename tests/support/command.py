"""The installed command, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from started import Started

from kinesis_fast.local.kinesis import LocalKinesis

COMMAND = str(Path(sys.executable).with_name("kinesis-fast"))
TIMEOUT_S = 60


def as_arguments(options: Mapping[str, str]) -> list[str]:
    """Return options as the arguments -p NAME=VALUE."""
    return [part for name, value in options.items() for part in ("-p", f"{name}={value}")]


def run_command(
    *arguments: str, stdin: bytes = b"", options: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, without any real credentials."""
    done = subprocess.run(
        [COMMAND, *arguments, *as_arguments(options or {})],
        input=stdin,
        capture_output=True,
        env=LocalKinesis.environment(),
        timeout=TIMEOUT_S,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


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
