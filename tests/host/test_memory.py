"""After a flush nothing refers to the host's memory, whatever happened in the flush."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from chunks import chunk_of
from host_fixtures import NewHost
from local_stream import LocalStream
from plugin_host import PluginHost, assert_clean_end, assert_ok
from slow_service import SlowService

N_EVENTS = 1200
CHUNK = chunk_of({"n": n, "log": "x" * 100} for n in range(N_EVENTS))
PATIENCE_S = 30.0
# Python runs this at its start. A view of a slice keeps the memory even after the view that it was
# made from is released. So this looks for any view that shows a piece of the chunk.
AUDIT = """
import gc
from kinesis_fast import logs
from kinesis_fast.host import entry

def shows(view, whole):
    try:
        return view.obj is None and bytes(view[:100]) in whole
    except ValueError:  # a released view
        return False

def audited(handle, chunk, tag, flush=entry.flush):
    try:
        return flush(handle, chunk, tag)
    finally:
        views = [item for item in gc.get_objects() if type(item) is memoryview]
        n_left = sum(shows(view, bytes(chunk)) for view in views if view is not chunk)
        logs.LOGGER.warning("audit: %d views left", n_left)

entry.flush = audited
"""
NOTHING_LEFT = "audit: 0 views left"
HELD = "the host's memory is still in use after the flush"
KEEP_A_SLICE = """
from kinesis_fast import encoder
kept, requests = [], encoder.RecordEncoder.requests
def keep(self, chunk, **more):
    kept.append(chunk[1:])
    return requests(self, chunk, **more)
encoder.RecordEncoder.requests = keep
"""
KEEP_A_STREAM = """
from kinesis_fast import encoder
kept, requests = [], encoder.RecordEncoder.requests
def keep(self, chunk, **more):
    kept.append(requests(self, chunk, **more))
    return requests(self, chunk, **more)
encoder.RecordEncoder.requests = keep
"""
# Fails once and keeps the exception, which keeps its frames and all their variables alive.
FAIL_ONCE = """
import importlib
module = importlib.import_module("kinesis_fast.{module}")
real, kept = module.{name}, []
def fail(*arguments, **more):
    if kept:
        return real(*arguments, **more)
    try:
        raise {error}
    except BaseException as error:
        kept.append(error)
        raise
module.{name} = fail
"""


def at_start(directory: Path, *sources: str) -> Mapping[str, str]:
    """Return the environment that makes Python run these sources at its start."""
    (directory / "sitecustomize.py").write_text("\n".join(sources))
    return {"PYTHONPATH": str(directory)}


def audits(host: PluginHost) -> list[str]:
    """Return the results of the audits after each flush."""
    return [line.text for line in host.log("warn") if line.text.startswith("audit: ")]


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        ("encoder:RecordEncoder.requests", "RuntimeError('one\\nline')", "one\\nline"),
        ("encoder:RecordEncoder.requests", "MemoryError", "out of memory; returning the chunk"),
        ("delivery.foreground:ChunkDelivery", "ValueError('no delivery')", "no delivery"),
        ("delivery.chunk_delivery:ChunkDelivery.run", "SystemExit(7)", "the flush failed: 7"),
        ("delivery.in_flight:classify", "OSError('no verdict')", "no verdict"),
        ("output:KinesisOutput.flush", "KeyboardInterrupt", "the flush failed"),
    ],
)
def test_a_flush_that_raises_returns_the_chunk_and_keeps_no_view(
    new_host: NewHost, stream: LocalStream, tmp_path: Path, place: str, error: str, said: str
) -> None:
    module, _, name = place.partition(":")
    source = FAIL_ONCE.format(module=module, name=name, error=error)
    host = new_host(**at_start(tmp_path, source, AUDIT))
    assert host.init("a", stream.target) == 1
    assert host.flush("a", CHUNK)[:4] == (0, 0, 1, 0)
    (line,) = host.log("error")
    assert said in line.text
    assert_ok(host.flush("a", CHUNK))
    assert host.exit("a") == 1
    assert host.quit() == 0
    assert len(host.log("error")) == 1
    assert audits(host) == [NOTHING_LEFT] * 2
    assert len({record.data for record in stream.read()}) == N_EVENTS


def test_no_view_is_kept_while_a_copy_is_delivered_in_the_background(
    new_host: NewHost, tmp_path: Path
) -> None:
    host = new_host(**at_start(tmp_path, AUDIT))
    with SlowService() as service:
        assert host.init("a", {**service.target, "experimental_concurrency": "1"}) == 1
        assert_ok(host.flush("a", CHUNK))
        assert service.arrived.wait(PATIENCE_S)
        assert host.flush("a", CHUNK)[:4] == (0, 0, 1, 0)
        service.release()
        assert_clean_end(host, "a")
    assert audits(host) == [NOTHING_LEFT] * 2
    assert len(service.accepted) == N_EVENTS


@pytest.mark.parametrize(
    ("source", "found", "said"),
    [(KEEP_A_SLICE, "audit: 1 views left", []), (KEEP_A_STREAM, NOTHING_LEFT, [HELD])],
)
def test_the_audit_finds_a_view_that_is_kept(
    new_host: NewHost,
    stream: LocalStream,
    tmp_path: Path,
    source: str,
    found: str,
    said: list[str],
) -> None:
    host = new_host(**at_start(tmp_path, source, AUDIT))
    assert host.init("a", stream.target) == 1
    assert_ok(host.flush("a", CHUNK))
    assert audits(host) == [found]
    assert [line.text.partition(":")[0] for line in host.log("error")] == said
