"""Kills a process that flushes into a spool, again and again, and compares: a program.

Usage: kill_flush.py SPOOL_DIR ROUNDS [NAME=VALUE ...]. The worker has two outputs with one
spool_dir, with and without partition_key, and with the options given. It writes to a pipe which
chunk it flushes and what flush returned. The content of a pipe survives the worker. Each worker has
its own access key, so the service knows which worker sent a record. Every SOFT_ENDth worker is not
killed: it closes its outputs and ends.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from chunks import event, old_event, output_config
from outputs import assert_balanced
from recording_service import Accepted, RecordingService
from spools import all_files, wait_until_empty

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.chunk_group import REQUESTS_PER_NOTE
from kinesis_fast.delivery.context import Timing

FAULT_RATE: Final = 0.01
MAX_LIFE_S: Final = 0.3  # after the first flush
SOFT_END: Final = 7
PATIENCE_S: Final = 120.0
N_SLOTS: Final = 2
MAX_IN_FLIGHT: Final = 4
BASE: Final = 100_000  # numbers of records: of the chunk times this, and of the event
EVENTS: Final = (1, 30, 600, 3_000, 20_000)  # in a chunk
PADDING: Final = (0, 200, 3_000)  # bytes of a record, in chunks that are not large
SKIPPED_EVERY: Final = 11
KEYS: Final[tuple[dict[str, str], ...]] = ({}, {"partition_key": "key"})
MORE: Final = dict(text.split("=", 1) for text in sys.argv[3:])


def n_events_of(number: int) -> int:
    """Return how many events the chunk with this number has."""
    return random.Random(number).choice(EVENTS)


def is_skipped(index: int) -> bool:
    """Return whether the event at an index is not a map, so that it is skipped."""
    return index % SKIPPED_EVERY == SKIPPED_EVERY - 1


def numbers_of(number: int) -> set[int]:
    """Return the numbers of the records of a chunk."""
    return {number * BASE + index for index in range(n_events_of(number)) if not is_skipped(index)}


def chunk_of(number: int) -> bytes:
    """Return the chunk with this number."""
    n_events = n_events_of(number)
    padding = "x" * (PADDING[number % len(PADDING)] if n_events <= EVENTS[2] else 0)
    make = old_event if number % 5 == 0 else event
    return b"".join(
        make(7)
        if is_skipped(index)
        else make({"n": number * BASE + index, "key": f"key {index % 13}", "pad": padding})
        for index in range(n_events)
    )


# --- the worker ---


def open_outputs(root: Path, url: str, chance: random.Random) -> list[KinesisOutput]:
    """Return the two outputs, with short waits between retries."""
    timing = Timing(random=lambda: chance.random() * 0.02)
    return [
        KinesisOutput(
            output_config(
                {**MORE, **keys},
                endpoint=url,
                spool_dir=str(root),
                spool_max_bytes="12M",
                experimental_concurrency=str(N_SLOTS),
                max_in_flight=str(MAX_IN_FLIGHT),
            ),
            timing=timing,
        )
        for keys in KEYS
    ]


def work(root: Path, url: str, pipe: int, first: int) -> None:
    """Flush until SIGKILL, or until SIGTERM for an orderly end."""
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    chance = random.Random(first)
    outputs = open_outputs(root, url, chance)
    number = first
    while not ended:
        chunk = chunk_of(number)
        os.write(pipe, f"begin {number}\n".encode())
        result = outputs[number % 2].flush(chunk, f"tag {number}")
        os.write(pipe, f"{result.name} {number}\n".encode())
        if result is not FlushResult.OK:
            time.sleep(0.005)
        number += 1
    for output in outputs:
        output.close(chance.random() * 0.2)
        assert_balanced(output.stats())
    os.write(pipe, b"closed 0\n")


def drain(root: Path, url: str) -> dict[str, int]:
    """Deliver all chunks that are left. Returns the sums of the stats of both outputs."""
    outputs = open_outputs(root, url, random.Random(0))
    wait_until_empty(root, PATIENCE_S)
    total: Counter[str] = Counter()
    for output in outputs:
        output.close()
        stats = output.stats()
        assert_balanced(stats)
        assert (stats["pending"], stats["dead"], stats["returned"]) == (0, 0, 0), stats
        total.update(stats)
    return total


# --- the rounds ---


class Results:
    """What the workers reported.

    Attributes:
        next_number: of the next chunk.
        begun: the numbers of all chunks.
        ok: of those whose flush returned OK.
        returned: of those whose flush returned RETRY.
        n_closed: workers that ended in order.
    """

    def __init__(self) -> None:
        self.next_number = 0
        self.begun: set[int] = set()
        self.ok: set[int] = set()
        self.returned: set[int] = set()
        self.n_closed = 0

    def update(self, text: str) -> None:
        """Read the report of a worker."""
        for line in text.splitlines():
            what, number = line.split()
            if what == "begin":
                self.begun.add(int(number))
                self.next_number = int(number) + 1
            elif what == "OK":
                self.ok.add(int(number))
            elif what == "RETRY":
                self.returned.add(int(number))
            else:
                self.n_closed += 1


def one_round(root: Path, url: str, round_: int, results: Results, life_s: float) -> None:
    """Run a worker for life_s seconds after its first flush."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            os.environ["AWS_ACCESS_KEY_ID"] = f"ROUND{round_:05d}"
            work(root, url, writing, results.next_number)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    is_soft = round_ % SOFT_END == SOFT_END - 1
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        text = bytearray()
        while not text.count(b"\n") >= 2:
            more = pipe.read(1 << 16)
            assert more, "the worker failed"
            text += more
        end = time.monotonic() + life_s
        while (left := end - time.monotonic()) > 0:
            if select.select([pipe], [], [], left)[0]:
                text += pipe.read(1 << 16)
        os.kill(child, signal.SIGTERM if is_soft else signal.SIGKILL)
        while more := pipe.read(1 << 16):
            text += more
    _, status = os.waitpid(child, 0)
    assert is_soft or os.WIFSIGNALED(status), "the worker failed"
    assert not is_soft or status == 0, "the worker did not end in order"
    results.update(text.decode())


def check(accepted: list[Accepted], results: Results) -> dict[str, Any]:
    """Compare what arrived with what was flushed. Returns figures."""
    arrived: Counter[int] = Counter()
    last_key: dict[int, str] = {}
    by_key: dict[str, Counter[int]] = {}
    doubtful: dict[str, Counter[int]] = {}
    for request in accepted:
        arrived.update(request.numbers)
        by_key.setdefault(request.key_id, Counter()).update(request.numbers)
        if request.is_doubtful:
            doubtful.setdefault(request.key_id, Counter()).update(request.numbers)
        for n in request.numbers:
            last_key[n] = max(request.key_id, last_key.get(n, ""))

    known = set().union(*map(numbers_of, results.begun - results.returned))
    promised = set().union(*map(numbers_of, results.ok))
    assert not promised - arrived.keys(), f"{len(promised - arrived.keys())} records are lost"
    strange = arrived.keys() - known
    assert not strange, f"{len(strange)} records were not flushed, or were returned: {min(strange)}"
    begun_only = results.begun - results.ok - results.returned
    for chunk in begun_only:  # all of its records arrived, or none
        assert len(numbers_of(chunk) & arrived.keys()) in {0, len(numbers_of(chunk))}, chunk

    # One process sends a record twice only when it got no response.
    for key, numbers in by_key.items():
        for n, times in numbers.items():
            if times > 1:
                assert times <= 1 + doubtful[key][n], f"{key} sent {n} {times} times"

    # After a kill the next process repeats the requests that were not in the saved progress.
    repeated: Counter[tuple[str, int]] = Counter()
    for request in accepted:
        if any(last_key[n] > request.key_id for n in request.numbers):
            repeated[request.key_id, request.numbers[0] // BASE] += 1
    worst = max(repeated.values(), default=0)
    assert worst <= REQUESTS_PER_NOTE + MAX_IN_FLIGHT, repeated.most_common(5)
    chunks_at_once = Counter(key for key, _ in repeated)
    assert max(chunks_at_once.values(), default=0) <= N_SLOTS * len(KEYS), chunks_at_once
    return {
        "chunks": len(results.ok),
        "returned": len(results.returned),
        "killed in a flush": len(begun_only),
        "records": len(arrived),
        "requests": len(accepted),
        "duplicates": arrived.total() - len(arrived),
        "requests repeated for a chunk, at most": worst,
    }


def main() -> None:
    """Do the rounds and print the figures."""
    root, n_rounds = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(n_rounds)
    results = Results()
    with RecordingService(FAULT_RATE) as service:
        for round_ in range(n_rounds):
            one_round(root, service.url, round_, results, chance.random() * MAX_LIFE_S)
        os.environ["AWS_ACCESS_KEY_ID"] = "ROUND99999"
        drained = drain(root, service.url)
        accepted = service.accepted()
    assert not all_files(root)
    assert results.n_closed == n_rounds // SOFT_END
    found = check(accepted, results)
    found["delivered at the end"] = drained["delivered"]
    print(f"{n_rounds} rounds,", ", ".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
