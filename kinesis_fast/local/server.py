"""The child process behind LocalKinesis: moto's server on a free loopback port.

It runs as a file (``python -P server.py``), so that the child imports moto but not this package.
It prints the port as one line of JSON on stdout, and ends when its stdin is closed, which also
happens when the parent dies.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from moto.kinesis import models
from moto.kinesis.exceptions import InvalidArgumentError
from moto.kinesis.utils import decompose_shard_iterator
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

MOTO_RECORD_LIMIT = 1024 * 1024  # bytes
LARGE_REQUEST_LIMIT = 10 * 1024 * 1024  # bytes
REQUEST_RECORDS_LIMIT = 500
MAX_HASH_KEY = 2**128 - 1
MAX_KEY_CHARACTERS = 256

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class OneAtATime:
    """WSGI middleware that passes one request at a time to moto, which is not thread-safe.

    Two concurrent PutRecords could give two records the same sequence number; one would be lost.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with self._lock:
            return list(self._app(environ, start_response))


def last_sequence_number(shard: Any) -> int:
    """Replace moto's Shard.get_max_sequence_number, which copies all keys."""
    return next(reversed(shard.records), 0)


def put_records_up_to(max_record_size: int, moto_put_records: Callable[..., Any]) -> Any:
    """Return a put_records for moto's backend that accepts records of up to max_record_size bytes.

    Larger requests go to moto's own put_records, which rejects them as the service does.
    """

    def put_records(
        backend: Any, stream_arn: str, stream_name: str, records: list[dict[str, str]]
    ) -> Any:
        sizes = [
            len(base64.b64decode(entry["Data"])) + len(entry["PartitionKey"].encode())
            for entry in records
        ]
        too_large = max(sizes) > max_record_size or sum(sizes) > LARGE_REQUEST_LIMIT
        if too_large or len(sizes) > REQUEST_RECORDS_LIMIT:
            return moto_put_records(backend, stream_arn, stream_name, records)
        stream = backend.describe_stream(stream_arn, stream_name)
        placed = [
            stream.put_record(
                entry["PartitionKey"], entry.get("ExplicitHashKey", ""), entry["Data"]
            )
            for entry in records
        ]
        results = [{"SequenceNumber": number, "ShardId": shard} for number, shard in placed]
        return {"FailedRecordCount": 0, "Records": results}

    return put_records


# Splits and merges as the service does them. moto moves the records of a shard to its children (a
# merge copies them), goes on to put records into the closed shard, and never ends it.


def open_shard_for_key(stream: Any, partition_key: str, explicit_hash_key: str) -> Any:
    """Replace moto's Stream.get_shard_for_key: open shards only, the last hash key included."""
    key = int.from_bytes(hashlib.md5(partition_key.encode()).digest(), "big")
    if explicit_hash_key:
        key = int(explicit_hash_key)
    if key > MAX_HASH_KEY or len(partition_key) > MAX_KEY_CHARACTERS:
        raise InvalidArgumentError("explicit_hash_key or partition_key")
    for shard in stream.shards.values():
        if shard.is_open and shard.starting_hash <= key <= shard.ending_hash:
            return shard
    return None


def records_stay(moto_reshard: Callable[..., None]) -> Callable[..., None]:
    """Return a split_shard or merge_shards after which each record is where it was."""

    def reshard(stream: Any, *arguments: str) -> None:
        before = {shard_id: shard.records.copy() for shard_id, shard in stream.shards.items()}
        moto_reshard(stream, *arguments)
        for shard_id, shard in stream.shards.items():
            shard.records = before.get(shard_id, type(shard.records)())
        stream.shard_count = sum(shard.is_open for shard in stream.shards.values())

    return reshard


def ending_get_records(moto_get_records: Callable[..., Any]) -> Callable[..., Any]:
    """Return a get_records for moto's backend that gives no next iterator at a shard's end."""

    def get_records(backend: Any, stream_arn: str | None, iterator: str, limit: int | None) -> Any:
        following, records, behind = moto_get_records(backend, stream_arn, iterator, limit)
        name, shard_id, number = decompose_shard_iterator(following)
        shard = backend.describe_stream(stream_arn, name).get_shard(shard_id)
        is_at_end = not shard.is_open and int(number) >= shard.get_max_sequence_number()
        return None if is_at_end else following, records, behind

    return get_records


def patched_for_resharding(patches: ExitStack) -> None:
    """Let moto split and merge shards as the service does."""
    stream, backend = models.Stream, models.KinesisBackend
    for owner, name, replacement in (
        (stream, "get_shard_for_key", open_shard_for_key),
        (stream, "split_shard", records_stay(stream.split_shard)),
        (stream, "merge_shards", records_stay(stream.merge_shards)),
        (backend, "get_records", ending_get_records(backend.get_records)),
    ):
        patches.enter_context(patch.object(owner, name, replacement))


class QuietHandler(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: a line for each request would hide the messages that matter."""


def serve(max_record_size: int) -> None:
    """Serve until stdin closes."""
    with ExitStack() as patches:
        patches.enter_context(
            patch.object(models.Shard, "get_max_sequence_number", last_sequence_number)
        )
        patched_for_resharding(patches)
        if max_record_size > MOTO_RECORD_LIMIT:
            raised = put_records_up_to(max_record_size, models.KinesisBackend.put_records)
            patches.enter_context(patch.object(models.KinesisBackend, "put_records", raised))
        app = OneAtATime(DomainDispatcherApplication(create_backend_app))
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"port": server.server_port}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-record-size", type=int, default=MOTO_RECORD_LIMIT)
    serve(parser.parse_args().max_record_size)
    # Handler threads may still hold connections open; there is no need to wait for them.
    os._exit(0)
