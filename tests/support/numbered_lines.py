"""Numbered lines of a log file, and the ones that a stream holds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from local_stream import LocalStream


def write_lines(path: Path, numbers: range) -> None:
    """Append numbered lines of different length to a file."""
    with path.open("a") as file:
        file.writelines(f"{number} {'x' * (number * 37 % 400)}\n" for number in numbers)


def numbers_in(stream: LocalStream, key: str = "log") -> Counter[int]:
    """Count each line in a stream; key is the record's key for the line."""
    return Counter(int(json.loads(record.data)[key].split()[0]) for record in stream.read())


def each_once(numbers: range) -> Counter[int]:
    """Return the result of numbers_in() without losses and duplicates."""
    return Counter(numbers)
