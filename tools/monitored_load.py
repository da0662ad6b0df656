"""Outputs under a made-up service that is healthy, throttles, fails and recovers, for pictures."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgpack

from kinesis_fast import FlushResult, KinesisOutput, OutputConfig
from kinesis_fast.transport import Response

THROTTLES_AT, FAILS_AT, RECOVERS_AT = 0.30, 0.50, 0.65  # shares of the time
LIFETIME: Final = 0.35  # of the credentials, as a share of the time
THROTTLED: Final = "ProvisionedThroughputExceededException"


class Service:
    """A transport whose service has good times and bad times.

    Args:
        seconds: how long all of it lasts.
    """

    def __init__(self, seconds: float) -> None:
        self._start, self._seconds = time.time(), seconds
        self._random = random.Random(1)

    @property
    def credentials_expire_at(self) -> float:
        """When the credentials expire, seconds since 1970."""
        lifetime = self._seconds * LIFETIME
        return self._start + lifetime * (1 + (time.time() - self._start) // lifetime)

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Answer as the service does at this time."""
        share = (time.time() - self._start) / self._seconds
        time.sleep(0.004 + self._random.expovariate(1 / 0.012) + len(body) * 2e-8)
        if FAILS_AT <= share < RECOVERS_AT:
            time.sleep(0.2)
            return Response(503, {}, b'{"__type":"ServiceUnavailable","message":"later"}')
        chance = 0.25 if THROTTLES_AT <= share < FAILS_AT else 0.0
        failed = chance and self._random.random() < chance * 3
        entries = [
            {"ErrorCode": THROTTLED, "ErrorMessage": "slow down"}
            if failed and self._random.random() < chance
            else {"SequenceNumber": "1" * 56, "ShardId": "shardId-000000000000"}
            for _ in range(n_records)
        ]
        n_failed = sum("ErrorCode" in entry for entry in entries)
        answer = {"FailedRecordCount": n_failed, "Records": entries}
        return Response(200, {}, json.dumps(answer, separators=(",", ":")).encode())


@contextmanager
def load(directory: Path, port: int, seconds: float) -> Iterator[None]:
    """Run two outputs, which are scraped at a port, until the end of the block.

    Args:
        directory: for a spool.
        port: on 127.0.0.1.
        seconds: in which the service goes through all its times.
    """
    common = {"region": "eu-west-1", "metrics_listen": str(port)}
    plain = {**common, "stream": "app-logs"}
    spooled = {**common, "stream": "audit", "spool_dir": str(directory / "spool")}
    spooled |= {"experimental_concurrency": "2", "simple_aggregation": "true"}
    is_over = threading.Event()
    threads = [
        threading.Thread(target=_flush, args=(options, seconds, pause_s, is_over))
        for options, pause_s in ((plain, 0.05), (spooled, 0.15))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _flush(
    options: dict[str, str], seconds: float, pause_s: float, is_over: threading.Event
) -> None:
    """Flush chunks of growing and falling size, and those that come back once more."""
    dice = random.Random(2)
    with KinesisOutput(OutputConfig.from_options(options), Service(seconds)) as output:
        waiting: list[bytes] = []
        while not is_over.wait(pause_s * (0.5 + dice.random())):
            waiting = [*waiting, _chunk(dice.randrange(50, 900))][-20:]
            if output.flush(waiting[0], tag="app") is not FlushResult.RETRY:
                del waiting[0]


def _chunk(n_records: int) -> bytes:
    packer = msgpack.Packer()
    record = {"log": "GET /index.html HTTP/1.1 200 " + "x" * 150, "host": "web-1"}
    return b"".join(
        packer.pack([[int(time.time()), {}], {**record, "n": n}]) for n in range(n_records)
    )
