"""Two emulators of Kinesis by different authors, whose streams can be split and merged.

moto has no real resharding of its own; `kinesis_fast.local.server` adds it. kinesalite (npm) has,
with sequence numbers like those of the service.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import node
import pytest
from kcl import Entry

from kinesis_fast.local.kinesis import REGION, LocalKinesis, plain_client

KINESALITE = """
const server = require('kinesalite')({
    createStreamMs: 0, deleteStreamMs: 0, updateStreamMs: 0, shardLimit: 1000})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit()).resume()
"""
ACTIVE_S = 10.0
LOOK_S = 0.02
_NUMBERS = itertools.count(1)


class Emulator:
    """A running emulator.

    Attributes:
        name: moto or kinesalite.
        endpoint: its URL.
        client: a client of boto3 for it.
    """

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self.endpoint = endpoint
        self.client = plain_client(endpoint, REGION)

    def new_stream(self, n_shards: int) -> ReshardedStream:
        """Make a stream."""
        stream = ReshardedStream(self, f"stream-{next(_NUMBERS)}")
        self.client.create_stream(StreamName=stream.name, ShardCount=n_shards)
        stream.wait_until_active()
        return stream


class ReshardedStream:
    """A stream whose shards can be split and merged."""

    def __init__(self, emulator: Emulator, name: str) -> None:
        self.emulator = emulator
        self.name = name
        self._client = emulator.client

    @property
    def target(self) -> dict[str, str]:
        """The options of an output or of the command for this stream."""
        return {"region": REGION, "stream": self.name, "endpoint": self.emulator.endpoint}

    def shards(self) -> list[dict[str, Any]]:
        """Return what ListShards says, closed shards included."""
        return list(self._client.list_shards(StreamName=self.name)["Shards"])

    def open_shards(self) -> list[dict[str, Any]]:
        """Return the open shards in the order of their hash keys."""
        is_open = [
            shard
            for shard in self.shards()
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        ]
        return sorted(is_open, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))

    def split(self, index: int) -> None:
        """Split an open shard in the middle."""
        shard = self.open_shards()[index]
        keys = shard["HashKeyRange"]
        middle = (int(keys["StartingHashKey"]) + int(keys["EndingHashKey"])) // 2 + 1
        self._client.split_shard(
            StreamName=self.name, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle)
        )
        self.wait_until_active()

    def merge(self, index: int) -> None:
        """Merge an open shard with the next one."""
        left, right = self.open_shards()[index : index + 2]
        self._client.merge_shards(
            StreamName=self.name,
            ShardToMerge=left["ShardId"],
            AdjacentShardToMerge=right["ShardId"],
        )
        self.wait_until_active()

    def put(self, entries: Sequence[dict[str, Any]]) -> list[str]:
        """Put entries of PutRecords, and return the shard of each."""
        answer = self._client.put_records(StreamName=self.name, Records=list(entries))
        assert not answer["FailedRecordCount"]
        return [record["ShardId"] for record in answer["Records"]]

    def stored(self) -> list[Entry]:
        """Read everything, shard after shard in the order of their ids, with plain boto3."""
        return [entry for shard in self.shards() for entry in self._read(shard["ShardId"])]

    def wait_until_active(self) -> None:
        """Wait until the stream takes requests again."""
        deadline = time.monotonic() + ACTIVE_S
        while time.monotonic() < deadline:
            answer = self._client.describe_stream_summary(StreamName=self.name)
            if answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            time.sleep(LOOK_S)
        pytest.fail(f"{self.name} is not active after {ACTIVE_S} s")

    def _read(self, shard_id: str) -> Iterator[Entry]:
        iterator = self._client.get_shard_iterator(
            StreamName=self.name, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = self._client.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                yield Entry(shard_id, record["PartitionKey"], record["Data"])
            if not answer["Records"]:
                return
            iterator = answer.get("NextShardIterator")


@contextmanager
def moto() -> Iterator[str]:
    """Run moto, and return its URL."""
    with LocalKinesis() as local:
        yield local.endpoint


@contextmanager
def kinesalite() -> Iterator[str]:
    """Run kinesalite, and return its URL; it ends with its standard input."""
    command = [node.node(), "--eval", KINESALITE]
    with subprocess.Popen(
        command,
        cwd=node.DIRECTORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())}"
        finally:
            process.stdin.close()


@pytest.fixture(
    scope="session", params=["moto", pytest.param("kinesalite", marks=pytest.mark.slow)]
)
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Each emulator in turn; kinesalite in slow tests only, and if there is node."""
    with {"moto": moto, "kinesalite": kinesalite}[request.param]() as endpoint:
        running = Emulator(request.param, endpoint)
        yield running
        running.client.close()
