"""A local Kinesis for trials and tests: moto's server in a child process."""

import importlib.util
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import boto3
import botocore.session
from botocore.config import Config

from kinesis_fast.errors import KinesisFastError

REGION = "us-east-1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
READ_LIMIT = 10_000  # records a GetRecords call may return (service limit)

_SERVER = Path(__file__).with_name("server.py")
# Secrets are masked in all that is printed, so it is no word that a text may need.
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "made-up-7mZp2vT9"}


class LocalKinesisError(KinesisFastError):
    """The local Kinesis could not be started, or is not running."""


class LocalRecord(NamedTuple):
    """A record read from a shard."""

    shard_id: str
    partition_key: str
    data: bytes
    sequence_number: str


class LocalKinesis:
    """A Kinesis server that runs within a `with` block, and ends when this process dies.

    Args:
        region: the region of create_stream() and read_all().
        max_record_size: largest record (data + partition key) in bytes, 1 MiB to 10 MiB.

    Raises:
        LocalKinesisError: on entering, when moto is not installed or its server does not start.
    """

    def __init__(self, region: str = REGION, max_record_size: int = 1024 * 1024) -> None:
        self.region = region
        self._max_record_size = max_record_size
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._cached_client: Any = None

    @property
    def endpoint(self) -> str:
        """The URL to send to."""
        self._running()
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._running().pid

    def start(self) -> Self:
        """Start the server and wait until it listens."""
        check_installed()
        command = [sys.executable, "-P", "-W", "ignore", str(_SERVER)]
        command += ["--max-record-size", str(self._max_record_size)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment(),
            process_group=0,  # Ctrl-C must not end it: the parent still sends to it
        )
        try:
            self._port = self._read_port(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and wait until it has ended; a second call does nothing."""
        client, self._cached_client = self._cached_client, None
        if client is not None:
            client.close()
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes the pipes and waits
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def create_stream(self, name: str, shards: int = 1) -> None:
        """Create a provisioned stream and wait until it exists."""
        self._client.create_stream(StreamName=name, ShardCount=shards)
        self._client.get_waiter("stream_exists").wait(StreamName=name)

    def read_all(self, name: str) -> list[LocalRecord]:
        """Read a stream from its beginning, shard after shard, each in order."""
        shards = self._client.list_shards(StreamName=name)["Shards"]
        return [record for shard in shards for record in self._read_shard(name, shard["ShardId"])]

    @staticmethod
    def environment() -> dict[str, str]:
        """Return this process's environment with made-up AWS credentials.

        It has no other AWS variables, uses no AWS config files and no proxy for 127.0.0.1.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "BOTO_", "MOTO_")) and name != "EKS_POD_EXECUTION_ROLE"
        }
        direct = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "127.0.0.1"]))
        return {
            **kept,
            **_CREDENTIALS,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": direct,
            "no_proxy": direct,
        }

    @classmethod
    @contextmanager
    def applied_environment(cls) -> Iterator[None]:
        """Use environment() for this process within the `with` block."""
        before, during = dict(os.environ), cls.environment()
        os.environ.clear()
        os.environ.update(during)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise LocalKinesisError("the local Kinesis is not running: use it in a `with` block")
        return self._process

    @property
    def _client(self) -> Any:
        if self._cached_client is None:
            self._cached_client = plain_client(self.endpoint, self.region)
        return self._cached_client

    def _read_shard(self, name: str, shard_id: str) -> Iterator[LocalRecord]:
        position = self._client.get_shard_iterator(
            StreamName=name, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            response = self._client.get_records(ShardIterator=position, Limit=READ_LIMIT)
            if not response["Records"]:
                return
            for record in response["Records"]:
                yield LocalRecord(
                    shard_id, record["PartitionKey"], record["Data"], record["SequenceNumber"]
                )
            position = response["NextShardIterator"]

    def _read_port(self, process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None  # for the type checker: it was opened with a pipe
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
        if not ready:
            raise LocalKinesisError(
                f"the local Kinesis did not start within {START_TIMEOUT_S:.0f} s"
            )
        line = process.stdout.readline()
        if not line:
            raise LocalKinesisError(
                f"the local Kinesis exited with status {process.wait()} while starting"
            )
        return int(json.loads(line)["port"])


def check_installed() -> None:
    """Raise LocalKinesisError when a package that the server needs is not installed."""
    missing = [name for name in ("moto", "flask") if importlib.util.find_spec(name) is None]
    if missing:
        raise LocalKinesisError(
            f"the local Kinesis needs moto's server, but {' and '.join(missing)} cannot be found:"
            " pip install 'kinesis-fast[local]'"
        )


def plain_client(endpoint: str, region: str) -> Any:
    """Return a boto3 Kinesis client for a local endpoint that reads no AWS settings."""
    nothing = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    session = boto3.session.Session(
        botocore_session=botocore.session.Session(session_vars=nothing),
        aws_access_key_id=_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
    )
    config = Config(proxies={}, retries={"mode": "standard", "max_attempts": 1})
    return session.client("kinesis", endpoint_url=endpoint, config=config)
