"""Threads that flush numbered chunks without a pause, and an exact comparison."""

from __future__ import annotations

import struct
import threading
import time
from collections import Counter
from typing import Final, NamedTuple

from fault_flushes import assert_account
from fault_server import FaultServer
from fault_server_service import Fault

from kinesis_fast import FlushResult, KinesisOutput

TIMEOUT_S: Final = "3"  # http_request_timeout for a server that sometimes does not respond
HEALING_S: Final = 60.0  # the most seconds that a chunk may take
# [[time, {}], {"n": number, "log": text}]
EVENT_HEAD: Final = b"\x92\x92\xce" + struct.pack(">I", 1_700_000_000) + b"\x80\x82\xa1n\xce"
NUMBER: Final = struct.Struct(">I")

FAULTS: Final[list[Fault]] = [
    {"kind": "partial", "chance": 0.1, "seed": 1},
    {"kind": "partial", "chance": 0.9, "seed": 2, "code": "InternalFailure"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 400, "code": "ProvisionedThroughputExceededException"},
    {"kind": "status", "status": 400, "code": "AccessDeniedException"},
    {"kind": "drip", "step": 50, "pause_s": 0.005},
    {"kind": "reset", "when": "before"},
    {"kind": "reset", "when": "during"},
    {"kind": "reset", "when": "after"},
    {"kind": "reset", "keep": True},
    {"kind": "half"},
    {"kind": "half", "then": "hang"},
    {"kind": "hang"},
    {"kind": "wrong_length", "more": -100},
    {"kind": "wrong_count", "more": 1},
    {"kind": "garbage", "keep": True},
    {"kind": "garbage_head"},
    {"kind": "endless", "n_bytes": 1 << 22},
    {"kind": "close"},
    {"kind": "close", "said": False},
    {"kind": "http_1_0"},
    {"kind": "chunked"},
    {"kind": "interim"},
]


def mixed(chance: float, seed: int = 1) -> Fault:
    """Return a fault that is one of all faults with that probability, otherwise none."""
    return {"kind": "mix", "chance": chance, "seed": seed, "of": FAULTS}


class Round(NamedTuple):
    """The result of some seconds of load.

    Attributes:
        n_records: records that were flushed and arrived.
        n_retries: flushes that returned RETRY.
        n_twice: records that arrived more than once, each because a response was lost.
        counts: what the server counted since its reset.
    """

    n_records: int
    n_retries: int
    n_twice: int
    counts: Counter[str]


class Load:
    """Several threads that flush chunks to one output.

    Args:
        output: sends to the server; with experimental_concurrency 0.
        server: what it accepted is compared after each round.
        n_callers: threads.
        chunk_records: records of a chunk.
        padding: bytes of text in each.
    """

    def __init__(
        self,
        output: KinesisOutput,
        server: FaultServer,
        n_callers: int,
        chunk_records: int = 1000,
        padding: int = 200,
    ) -> None:
        self._output = output
        self._server = server
        self._n_callers = n_callers
        self._chunk_records = chunk_records
        self._tail = b"\xa3log\xda" + struct.pack(">H", padding) + b"x" * padding
        self._lock = threading.Lock()
        self._next = 0
        self._n_retries = 0
        self._failures: list[BaseException] = []
        self._n_accepted = 0
        self._n_doubtful = 0

    def run(self, seconds: float) -> Round:
        """Flush chunks for some seconds, wait until all have arrived, and compare."""
        first, self._n_retries = self._next, 0
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._call, args=(number, end))
            for number in range(self._n_callers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self._failures, self._failures
        compared = self._server.assert_exact(first, self._next)
        self._n_accepted += compared.n_accepted
        self._n_doubtful += compared.n_doubtful
        assert_account(self._output, self._n_accepted, self._n_doubtful)
        n_records = self._next - first
        n_twice = compared.n_accepted - n_records
        return Round(n_records, self._n_retries, n_twice, compared.counts)

    def _call(self, number: int, end: float) -> None:
        try:
            while time.monotonic() < end and not self._failures:
                self._bring(self._new_chunk(), f"caller {number}")
        except BaseException as failure:
            self._failures.append(failure)

    def _bring(self, chunk: bytes, tag: str) -> None:
        deadline = time.monotonic() + HEALING_S
        while self._output.flush(chunk, tag) is not FlushResult.OK:
            assert time.monotonic() < deadline, "a chunk does not arrive"
            with self._lock:
                self._n_retries += 1

    def _new_chunk(self) -> bytes:
        with self._lock:
            first = self._next
            self._next += self._chunk_records
        return events(range(first, first + self._chunk_records), self._tail)


def events(numbers: range, tail: bytes) -> bytes:
    """Return a chunk of events with these numbers; `tail` is their other key and its value."""
    return b"".join(EVENT_HEAD + NUMBER.pack(number) + tail for number in numbers)
