"""A running Fluent Bit that tails one file, as the benchmark needs it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fluent_bit_logs import PARSERS

from kinesis_fast.cli.plugin_path import library

READY = b"[engine] Shutdown Grace Period"
MIB = 1024 * 1024
TIMEOUT_S = 120.0
LOG_TAIL = 3000  # bytes that are shown of the log when something is wrong
POLL_S = 0.02

Options = Mapping[str, object]


class FluentBit:
    """The process; killed at the end of the `with` block.

    Args:
        command: the Fluent Bit to start, with what it is to be started by.
        output: options of the output.
        log_file: what to read.
        parser: how its lines are parsed, None for not at all.
        work: a directory for its configuration and its log.
        environ: its environment.
    """

    def __init__(
        self,
        command: Sequence[str],
        output: Options,
        log_file: Path,
        parser: str | None,
        work: Path,
        environ: Mapping[str, str],
    ) -> None:
        config = work / "fluent-bit.yaml"
        config.write_text(json.dumps(_configuration(output, log_file, parser)))
        self._output = work / "fluent-bit.log"
        self.started_at = time.perf_counter()
        with self._output.open("wb") as output_file:
            self.process = subprocess.Popen(
                [*command, "-c", config],
                stdout=output_file,
                stderr=subprocess.STDOUT,
                env=dict(environ),
            )
        self._has_ended = False

    def __enter__(self) -> "FluentBit":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._has_ended:
            self.process.kill()
            self.process.wait()

    def log(self) -> bytes:
        """All that it wrote so far."""
        return self._output.read_bytes()

    def wait_until_ready(self) -> float:
        """Wait until the engine runs, and return the seconds since the start."""
        self.wait_until(lambda: READY in self.log(), poll_s=POLL_S / 4)
        return time.perf_counter() - self.started_at

    def wait_until(self, condition: Callable[[], bool], poll_s: float = POLL_S) -> None:
        """Wait until a condition holds; exit when the process ends or hangs."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                end = self.log()[-LOG_TAIL:].decode(errors="replace")
                sys.exit(f"Fluent Bit ended, or got stuck:\n{end}")
            time.sleep(poll_s)

    def resident_mib(self) -> float:
        """Its resident memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def position_in(self, path: Path) -> int:
        """Its position in a file, 0 when it is not open."""
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if link.readlink() == path:
                    text = Path(f"/proc/{self.process.pid}/fdinfo/{link.name}").read_text()
                    return int(text.split()[1])
        return 0

    def peak_mib(self) -> float:
        """Its peak memory so far; wait4() would report the peak of our own fork."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def end(self) -> tuple[int, float]:
        """Stop it as systemd does; return its status and its CPU seconds."""
        self.process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(self.process.pid, 0)
        self._has_ended = True
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode, usage.ru_utime + usage.ru_stime


def binary() -> str:
    """The Fluent Bit to run, empty when there is none."""
    return os.environ.get("FLUENT_BIT") or shutil.which("fluent-bit") or ""


def _configuration(output: Options, log_file: Path, parser: str | None) -> dict[str, object]:
    source = {
        "name": "tail",
        "path": str(log_file),
        "read_from_head": "on",
        "mem_buf_limit": "50M",
        **({"parser": parser} if parser else {}),
    }
    return {
        "service": {"flush": 0.2},
        "parsers": PARSERS,
        "plugins": [str(library())] if output["name"] == "kinesis" else [],
        "pipeline": {"inputs": [source], "outputs": [{"match": "*", **output}]},
    }
