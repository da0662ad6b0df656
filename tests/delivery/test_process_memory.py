"""The memory of a process stays flat, however many chunks it delivers."""

import subprocess
import sys

import pytest
from chunks import load_chunk

PROGRAM = """
import os, sys
from kinesis_fast import KinesisOutput, OutputConfig
from kinesis_fast.transport import Response

RESPONSES = {}


class Transport:
    def send(self, body, n_records, timeout_s):
        if n_records not in RESPONSES:
            entry = b'{"SequenceNumber":"1","ShardId":"shardId-000000000000"}'
            RESPONSES[n_records] = (
                b'{"FailedRecordCount":0,"Records":[' + b",".join([entry] * n_records) + b"]}"
            )
        return Response(200, {}, RESPONSES[n_records])


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


chunk = sys.stdin.buffer.read()
more = {"partition_key": sys.argv[2]} if sys.argv[2] else {}
config = OutputConfig.from_options({"region": "us-east-1", "stream": "s", **more})
output = KinesisOutput(config, Transport())
n_bytes = 0
first, last = (float(part) * 1e9 for part in sys.argv[1].split(","))
for goal in (first, last):
    while n_bytes < goal:
        output.flush(chunk)
        n_bytes += len(chunk)
    print(rss())
"""


def rss_after(gigabytes: str, key: str) -> tuple[int, int]:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, gigabytes, key],
        input=load_chunk("access_0"),
        stdout=subprocess.PIPE,
        check=True,
    )
    first, last = map(int, ended.stdout.split())
    return first, last


@pytest.mark.slow
@pytest.mark.parametrize("key", ["", "host"])
def test_memory_is_flat(key: str) -> None:
    first, last = rss_after("0.05,0.15", key)
    assert last - first < 2_000_000


@pytest.mark.long
@pytest.mark.parametrize("key", ["", "host"])
def test_memory_is_flat_over_ten_gigabytes(key: str) -> None:
    first, last = rss_after("1,10", key)
    print(f"key '{key}': {first} bytes after 1 GB, {last} after 10 GB")
    assert last - first < 2_000_000
