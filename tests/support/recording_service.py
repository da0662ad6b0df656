"""A service that writes down what each request brought, in a process of its own: also a program.

Usage: recording_service.py FAULT_RATE. It writes its URL on a line, then serves until its input
ends, then writes what arrived, pickled. Records are JSON that begins with {"n":NUMBER,
and may be aggregated or joined, and then compressed.
"""

from __future__ import annotations

import json
import pickle
import random
import re
import subprocess
import sys
from array import array
from base64 import b64decode
from pathlib import Path
from typing import NamedTuple, Self

from aggregated import user_records
from fake_transport import INTERNAL, THROTTLED, entries_answer
from raw_server import Arrived, RawServer, http

from kinesis_fast.reading.inflate import inflate

KEY_ID = re.compile(r"Credential=([^/]+)/")
FAULTS = ("partial", "error", "lost", "response lost")
SHARE_FAILED = 0.3  # of the entries of a request that fails in part
TIMEOUT_S = 30


class Accepted(NamedTuple):
    """What a request brought that the service took.

    Attributes:
        key_id: of the credentials that it was signed with.
        is_doubtful: whether the client got no response.
        numbers: of the records.
    """

    key_id: str
    is_doubtful: bool
    numbers: array[int]


class Recorder:
    """Responds to the requests of its `server`, which its user starts.

    Args:
        fault_rate: the share of requests that something happens to.

    Attributes:
        accepted: what it took.
        error_share: the share of requests that get HTTP 500 besides.
    """

    def __init__(self, fault_rate: float = 0.0) -> None:
        self.accepted: list[Accepted] = []
        self.error_share = 0.0
        self._fault_rate = fault_rate
        self._chance = random.Random(7)
        self.server = RawServer(self._respond)

    def _respond(self, arrived: Arrived) -> bytes | None:
        self.server.arrived.clear()
        match = KEY_ID.search(arrived.headers["authorization"])
        assert match
        if self._chance.random() < self.error_share:
            return http(500, b"{}")
        fault = ""
        if self._chance.random() < self._fault_rate:
            fault = self._chance.choice(FAULTS)
        if fault == "error":
            return http(500, b"{}")
        if fault == "lost":
            return None
        entries = json.loads(arrived.body)["Records"]
        codes: list[str | None] = [None] * len(entries)
        if fault == "partial":
            code = self._chance.choice((THROTTLED, INTERNAL))
            codes = [code if self._chance.random() < SHARE_FAILED else None for _ in entries]
        numbers = array(
            "q",
            (
                number
                for entry, code in zip(entries, codes, strict=True)
                if code is None
                for number in numbers_of(b64decode(entry["Data"]))
            ),
        )
        self.accepted.append(Accepted(match[1], fault == "response lost", numbers))
        return None if fault == "response lost" else http(200, entries_answer(codes).body)


def numbers_of(data: bytes) -> list[int]:
    """Return the numbers of the records in an entry, which may be compressed or an aggregate."""
    return [number_of(record) for record in user_records(inflate(data).data)]


def number_of(data: bytes) -> int:
    """Return the number of a record."""
    return int(data[5:].partition(b",")[0].rstrip(b"}"))


class RecordingService:
    """The program, run for as long as the context lasts.

    Args:
        fault_rate: the share of requests that something happens to: entries that fail, HTTP 500,
            a connection that is closed before or after the entries were taken.

    Attributes:
        url: where it listens.
    """

    url: str

    def __init__(self, fault_rate: float = 0.0) -> None:
        self._fault_rate = fault_rate

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(self._fault_rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().decode().strip()
        return self

    def accepted(self) -> list[Accepted]:
        """End it. Returns what it took."""
        done, _ = self._process.communicate(timeout=TIMEOUT_S)
        return [Accepted(*fields) for fields in pickle.loads(done)]

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Serve."""
    recorder = Recorder(float(sys.argv[1]))
    with recorder.server as server:
        print(server.url, flush=True)
        sys.stdin.read()
    sys.stdout.buffer.write(pickle.dumps([tuple(accepted) for accepted in recorder.accepted]))


if __name__ == "__main__":
    main()
