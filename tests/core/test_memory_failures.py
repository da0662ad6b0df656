"""Each allocation of the core fails once: the next call continues, nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chunks import chunk_of, output_config

from kinesis_fast import RecordEncoder

needs_allocator = pytest.mark.skipif(
    sys.platform != "linux" or "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="replaces the allocator of glibc",
)

# Counts the allocations that the core and zlib ask for, and lets one of them fail.
FAILING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
static long left = -1;
static __thread int is_inside;

void fail_at(long n) { left = n; }
long still_left(void) { return left; }

static int fails(void *caller)
{
    Dl_info info;
    int is_ours;
    if (left < 0 || is_inside)
        return 0;
    is_inside = 1;
    is_ours = dladdr(caller, &info) && info.dli_fname
        && (strstr(info.dli_fname, "kinesis_fast/_core/") || strstr(info.dli_fname, "libz.so"));
    is_inside = 0;
    return is_ours && left-- == 0;
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t n)
{ return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size)
{ return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size); }
void *realloc(void *data, size_t n)
{ return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(data, n); }
"""

PROGRAM = r"""
import ctypes
import json
import sys
from random import Random
from unittest.mock import patch

sys.path.insert(0, sys.argv[1])
from chunks import chunk_of, output_config
from kinesis_fast import RecordEncoder

LIBRARY = ctypes.CDLL(None)
LIBRARY.fail_at.argtypes = (ctypes.c_long,)
LIBRARY.still_left.restype = ctypes.c_long
AGGREGATIONS = ({}, {"aggregation": "true"}, {"simple_aggregation": "true"})
CODECS = ("none", "gzip", "zstd", "snappy")  # zlib goes the way of gzip
KEYS = ({}, {"partition_key": "k", "aggregation_buckets": "4"})
SMALL = ("2048", "1500")  # a record, an aggregate
LARGE = ("16384", "12000")  # memory grows while there are records in it


def chunk():
    rng = Random(1)
    noise = ["".join(map(chr, rng.choices(range(0x4e00, 0x9fff), k=n))) for n in (3000, 900)]
    texts = [noise[i % 97 % 2] if i % 97 < 2 else "x" * (i % 50) for i in range(620)]
    keys = [f"\u00e9{i % 9}" if i % 10 else None for i in range(620)]
    return chunk_of({"k": key, "t": text} for key, text in zip(keys, texts))


def attempt(call):
    while True:
        try:
            return call()
        except MemoryError:
            continue


def run(config, chunk):
    encoder = attempt(lambda: RecordEncoder(config))
    stream = attempt(lambda: encoder._core.requests(chunk, now_ns=0, seed=7, max_lanes=3))
    bodies = []
    while (request := attempt(lambda: next(stream, None))) is not None:
        part = attempt(lambda: request.subset(range(request.n_entries)))
        assert bytes(part.body) == bytes(request.body)
        events = [request.events_of(i) for i in range(request.n_entries)]
        bodies.append((bytes(request.body), events))
        request.release()
    return bodies, tuple(stream.take_tally()), tuple(stream.take_packing())


chunk = chunk()
n_failed = 0
cases = [
    (aggregation, codec, keys, size)
    for aggregation in AGGREGATIONS
    for codec in CODECS
    for keys in KEYS
    for size in (SMALL, LARGE)
    if size == SMALL or (aggregation and codec == "none")
]
for aggregation, codec, keys, (max_record_size, max_size) in cases:
    options = {**aggregation, **keys, "compression": codec, "max_record_size": max_record_size}
    if aggregation:
        options["aggregation_max_size"] = max_size
    config = output_config(options)
    expected = run(config, chunk)
    n = 0
    while True:
        LIBRARY.fail_at(n)
        found = run(config, chunk)
        has_failed = LIBRARY.still_left() < 0
        LIBRARY.fail_at(-1)
        assert found[0] == expected[0], (options, n)
        assert found[2] == expected[2], (options, n, found[2], expected[2])
        assert found[1] == expected[1], (options, n, found[1], expected[1])
        if not has_failed:
            break
        n += 1
    assert n > 5, (options, n)
    n_failed += n
print(n_failed)
"""


# The body of a request with 500 entries has no room for the name of the stream: the last record is
# as long as it has to be for that.
FULL = r"""
import ctypes
import sys

sys.path.insert(0, sys.argv[1])
from chunks import chunk_of, output_config
from kinesis_fast import RecordEncoder

LIBRARY = ctypes.CDLL(None)
LIBRARY.fail_at.argtypes = (ctypes.c_long,)
LIBRARY.still_left.restype = ctypes.c_long
MANY = 1 << 30
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/" + "s" * 128
N_RECORDS = 1100
config = output_config({"stream": STREAM, "partition_key": "k", "log_key": "t"})


def stream_of(n_last):
    lengths = {0: 150_000, 499: n_last}  # the first one makes room to read the others
    texts = ["x" * lengths.get(i, 10) for i in range(N_RECORDS)]
    return RecordEncoder(config).requests(chunk_of({"k": "a", "t": text} for text in texts))


def n_allocations(n_last):
    stream = stream_of(n_last)
    LIBRARY.fail_at(MANY)
    next(stream)
    n = MANY - LIBRARY.still_left()
    LIBRARY.fail_at(-1)
    return n


n_least = n_allocations(0)
low, high = 0, 100_000
while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if n_allocations(middle) > n_least else (middle, high)
stream = stream_of(high)
LIBRARY.fail_at(n_least)
try:
    next(stream)
except MemoryError as error:
    assert str(error) == "out of memory for a request of 500 records", error
else:
    raise AssertionError("no allocation failed")
assert not stream.is_exhausted
requests = list(stream)
assert [request.n_entries for request in requests] == [500, 500, 100]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return a function that runs a program whose allocations can fail, and returns its output."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    work = tmp_path_factory.mktemp("failing")
    source, library = work / "failing.c", work / "failing.so"
    source.write_text(FAILING)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    support = str(Path(__file__).resolve().parent.parent / "support")

    def run_program(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, support],
            env={**os.environ, "LD_PRELOAD": str(library)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_program


@pytest.mark.heavy
@needs_allocator
def test_no_failing_allocation_loses_or_doubles_a_record(run: Callable[[str], str]) -> None:
    assert int(run(PROGRAM)) > 500


@needs_allocator
def test_no_memory_to_end_a_full_request(run: Callable[[str], str]) -> None:
    run(FULL)


def test_no_memory_for_the_object_of_a_request() -> None:
    """What it was to hold is in the next one."""
    allocator = pytest.importorskip("_testcapi")
    encoder = RecordEncoder(output_config({}))
    chunk = chunk_of({"n": number} for number in range(700))
    n_failed = 0
    for n in range(20):
        stream = encoder.requests(chunk)
        first = None
        try:
            allocator.set_nomemory(n, n + 1)
            first = next(stream)
        except MemoryError:
            n_failed += 1
        finally:
            allocator.remove_mem_hooks()
        requests = [*([first] if first else []), *stream]
        assert [request.n_entries for request in requests] == [500, 200]
        for request in requests:
            json.loads(bytes(request.body))
    assert n_failed
