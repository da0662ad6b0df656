"""Runs the host of tests/host/host.c, which uses the plugin's library like Fluent Bit does."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

import kinesis_fast
from kinesis_fast.local.kinesis import LocalKinesis

LIBRARY = Path(kinesis_fast.__file__).parent / "host" / "out_kinesis.so"
SOURCES = Path(__file__).resolve().parents[1] / "host"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
PATIENCE_S = 60.0
MAX_WAITING_STACK = 8 * 1024  # bytes of the 64 KiB stack of a Fluent Bit coroutine
PAGE = os.sysconf("SC_PAGE_SIZE")
STANDARD_SIGNALS = 0x7FFFFFFF
TICKS = os.sysconf("SC_CLK_TCK")
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")

LINE = re.compile(
    r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}\] "
    r"\[(trace|debug| info| warn|error)\] \[kinesis(?::(\d+))?\] (.+)"
)
SANITIZER_REMARK = re.compile(r"==\d+==WARNING: ASan doesn't fully support makecontext.*\n")


class LogLine(NamedTuple):
    """A line in Fluent Bit's layout; the number is None before there is an output."""

    level: str
    number: int | None
    text: str


class Batch(NamedTuple):
    """How often flush returned each code, and its highest use of the caller's stack in bytes."""

    error: int
    ok: int
    retry: int
    other: int
    stack: int


def compile_host(directory: Path) -> Path:
    """Compile the host into a directory and return its path."""
    program = directory / "host"
    sources = sorted(SOURCES.glob("*.c"))
    compile_c(program, sources, ("-O2", *WARNINGS))
    return program


def compile_c(output: Path, sources: Iterable[Path], flags: Iterable[str]) -> None:
    """Compile C11 with `cc`."""
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-g", *flags, *map(str, sources)]
    command += ["-o", str(output), "-pthread", "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def has_compiler() -> bool:
    """Whether there is a C compiler on PATH."""
    return shutil.which("cc") is not None


def host_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with fake credentials and without Python's variables."""
    ours = ("PYTHON", "VIRTUAL_ENV", "KINESIS_FAST_", "FLB_LOG_LEVEL", "SEND_FAILURE_TIMEOUT")
    inherited = LocalKinesis.environment()
    return {k: v for k, v in inherited.items() if not k.startswith(ours)} | dict(more)


class PluginHost:
    """A running host that has loaded and registered the plugin, like Fluent Bit at its start.

    Args:
        program: the path that compile_host() returned.
        directory: for the files of this host.
        environ: variables in addition to host_environment().
        library: the plugin's library.
        daemon: after the registration, fork, end the parent, and open the file
            `in_place_of_stderr` with the descriptor of standard error.
    """

    def __init__(
        self,
        program: Path,
        directory: Path,
        environ: Mapping[str, str] | None = None,
        library: Path = LIBRARY,
        daemon: bool = False,
    ) -> None:
        self._directory = directory
        self._library = library
        self._stderr_path = directory / "stderr.log"
        self._n_chunks = 0
        self.in_place_of_stderr = directory / "not-stderr"
        with self._stderr_path.open("wb") as stderr:
            self._process = subprocess.Popen(
                [str(program), *(["--reap"] if daemon else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=host_environment(environ or {}),
            )
        self.pid = self._process.pid
        self.load()
        self.register()
        if daemon:
            self.pid = int(self.call("fork", str(self.in_place_of_stderr)))
        self.start_engine()

    def load(self) -> None:
        """Open the library, again if it is already open."""
        assert self.call("load", str(self._library)) == "loaded"

    def unload(self) -> None:
        """Close the library that was opened first."""
        assert self.call("unload") == "unloaded"

    def register(self) -> None:
        """Register the plugin and check that it is an output for logs with the Go proxy's ABI."""
        assert self.call("register") == "name=kinesis type=2 proxy=11 flags=0 event_type=0"

    def start_engine(self) -> None:
        """Continue in a new thread, like Fluent Bit's pipeline."""
        assert self.call("engine") == "started"

    def stop_engine(self) -> None:
        """Continue in the thread that started this one."""
        assert self.call("stop") == "stopped"

    def init(self, name: str, options: Mapping[str, str]) -> int:
        """Create an output; return the result of Init."""
        return int(self.call("init", name, *(f"{key}={value}" for key, value in options.items())))

    def flush(self, name: str, chunk: bytes, tag: str = "app.log", times: int = 1) -> Batch:
        """Flush on the engine's thread."""
        return _batch(self.call("flush", name, tag, self.write_chunk(chunk), str(times)))

    def start(
        self, thread: int, name: str, chunk: bytes, tag: str = "app.log", times: int = 1
    ) -> None:
        """Start flushes on another thread."""
        path = self.write_chunk(chunk)
        assert self.call("start", str(thread), name, tag, path, str(times)) == "started"

    def join(self, thread: int) -> Batch:
        """Wait for the flushes that start() started."""
        return _batch(self.call("join", str(thread)))

    def exit(self, name: str) -> int:
        """Close an output; return the result of Exit."""
        return int(self.call("exit", name))

    def write_chunk(self, chunk: bytes) -> str:
        """Write a chunk into a file and return its path."""
        self._n_chunks += 1
        path = self._directory / f"chunk{self._n_chunks}"
        path.write_bytes(chunk)
        return str(path)

    def call(self, *fields: str) -> str:
        """Send one command and return the reply; raise AssertionError if the host has ended."""
        self.send(*fields)
        return self.reply()

    def send(self, *fields: str) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(fields).encode("utf-8", "surrogateescape") + b"\n")
        self._process.stdin.flush()

    def reply(self) -> str:
        """Wait for the reply to a command that was sent."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_S)
        assert ready, f"no reply; the log:\n{self.log_text()}"
        line = self._process.stdout.readline()
        assert line, (
            f"the host ended with status {self._process.wait()}; the log:\n{self.log_text()}"
        )
        return line.decode().rstrip("\n")

    def quit(self) -> int:
        """Let the host call exit() and return its status, negative after a signal."""
        self.send("quit")
        return self.wait()

    def wait(self) -> int:
        """Wait until the host ends and return its status."""
        return self._process.wait(PATIENCE_S)

    def log_text(self) -> str:
        """Return what the host has written to stderr so far."""
        return self._stderr_path.read_text("utf-8", "backslashreplace")

    def log(self, *levels: str) -> list[LogLine]:
        """Return the log lines of these levels (default: all); check the layout of every line."""
        lines = []
        for line in SANITIZER_REMARK.sub("", self.log_text()).splitlines():
            match = LINE.fullmatch(line)
            assert match, f"not in Fluent Bit's layout: {line}"
            number = None if match[2] is None else int(match[2])
            lines.append(LogLine(match[1].strip(), number, match[3]))
        return [line for line in lines if not levels or line.level in levels]

    def memory(self) -> int:
        """Return the bytes of resident memory that do not belong to a file."""
        return int(re.findall(r"^RssAnon:\s+(\d+) kB$", self._status(), re.M)[0]) * 1024

    def resident(self) -> int:
        """Return the bytes of resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]) * PAGE

    def cpu_s(self) -> float:
        """Return the processor time in seconds, including that of ended children."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS

    def signals(self) -> list[int]:
        """Return the bit sets of ignored and of caught signals, without real-time signals."""
        sets = re.findall(r"^Sig(?:Ign|Cgt):\s+(\w+)$", self._status(), re.M)
        return [int(numbers, 16) & STANDARD_SIGNALS for numbers in sets]

    def n_threads(self) -> int:
        """Return the number of threads."""
        return int(re.findall(r"^Threads:\s+(\d+)$", self._status(), re.M)[0])

    def libpython(self) -> str | None:
        """Return the path of the libpython that the host has opened, or None."""
        return next(iter(re.findall(r"/\S*/libpython3\.\d\S*$", self.maps(), re.M)), None)

    def maps(self) -> str:
        """Return the memory map, which names the libraries that the host has opened."""
        return Path(f"/proc/{self.pid}/maps").read_text("utf-8")

    def _status(self) -> str:
        return Path(f"/proc/{self.pid}/status").read_text("utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            if process.poll() is None:
                process.kill()


def _batch(reply: str) -> Batch:
    return Batch(**{name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", reply)})


def assert_ok(batch: Batch, times: int = 1) -> None:
    """Assert that all flushes returned OK and used little of the callers' stacks."""
    assert batch[:4] == (0, times, 0, 0)
    assert 0 < batch.stack < MAX_WAITING_STACK


def assert_clean_end(host: PluginHost, *names: str) -> None:
    """Close outputs, let the host call exit(), and assert that it logged no error."""
    for name in names:
        assert host.exit(name) == 1
    assert host.quit() == 0
    assert host.log("error") == []
