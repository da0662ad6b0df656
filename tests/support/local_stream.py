"""A local Kinesis for a whole test session, with a stream for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from chunks import output_config

from kinesis_fast import RecordEncoder
from kinesis_fast.local.kinesis import LocalKinesis, LocalRecord

SHARDS = 3
_NUMBERS = itertools.count(1)


class LocalStream:
    """A new, empty stream in a local Kinesis."""

    def __init__(self, local: LocalKinesis) -> None:
        self.local = local
        self.name = f"stream-{next(_NUMBERS)}"
        local.create_stream(self.name, SHARDS)

    @property
    def target(self) -> dict[str, str]:
        """The options of an output that sends to it."""
        return {"region": self.local.region, "stream": self.name, "endpoint": self.local.endpoint}

    def read(self) -> list[LocalRecord]:
        """Return the records of the stream."""
        return self.local.read_all(self.name)

    def data(self) -> list[bytes]:
        """Return the data of the records of the stream, sorted."""
        return sorted(record.data for record in self.read())


def expected_data(chunk: bytes, **options: str) -> list[bytes]:
    """Return the data that a stream has after a chunk was sent to it, sorted."""
    return sorted(record.data for record in RecordEncoder(output_config(options)).records(chunk))


@pytest.fixture(scope="session")
def local_kinesis() -> Iterator[LocalKinesis]:
    """A local Kinesis with the limits of a real one."""
    with LocalKinesis() as local:
        yield local


@pytest.fixture
def stream(local_kinesis: LocalKinesis) -> Iterator[LocalStream]:
    """A new stream, while real credentials are hidden."""
    with local_kinesis.applied_environment():
        yield LocalStream(local_kinesis)


@pytest.fixture
def shared_local(local_kinesis: LocalKinesis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that start a local Kinesis use that of the session, and leave no stream in it."""
    create, created = LocalKinesis.create_stream, list[str]()

    def start(self: LocalKinesis) -> LocalKinesis:
        self._process, self._port = local_kinesis._process, local_kinesis._port
        return self

    def create_stream(self: LocalKinesis, name: str, shards: int = 1) -> None:
        created.append(name)
        create(self, name, shards)

    def stop(self: LocalKinesis) -> None:
        while created:
            self._client.delete_stream(StreamName=created.pop())
        self._client.close()

    monkeypatch.setattr(LocalKinesis, "start", start)
    monkeypatch.setattr(LocalKinesis, "create_stream", create_stream)
    monkeypatch.setattr(LocalKinesis, "stop", stop)
