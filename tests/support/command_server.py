"""Runs the command in forks of a process that has imported it, which is what takes the time.

A fork has its own streams, environment and exit, as if the installed script had been started.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

MAX_MESSAGE: Final = 1 << 20  # bytes
HANGS: Final = -signal.SIGKILL  # the exit status of a run that took too long


class CommandServer:
    """The process that forks, and the connection to it. It ends with the process that made it.

    Args:
        timeout_s: seconds that a run may take.
    """

    def __init__(self, timeout_s: float) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-P", str(Path(__file__)), str(number), str(timeout_s)]
            self._process = subprocess.Popen(
                command, pass_fds=[number], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        closed: str = "",
    ) -> int:
        """Run the command to its end.

        Args:
            arguments: after the command's name.
            environment: all of its variables.
            streams: descriptors for stdin, stdout and stderr.
            closed: the numbers of those that are closed for the command, such as "12".

        Returns:
            The exit status; minus the number of the signal that ended it.
        """
        message = json.dumps([list(arguments), dict(environment), str(Path.cwd()), closed])
        socket.send_fds(self._socket, [message.encode()], streams)
        status = int(self._socket.recv(MAX_MESSAGE))
        assert status != HANGS, f"it does not end: {arguments}"
        return status


def serve(connection: socket.socket, timeout_s: float) -> int:
    """Fork for each message; returns in each fork what the command returns, and at the end."""
    from kinesis_fast.cli import COMMANDS, main  # noqa: PLC0415 - the tests do not need them

    for name in COMMANDS:
        importlib.import_module(f"kinesis_fast.cli.{name.replace('-', '_')}")
    gc.freeze()  # or the end of each fork would copy all pages that it has imported
    while True:
        message, descriptors, *_ = socket.recv_fds(connection, MAX_MESSAGE, 3)
        if not message:
            return 0
        child = os.fork()
        if child == 0:
            connection.close()
            arguments, environment, directory, closed = json.loads(message)
            os.environ.clear()
            os.environ.update(environment)
            time.tzset()
            os.chdir(directory)
            replace_streams(descriptors, closed)
            return main(arguments)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(status_of(child, timeout_s)).encode())


def replace_streams(descriptors: Sequence[int], closed: str) -> None:
    """Do what a shell and the start of Python do; the name of a closed stream is None."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    streams: list[TextIO | None] = [
        open(0, closefd=False),  # noqa: SIM115 - they stay open until the end
        open(1, "w", closefd=False),  # noqa: SIM115
        open(2, "w", buffering=1, errors="backslashreplace", closefd=False),  # noqa: SIM115
    ]
    for number in map(int, closed):
        os.close(number)
        streams[number] = None
    sys.stdin, sys.stdout, sys.stderr = streams


def status_of(child: int, timeout_s: float) -> int:
    """Wait for the end of a process, and end it when that takes too long."""
    end = os.pidfd_open(child)
    if not select.select([end], [], [], timeout_s)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(end)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        code = serve(connection, float(sys.argv[2]))
    sys.exit(code)
