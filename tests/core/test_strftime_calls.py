"""strftime(3) is slow, so it runs once per second of the events, in whatever order they come."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")
COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

static unsigned calls;

size_t strftime_l(char *out, size_t n, const char *format, const struct tm *t, locale_t locale)
{
    size_t (*real)(char *, size_t, const char *, const struct tm *, locale_t) =
        dlsym(RTLD_NEXT, "strftime_l");
    calls++;
    return real(out, n, format, t, locale);
}

__attribute__((destructor)) static void tell(void)
{
    fprintf(stderr, "strftime_l was called %u times\n", calls);
}
"""
PROGRAM = """
import sys
import msgpack
from kinesis_fast import OutputConfig, RecordEncoder

options = {"region": "us-east-1", "stream": "s", "time_key": "t", "time_key_format": "%H:%M:%S.%L"}
encoder = RecordEncoder(OutputConfig.from_options(options))
seconds = [1_700_000_000 + i % int(sys.argv[1]) for i in range(1000)]
chunk = b"".join(msgpack.packb([second, {"a": 1}]) for second in seconds)
assert sum(request.n_records for request in encoder.requests(chunk)) == 1000
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler to build the counter")
    library = tmp_path_factory.mktemp("counter") / "counter.so"
    source = library.with_suffix(".c")
    source.write_text(COUNTER)
    command = [COMPILER, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.mark.heavy
@pytest.mark.parametrize("n_seconds", [1, 2, 60])
def test_once_per_second(counter: Path, n_seconds: int) -> None:
    preload = " ".join(
        [os.environ.get("LD_PRELOAD", ""), str(counter)]
    )  # the runtime of a sanitizer must come first
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(n_seconds)],
        cwd=counter.parent,
        env={**os.environ, "LD_PRELOAD": preload},
        capture_output=True,
        text=True,
        check=True,
    )
    one_to_measure_the_format = 1
    expected = n_seconds + one_to_measure_the_format
    assert f"strftime_l was called {expected} times" in done.stderr
