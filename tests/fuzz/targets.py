"""The fuzz targets by name, and where their inputs are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import answer_target
import encode_target


class Target(NamedTuple):
    """What is run with each input, and the inputs to start from."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


TARGETS: Final = {
    "answer": Target(answer_target.run, answer_target.seeds),
    "encode": Target(encode_target.run, encode_target.seeds),
}


def in_directory(directory: Path) -> Iterator[bytes]:
    """Yield the inputs that a directory holds, in the order of their names."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        yield path.read_bytes()
