"""A real Fluent Bit with the plugin of the installed package."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from local_stream import LocalStream

from kinesis_fast.cli.plugin_path import library
from kinesis_fast.local.kinesis import LocalKinesis

PATIENCE_S = 30.0
POLL_S = 0.05
ACCOUNT = re.compile(r"\[kinesis:(\d+)\] records: (.*)")

Section = Mapping[str, object]


def binary() -> str | None:
    """Return the Fluent Bit to test with: $FLUENT_BIT, or the one on PATH."""
    return os.environ.get("FLUENT_BIT") or shutil.which("fluent-bit")


needs_fluent_bit = pytest.mark.skipif(
    binary() is None,
    reason="Fluent Bit was not found: set FLUENT_BIT=/path/to/fluent-bit",
)


def classic(
    service: Section, inputs: Sequence[Section], outputs: Sequence[Section], work: Path
) -> Path:
    """Write a configuration in the classic format, with a file that names the plugin."""
    plugins = work / "plugins.conf"
    plugins.write_text(f"[PLUGINS]\n    Path {library()}\n")
    sections = [("SERVICE", {**service, "plugins_file": plugins})]
    sections += [("INPUT", dict(section)) for section in inputs]
    sections += [("OUTPUT", dict(section)) for section in outputs]
    path = work / "fluent-bit.conf"
    path.write_text("".join(f"[{name}]\n{_lines(options)}\n" for name, options in sections))
    return path


def yaml(
    service: Section, inputs: Sequence[Section], outputs: Sequence[Section], work: Path
) -> Path:
    """Write a configuration in YAML; JSON is YAML."""
    content = {
        "service": service,
        "plugins": [str(library())],
        "pipeline": {"inputs": inputs, "outputs": outputs},
    }
    path = work / "fluent-bit.yaml"
    path.write_text(json.dumps(content, indent=2, default=str))
    return path


def _lines(options: Mapping[str, object]) -> str:
    return "".join(f"    {name} {value}\n" for name, value in options.items())


def tail(path: Path, **more: object) -> dict[str, object]:
    """Return an input that reads a file from its beginning."""
    return {
        "name": "tail",
        "path": path,
        "tag": "t",
        "read_from_head": "on",
        "refresh_interval": 1,
        **more,
    }


def kinesis(target: Mapping[str, str], **more: object) -> dict[str, object]:
    """Return an output that sends everything to a stream."""
    return {"name": "kinesis", "match": "*", **target, **more}


class FluentBit:
    """A process that runs in the `with` block and is killed at its end if it still runs.

    Args:
        config: its configuration file.
        work: a directory; what the process writes to stdout and stderr goes into a file there.
        arguments: further arguments of the command.
        environment: variables besides those that keep real credentials away.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        config: Path,
        work: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = binary()
        assert command is not None
        self._command = [command, "-c", str(config), *arguments]
        self._environment = LocalKinesis.environment() | dict(environment or {})
        self._log = work / f"fluent-bit-{next(self._numbers)}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if error is not None:
            print(self.log(), file=sys.stderr)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self._process is not None
        return self._process

    def log(self) -> str:
        """Return everything it has written so far."""
        return self._log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until its log contains a text."""
        self.wait_until(lambda: self.log().count(text) >= times, f"{text!r} in the log")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds; fail when the process ends."""
        wait_until(condition, what, self._is_running)

    def wait_for_records(self, stream: LocalStream, number: int) -> None:
        """Wait until a stream holds the given number of records."""
        self.wait_until(lambda: len(stream.read()) >= number, f"{number} records")

    def wait_for_accounts(self, number: int) -> None:
        """Wait until the given number of plugin instances have ended."""
        self.wait_until(lambda: len(self.accounts()) >= number, f"{number} accounts")

    def wait(self) -> int:
        """Wait until it ends, and return its exit status."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Stop it as systemd does, and return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def accounts(self) -> list[dict[str, int]]:
        """Return the account of each instance that has ended, in the order of the log."""
        return [
            {name: int(value) for name, value in (pair.split("=") for pair in pairs.split())}
            for _, pairs in ACCOUNT.findall(self.log())
        ]

    def complaints(self) -> list[str]:
        """Return the errors and warnings of the plugin in its log."""
        return [
            line
            for line in self.log().splitlines()
            if "kinesis" in line and ("[error]" in line or "[ warn]" in line)
        ]

    def _is_running(self) -> None:
        status = self.process.poll()
        assert status is None, f"Fluent Bit ended with status {status}"


def wait_until(
    condition: Callable[[], bool], what: str, check: Callable[[], object] = lambda: None
) -> None:
    """Wait until a condition holds; check() is called in between and may raise."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        check()
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s in vain for {what}"
        time.sleep(POLL_S)
