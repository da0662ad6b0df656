"""Outputs that live for one chunk, with an exception at a random line of the delivery."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
import threading
import time
from typing import Final

from aggregated import REFUSED
from chunks import output_config
from fault_flushes import BRISK
from fault_load import HEALING_S, TIMEOUT_S, events, mixed
from fault_server import FaultServer
from fault_server_service import Fault
from interruptions import AGGREGATING_MODES, ERRORS, MODES, MODULES, Interruption
from outputs import assert_balanced

from kinesis_fast import FlushResult, KinesisOutput, Transport

N_LINES: Final = 900  # about as many run while a chunk is delivered; a few more with a spool
CHUNK_RECORDS: Final = 1200
TAIL: Final = b"\xa3log\xa4text"
CLOSE_S: Final = 10.0
ALL_MODES: Final = MODES | AGGREGATING_MODES
# The first request of aggregates: the service refuses two, so their records come one by one. Full
# aggregates come first; one of a single record, at the end, would be a dead letter.
REFUSAL: Final[Fault] = {"kind": "partial", "indexes": [0, 3], "code": REFUSED}


class InterruptedLoad:
    """Makes one output after the other, in each mode, all with the same transport.

    Args:
        server: what it accepted is compared after each round.
        transport: sends to it; it is used by this load alone.
        chance: of a fault, for each request.
        seed: of the faults, the lines, the exceptions and the number of requests in flight.

    Attributes:
        n_raised: exceptions so far.
    """

    def __init__(
        self, server: FaultServer, transport: Transport, chance: float, seed: int = 1
    ) -> None:
        self._server = server
        self._transport = transport
        self._chance_of_fault = chance
        self._chance = random.Random(seed)
        self._modes = itertools.cycle(ALL_MODES)
        self._next = 0
        self.n_raised = 0

    def run(self, seconds: float) -> None:
        """Deliver chunks for some seconds; assert that all records arrived, and the accounts."""
        first, end = self._next, time.monotonic() + seconds
        while time.monotonic() < end:
            self._deliver(next(self._modes))
        seen = self._server.seen()
        assert not seen.violations, seen.violations
        missing = [number for number in range(first, self._next) if not seen.accepted[number]]
        assert not missing, f"{len(missing)} records are lost, {missing[:5]} ..."

    def _deliver(self, mode: str) -> None:
        directory = tempfile.mkdtemp(prefix="kinesis-fast-soak-")
        options = {name: text.format(directory) for name, text in ALL_MODES[mode].items()}
        options |= {"max_in_flight": self._chance.choice(("1", "4"))}
        options |= {"dead_letter_dir": f"{directory}/dead", "http_request_timeout": TIMEOUT_S}
        config = output_config(options, experimental_concurrency_retries="10")
        output = KinesisOutput(config, self._transport, timing=BRISK)
        seed = self._chance.getrandbits(32)
        first = [REFUSAL] if mode in AGGREGATING_MODES else []
        self._server.plan(*first, then=mixed(self._chance_of_fault, seed))
        numbers = range(self._next, self._next + CHUNK_RECORDS)
        self._next += CHUNK_RECORDS
        error = self._chance.choice(ERRORS)
        interruption = Interruption(MODULES, self._chance.randrange(N_LINES), error)
        chunk = events(numbers, TAIL)
        with interruption.active():
            is_done = bring(output, chunk)
        deadline = time.monotonic() + HEALING_S
        where = f"{mode}, {options['max_in_flight']} in flight"
        while not is_done or output.stats()["pending"]:
            assert time.monotonic() < deadline, f"{where}: {output.stats()}"
            # A thread that ended at its very first line leaves its task for the next call.
            is_done = bring(output, b"" if is_done else chunk) or is_done
            time.sleep(0.001)
        output.close(CLOSE_S)
        self.n_raised += bool(interruption.place)
        where = f"{where}: {error.__name__} at {interruption.place or 'no line'}"
        stats: dict[str, int] = output.stats()
        assert_balanced(stats)
        assert (stats["pending"], stats["dead"]) == (0, 0), f"{where}: {stats}"
        assert time.monotonic() < deadline + CLOSE_S, f"{where}: close() waits"
        shutil.rmtree(directory)


def bring(output: KinesisOutput, chunk: bytes) -> bool:
    """Flush once. Returns whether that was OK; a flush that raises takes no chunk over."""
    try:
        return output.flush(chunk, "app") is FlushResult.OK
    except ERRORS:
        return False


def keep_quiet() -> None:
    """Write no traceback of threads that end with an exception that was put in."""
    write = threading.excepthook

    def quietly(args: threading.ExceptHookArgs) -> None:
        if not str(args.exc_value).startswith("put in"):
            write(args)

    threading.excepthook = quietly
