"""The samples of the demo, and the comparison of expected records with those that arrived."""

import gzip
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Final, NamedTuple

from kinesis_fast.cli.sources import events
from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.limits import RANDOM_KEY_LENGTH

RANDOM_KEY: Final = re.compile(f"[a-zA-Z0-9]{{{RANDOM_KEY_LENGTH}}}")


class Expected(NamedTuple):
    """A record that the stream should hold; a partition key of None means a random one."""

    data: bytes
    partition_key: str | None


class Sample(NamedTuple):
    """A captured chunk, the options it is sent with, and the records that should arrive."""

    name: str
    options: dict[str, str]
    chunk: bytes
    expected: list[Expected]


class Signature(NamedTuple):
    """The same for two records that differ only in the order of their JSON keys."""

    content: str | bytes
    has_newline: bool
    partition_key: str | None


def load_samples() -> list[Sample]:
    """Load the packaged samples, which tools/make_samples.py wrote."""
    directory = files("kinesis_fast") / "samples"
    index = json.loads((directory / "index.json").read_text("utf-8"))
    return [
        Sample(
            entry["name"],
            entry["options"],
            gzip.decompress((directory / f"{entry['name']}.msgpack.gz").read_bytes()),
            list(_read_expected((directory / f"{entry['name']}.expected.jsonl.gz").read_bytes())),
        )
        for entry in index
    ]


def _read_expected(content: bytes) -> Iterator[Expected]:
    for line in gzip.decompress(content).splitlines():
        entry = json.loads(line)
        yield Expected(entry["data"].encode(), entry["partition_key"])


def first_events(chunk: bytes, number: int) -> bytes:
    """Return the first events of a chunk, byte for byte."""
    return b"".join(itertools.islice(events(chunk), number))


def expected_of_encoder(config: OutputConfig, chunk: bytes) -> list[Expected]:
    """Return the encoder's own records of a chunk, for options without packaged records.

    A partition key that differs between two encodings is random.
    """
    encoder = RecordEncoder(config.as_consumed())
    twice = zip(encoder.records(chunk), encoder.records(chunk), strict=True)
    return [
        Expected(
            once.data, once.partition_key if once.partition_key == again.partition_key else None
        )
        for once, again in twice
    ]


def signature(data: bytes, partition_key: str | None) -> Signature:
    """Return the signature of a record; data that is not JSON is compared byte by byte."""
    has_newline = data.endswith(b"\n")
    text = data[:-1] if has_newline else data
    try:
        # Numbers are compared as they are written: 100 differs from 1e2, and 0.1 from 0.10.
        parsed = json.loads(text, parse_int=_digits, parse_float=_digits)
    except ValueError:
        return Signature(text, has_newline, partition_key)
    return Signature(json.dumps(parsed, sort_keys=True), has_newline, partition_key)


def _digits(text: str) -> dict[str, str]:
    return {"\0digits": text}


class Comparison:
    """Which of the expected records have arrived, and which unexpected ones."""

    def __init__(self) -> None:
        self._open: dict[Signature, Counter[str]] = {}
        self.expected: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.unexpected: list[Expected] = []

    def expect(self, sample: str, records: Iterable[Expected]) -> None:
        """Add records of a sample that should arrive."""
        for record in records:
            self.expected[sample] += 1
            self._open.setdefault(signature(*record), Counter())[sample] += 1

    def arrive(self, data: bytes, partition_key: str | None) -> str | None:
        """Match a record that arrived; returns its sample, None if it was not expected.

        Args:
            data: of the record.
            partition_key: its own, None if it has none because it was joined with others.
        """
        keys: list[str | None] = [partition_key]
        if partition_key is not None and RANDOM_KEY.fullmatch(partition_key):
            keys.append(None)
        for key in keys:
            waiting = self._open.get(signature(data, key))
            if waiting:
                sample = next(iter(waiting))
                self.delivered[sample] += 1
                waiting[sample] -= 1
                if not waiting[sample]:
                    del waiting[sample]
                return sample
        self.unexpected.append(Expected(data, partition_key))
        return None

    def missing(self) -> Iterator[tuple[str, Signature]]:
        """Yield the sample and the signature of each record that has not arrived."""
        for wanted, waiting in self._open.items():
            for sample in waiting.elements():
                yield sample, wanted

    @property
    def is_equal(self) -> bool:
        """Whether the stream holds every expected record and no other."""
        return self.delivered == self.expected and not self.unexpected
