"""A service with faults on demand, in its own process, and what must hold afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from fault_server_process import CREDENTIALS_PATH
from fault_server_service import GOOD, Fault

PROGRAM = Path(__file__).with_name("fault_server_process.py")


class Seen(NamedTuple):
    """What a fault server accepted since the last call of seen() or assert_exact().

    Attributes:
        accepted: how often each number arrived.
        doubtful: how often without a valid response in time.
        counts: requests, connections, keys handed out, and the faults by kind.
        violations: what the client sent against the protocol.
    """

    accepted: Counter[int]
    doubtful: Counter[int]
    counts: Counter[str]
    violations: list[str]


class Compared(NamedTuple):
    """How many records a server accepted, and how many without a valid response in time."""

    n_accepted: int
    n_doubtful: int
    counts: Counter[str]


class FaultServer:
    """Runs the server while its context lasts.

    Args:
        certificates: files with a certificate chain and its key, by name.
    """

    def __init__(self, certificates: dict[str, Path] | None = None) -> None:
        self._certificates = {name: str(path) for name, path in (certificates or {}).items()}
        self._process: subprocess.Popen[str] | None = None
        self._ports = [0, 0]

    @property
    def url(self) -> str:
        """The endpoint without encryption."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def tls_url(self) -> str:
        """The endpoint with TLS."""
        return f"https://127.0.0.1:{self._ports[1]}"

    @property
    def credentials_url(self) -> str:
        """URL of short-lived credentials, as a container agent offers them."""
        return f"{self.url}{CREDENTIALS_PATH}"

    def plan(self, *faults: Fault, then: Fault = GOOD) -> None:
        """Set what happens to the next requests, one after the other, and to all others."""
        self._call("plan", faults, then)

    def heal(self) -> None:
        """Stop all faults: answer properly, with a good certificate and without rules."""
        self.plan()
        self.rule()
        if self._certificates:
            self.certificate("good")

    def rule(self, **changes: Any) -> None:
        """Set the rules for all requests; see `fault_server_service.Rules`."""
        self._call("rule", changes)

    def certificate(self, name: str) -> None:
        """Choose the certificate for new connections."""
        self._call("certificate", name)

    def expire_keys(self) -> None:
        """Expire all credentials that were issued so far."""
        self._call("expire_keys")

    def reset(self) -> None:
        """Forget what arrived, and heal."""
        self._call("reset")
        self.heal()

    def seen(self) -> Seen:
        """Return what arrived since the last call of seen() or assert_exact()."""
        answer = self._call("seen")
        return Seen(
            _numbers(answer["accepted"]),
            _numbers(answer["doubtful"]),
            Counter(answer["counts"]),
            answer["violations"],
        )

    def assert_exact(self, first: int, end: int) -> Compared:
        """Assert the same as `assert_arrived`, for many numbers, in the server's process.

        Args:
            first: the first number that was sent since the last call.
            end: the last number plus 1.
        """
        answer = self._call("compare", first, end)
        wrong = {key: answer[key] for key in ("missing", "too_many", "violations") if answer[key]}
        assert not wrong, f"of {first} to {end - 1}: {str(wrong)[:500]}"
        return Compared(answer["n_accepted"], answer["n_doubtful"], Counter(answer["counts"]))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ports = self._call("ports")
        if self._certificates:
            self._call("certificates", self._certificates)
            self.certificate("good")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate()  # it exits when its stdin is closed
        assert self._process.returncode == 0

    def _call(self, command: str, *arguments: Any) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        print(json.dumps([command, *arguments]), file=process.stdin, flush=True)
        line = process.stdout.readline()
        assert line, f"the fault server ended during {command}{arguments}"
        return json.loads(line)


def _numbers(ranges: Iterable[tuple[int, int, int]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for first, end, times in ranges:
        found.update(dict.fromkeys(range(first, end), times))
    return found
