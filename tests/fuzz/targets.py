"""The fuzz targets by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import answer_target
import cbor_target
import encode_target
import http_target


class Target(NamedTuple):
    """The function to run with each input, and the initial inputs."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


TARGETS: Final = {
    "answer": Target(answer_target.run, answer_target.seeds),
    "cbor": Target(cbor_target.run, cbor_target.seeds),
    "encode": Target(encode_target.run, encode_target.seeds),
    "http": Target(http_target.run, http_target.seeds),
}
