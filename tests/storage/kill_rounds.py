"""Kills a process that uses a spool, again and again, and checks the spool: a program.

Usage: kill_rounds.py SPOOL_DIR ROUNDS. The worker writes to a pipe which call it begins and which
has returned. The content of a pipe survives the worker.
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
    """Put, remove and save progress until this process is killed."""
    chance = random.Random(first)
    spool = open_spool(root)
    chunks: list[tuple[str, SpooledChunk]] = []
    chunks += [(chunk.read().tag, chunk) for chunk in spool.pending()]
    number = first

    def report(what: str, tag: str) -> None:
        os.write(pipe, f"{what} {tag}\n".encode())

    while True:
        choice = chance.random()
        if choice < 0.35 or not chunks:
            report("put", str(number))
            chunks.append((str(number), spool.put(payload_of(number), str(number))))
            report("has-put", str(number))
            number += 1
            continue
        tag, chunk = chunks[chance.randrange(len(chunks))]
        if choice < 0.6:
            level = (chunk.read().settled or b"\0")[0] + 1
            bits = bytes([min(level, 255)]) * 20
            report(f"progress-{bits[0]}", tag)
            assert chunk.save_progress(bits)
            report(f"has-progress-{bits[0]}", tag)
        else:
            report("remove", tag)
            assert chunk.remove()
            report("has-removed", tag)
            chunks.remove((tag, chunk))


class Expected:
    """What the spool must hold, according to the reports of the workers."""

    def __init__(self) -> None:
        self.chunks: dict[str, set[int]] = {}  # tag: the levels of progress that are possible
        self.next_number = 0

    def update(self, reports: str) -> tuple[str, str]:
        """Read the reports of a worker. Returns the call in which it ended, if any."""
        began = ("", "")
        for line in reports.splitlines():
            what, tag = line.split()
            began = ("", "") if what.startswith("has-") else (what, tag)
            if what == "put":
                self.next_number = int(tag) + 1
            elif what == "has-put":
                self.chunks[tag] = {0}
            elif what.startswith("progress-"):
                self.chunks[tag].add(int(what[9:]))
            elif what.startswith("has-progress-"):
                self.chunks[tag] = {int(what[13:])}
            elif what == "has-removed":
                del self.chunks[tag]
        return began


def check(root: Path, expected: Expected, began: tuple[str, str]) -> None:
    """Open the spool and compare it with what it must hold."""
    what, tag = began
    spool = open_spool(root)
    contents = [chunk.read() for chunk in spool.pending()]
    found = {content.tag: content for content in contents}
    assert len(found) == len(contents), "a chunk is in the spool twice"
    if what == "put" and tag in found:
        expected.chunks[tag] = {0}
    if what == "remove" and tag not in found:
        del expected.chunks[tag]
    assert found.keys() == expected.chunks.keys(), (began, found.keys() ^ expected.chunks.keys())
    for tag, content in found.items():
        assert content.payload == payload_of(int(tag)), tag
        level = (content.settled or b"\0")[0]
        # remove() takes the chunk before its progress, so a chunk that is left has its progress.
        assert level in expected.chunks[tag], (began, tag, level, expected.chunks[tag])
        expected.chunks[tag] = {level}
    assert {name for name in files_of(spool) if not name.endswith((".chunk", ".progress"))} == set()
    assert spool.n_bytes == n_bytes_on_disk(spool)
    assert spool.path.endswith("logs.0")
    spool.close()


def one_round(root: Path, expected: Expected, life_s: float) -> str:
    """Run a worker for life_s seconds. Returns the call in which it was killed, if any."""
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
        reports = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the worker failed"
    began = expected.update(reports)
    check(root, expected, began)
    return began[0].partition("-")[0]


def main() -> None:
    """Do the rounds and print in which calls the workers were killed."""
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
