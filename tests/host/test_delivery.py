"""Chunks that go through the plugin's library, as from Fluent Bit, into a local Kinesis.

The host unmaps the memory of a chunk as soon as flush returns: a later access crashes the host.
"""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from arrivals import assert_holds, golden_chunk
from chunks import GOLDEN_OPTIONS, chunk_of
from local_stream import LocalStream
from plugin_host import SANITIZED, PluginHost, assert_clean_end, assert_ok
from raw_server import Arrived, RawServer, http
from slow_service import SlowService

from kinesis_fast.limits import MAX_NESTING

PATIENCE_S = 30.0
MAX_FLUSH_S = 20.0  # with an endpoint that is down: 5 s of retries, and some for a slow machine


@pytest.mark.parametrize(
    ("chunk", "options", "concurrency"),
    [
        ("typed_0", "timekey_f", "0"),
        ("k8s_1", "pk_k8s", "0"),
        ("k8s_1", "logkey_nl", "2"),
        ("fwd_evt_0", "timekey_L", "0"),
    ],
)
def test_the_same_records_arrive_as_from_the_go_plugin(
    host: PluginHost, stream: LocalStream, chunk: str, options: str, concurrency: str
) -> None:
    data, expected = golden_chunk(chunk, options)
    more = {**GOLDEN_OPTIONS[options], "experimental_concurrency": concurrency}
    assert host.init("a", {**stream.target, **more}) == 1
    assert_ok(host.flush("a", data))
    assert_clean_end(host, "a")
    assert_holds(stream, expected)
    n = len(expected)
    account = f"records: in={n} delivered={n} skipped=0 dead=0 pending=0 returned=0"
    assert host.log()[-1] == ("info", 0, account)


def test_outputs_side_by_side_have_their_own_options(host: PluginHost, stream: LocalStream) -> None:
    streams = [stream, LocalStream(stream.local), LocalStream(stream.local)]
    names = ["plain", "newline", "datakeys"]
    for name, target in zip(names, streams, strict=True):
        assert host.init(name, {**target.target, **GOLDEN_OPTIONS[name]}) == 1
    chunks = {name: golden_chunk("k8s_1", name) for name in names}
    for thread, name in enumerate(names):
        host.start(thread, name, chunks[name][0], f"tag {name}", times=2)
    for thread in range(len(names)):
        assert_ok(host.join(thread), times=2)
    assert_clean_end(host, *names)
    for name, target in zip(names, streams, strict=True):
        assert_holds(target, chunks[name][1] * 2)
    options = [line for line in host.log("info") if "append_newline=" in line.text]
    assert [line.number for line in options] == [0, 1, 2]
    assert ["append_newline=true" in line.text for line in options] == [False, True, False]


def test_flushes_on_many_threads_run_side_by_side(host: PluginHost) -> None:
    n_threads = 6
    together = threading.Barrier(n_threads)

    def answer(arrived: Arrived) -> bytes | None:
        together.wait(PATIENCE_S)  # until there is a request from each thread
        results = [{"SequenceNumber": "1", "ShardId": "s"} for _ in _entries(arrived)]
        return http(200, json.dumps({"FailedRecordCount": 0, "Records": results}).encode())

    with RawServer(answer) as server:
        target = {"region": "us-east-1", "stream": "s", "endpoint": server.url}
        assert host.init("a", target) == 1
        for thread in range(n_threads):
            host.start(thread, "a", chunk_of([{"n": thread}]))
        for thread in range(n_threads):
            assert_ok(host.join(thread))
        assert_clean_end(host, "a")
    assert len(server.arrived) == n_threads


def _entries(arrived: Arrived) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = json.loads(arrived.body)["Records"]
    return entries


def test_many_flushes_on_many_threads_lose_nothing(host: PluginHost, stream: LocalStream) -> None:
    more = LocalStream(stream.local)
    assert host.init("a", stream.target) == 1
    assert host.init("b", {**more.target, "append_newline": "on"}) == 1
    n_threads, times = 8, 6
    for thread in range(n_threads):
        bodies = [{"thread": thread, "n": n} for n in range(30)]
        host.start(thread, "ab"[thread % 2], chunk_of(bodies), times=times)
    for thread in range(n_threads):
        assert_ok(host.join(thread), times)
    assert_clean_end(host, "a", "b")
    for target, first in ((stream, 0), (more, 1)):
        wanted = [
            {"thread": thread, "n": n}
            for thread in range(first, n_threads, 2)
            for n in range(30)
            for _ in range(times)
        ]
        found = [json.loads(record.data) for record in target.read()]
        assert sorted(found, key=str) == sorted(wanted, key=str)


def test_deeply_nested_records_take_no_more_of_the_caller_stack(
    host: PluginHost, stream: LocalStream
) -> None:
    body: object = "x"
    for _ in range(MAX_NESTING - 1):
        body = {"k": body}
    assert host.init("a", stream.target) == 1
    assert_ok(host.flush("a", chunk_of([body])))
    assert_ok(host.flush("a", b"\x92\x01" + b"\x91" * 60_000))
    assert_clean_end(host, "a")
    (record,) = stream.read()
    assert record.data.count(b'{"k":') == MAX_NESTING - 1
    assert "in=2 delivered=1 skipped=1" in host.log()[-1].text


@pytest.mark.slow
@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps memory that was freed")
def test_a_flush_copies_nothing_and_the_background_takes_one_copy(host: PluginHost) -> None:
    chunk = chunk_of({"n": n, "log": "x" * 16_000} for n in range(2000))
    with SlowService() as service:
        target = {**service.target, "max_in_flight": "1"}
        assert host.init("a", target) == 1
        assert host.init("b", {**target, "experimental_concurrency": "1"}) == 1
        before = host.memory()
        host.start(1, "a", chunk)
        assert service.arrived.wait(PATIENCE_S)
        waiting = host.memory() - before - len(chunk)  # without the host's own copy
        service.arrived.clear()
        assert_ok(host.flush("b", chunk))
        assert service.arrived.wait(PATIENCE_S)
        taken_over = host.memory() - before - len(chunk) - waiting
        service.release()
        assert_ok(host.join(1))
        assert_clean_end(host, "a", "b")
    assert waiting < 0.75 * len(chunk)
    assert len(chunk) < taken_over < 1.75 * len(chunk)
    wanted = [b'{"n":%d,"log":"%s"}' % (n, b"x" * 16_000) for n in range(2000)] * 2
    assert sorted(service.accepted) == sorted(wanted)


def test_a_chunk_is_returned_in_bounded_time_if_the_endpoint_is_down(host: PluginHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    options = {"region": "us-east-1", "stream": "s", "endpoint": endpoint}
    assert host.init("a", options) == 1
    began = time.monotonic()
    batch = host.flush("a", chunk_of([{"n": 1}, {"n": 2}]), "app")
    assert time.monotonic() - began < MAX_FLUSH_S
    assert batch[:4] == (0, 0, 1, 0)
    assert host.exit("a") == 1
    assert host.quit() == 0
    (line,) = host.log("error")
    assert line.text.startswith(
        "chunk 'app': returning 2 of 2 records to Fluent Bit (RETRY): PutRecords failed after"
    )
    assert "returned=2" in host.log()[-1].text
