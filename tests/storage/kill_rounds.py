"""Kills a process that puts, removes and notes progress, and looks at what is left: a program.

Usage: kill_rounds.py SPOOL_DIR ROUNDS. The worker tells through a pipe what it begins and what has
returned; what a pipe holds survives the worker.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from spools import files_of, n_bytes_on_disk, open_spool

from kinesis_fast.storage.spool import SpooledChunk

MAX_LIFE_S = 0.08
SIZES = (0, 10, 5_000, 400_000)


def payload_of(number: int) -> bytes:
    """Return the payload of the chunk with this number."""
    return random.Random(number).randbytes(SIZES[number % len(SIZES)] + number % 7)


def work(root: Path, pipe: int, first: int) -> None:
    """Use the spool until the end comes."""
    chance = random.Random(first)
    spool = open_spool(root)
    chunks: list[SpooledChunk] = list(spool.pending())
    number = first

    def tell(what: str, tag: str) -> None:
        os.write(pipe, f"{what} {tag}\n".encode())

    while True:
        choice = chance.random()
        if choice < 0.35 or not chunks:
            tell("put", str(number))
            chunks.append(spool.put(payload_of(number), str(number)))
            tell("has-put", str(number))
            number += 1
            continue
        chunk = chunks[chance.randrange(len(chunks))]
        if choice < 0.6:
            level = (chunk.progress[0] if chunk.progress else 0) + 1
            bits = bytes([min(level, 255)]) * 20
            tell(f"progress-{bits[0]}", chunk.tag)
            assert chunk.save_progress(bits)
            tell(f"has-progress-{bits[0]}", chunk.tag)
        else:
            tell("remove", chunk.tag)
            assert chunk.remove()
            tell("has-removed", chunk.tag)
            chunks.remove(chunk)


class Expected:
    """What the spool must hold, by what the workers told."""

    def __init__(self) -> None:
        self.there: dict[str, set[int]] = {}  # tag: levels of progress that may be found
        self.next_number = 0

    def take(self, told: str) -> tuple[str, str]:
        """Take what a worker told; returns what it was about when it ended, if anything."""
        began = ("", "")
        for line in told.splitlines():
            what, tag = line.split()
            began = ("", "") if what.startswith("has-") else (what, tag)
            if what == "put":
                self.next_number = int(tag) + 1
            elif what == "has-put":
                self.there[tag] = {0}
            elif what.startswith("progress-"):
                self.there[tag].add(int(what[9:]))
            elif what.startswith("has-progress-"):
                self.there[tag] = {int(what[13:])}
            elif what == "has-removed":
                del self.there[tag]
        return began


def check(root: Path, expected: Expected, began: tuple[str, str]) -> None:
    """Open the spool and compare."""
    what, tag = began
    spool = open_spool(root)
    found = {chunk.tag: chunk for chunk in spool.pending()}
    assert len(found) == len(spool.pending()), "a chunk is there twice"
    if what == "put" and tag in found:
        expected.there[tag] = {0}
    if what == "remove" and tag not in found:
        del expected.there[tag]
    assert found.keys() == expected.there.keys(), (began, found.keys() ^ expected.there.keys())
    for tag, chunk in found.items():
        assert chunk.read() == payload_of(int(tag)), tag
        level = chunk.progress[0] if chunk.progress else 0
        # The progress goes after its chunk: killed in between, it is as it was, or not noted.
        assert level in expected.there[tag], (began, tag, level, expected.there[tag])
        expected.there[tag] = {level}
    assert {name for name in files_of(spool) if not name.endswith((".chunk", ".progress"))} == set()
    assert spool.n_bytes == n_bytes_on_disk(spool)
    assert spool.path.endswith("logs.0")
    spool.close()


def one_round(root: Path, expected: Expected, life_s: float) -> str:
    """Run a worker for so long. Returns what it was about when it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(root, writing, expected.next_number)
        finally:
            os._exit(1)
    os.close(writing)
    time.sleep(life_s)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the worker failed"
    began = expected.take(told)
    check(root, expected, began)
    return began[0].partition("-")[0]


def main() -> None:
    """Do the rounds and tell in the midst of what the worker was killed."""
    root, n_rounds = Path(sys.argv[1]), int(sys.argv[2])
    expected = Expected()
    chance = random.Random(n_rounds)
    killed_in = [
        one_round(root, expected, 0.01 + chance.random() * MAX_LIFE_S) for _ in range(n_rounds)
    ]
    assert expected.next_number > n_rounds, "the workers hardly did anything"
    print(f"{n_rounds} rounds,", {name: killed_in.count(name) for name in sorted(set(killed_in))})


if __name__ == "__main__":
    main()
