"""The installed command, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from kinesis_fast.local.kinesis import LocalKinesis

COMMAND = str(Path(sys.executable).with_name("kinesis-fast"))
TIMEOUT_S = 60


class Started(subprocess.Popen[str]):
    """A command that ends when its test fails: nothing waits for it then."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for its end."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)


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
) -> Started:
    """Start the command without waiting for it."""
    return Started(
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


def joined(parts: Iterable[str]) -> str:
    """Join lines of help or log, so that sentences can be found in them."""
    return " ".join(" ".join(parts).split())
