"""What a host does apart from flushing: fork, reload, close outputs during flushes, exit()."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from arrivals import assert_holds, golden_chunk
from chunks import chunk_of
from host_fixtures import NewHost
from local_stream import LocalStream
from plugin_host import SANITIZED, PluginHost, assert_clean_end, assert_ok
from slow_service import SlowService

MIB = 1024 * 1024
MAX_IDLE = 60 * MIB  # bytes of memory that an output may add to its host
MAX_INIT_CPU_S = 1.0
MAX_EXIT_S = 5.0 + 3.0  # the wait of Exit, and some for a slow machine
MALFORMED = b"\xc1"  # makes the end of a delivery log a line
PATIENCE_S = 30.0


def test_python_does_not_start_before_the_first_init(host: PluginHost) -> None:
    assert host.n_threads() == 2  # the host's main thread and its engine
    assert host.libpython() is None
    assert host.quit() == 0
    assert host.log_text() == ""


@pytest.mark.skipif(SANITIZED, reason="a sanitizer needs extra memory and time")
def test_init_is_quick_and_an_idle_output_is_small(host: PluginHost, stream: LocalStream) -> None:
    resident, cpu_s = host.resident(), host.cpu_s()
    assert host.init("a", stream.target) == 1
    cpu_s = host.cpu_s() - cpu_s
    assert_ok(host.flush("a", chunk_of([{"n": 1}])))
    grown = host.resident() - resident
    assert_clean_end(host, "a")
    assert cpu_s <= MAX_INIT_CPU_S
    assert grown <= MAX_IDLE


SHOW_COLLECTOR = """
import gc
from kinesis_fast import logs
from kinesis_fast.host import entry

def shown(handle, chunk, tag, flush=entry.flush):
    logs.LOGGER.warning("collector: %s, frozen: %s", gc.isenabled(), gc.get_freeze_count() // 10000)
    return flush(handle, chunk, tag)

entry.flush = shown
"""


def test_what_is_made_at_the_start_is_left_out_of_collections(
    new_host: NewHost, stream: LocalStream, tmp_path: Path
) -> None:
    """They would look at all of it again and again; what a reload leaves is collected."""
    (tmp_path / "sitecustomize.py").write_text(SHOW_COLLECTOR)
    host = new_host(PYTHONPATH=str(tmp_path))
    for _ in range(2):
        assert host.init("a", stream.target) == 1
        assert_ok(host.flush("a", chunk_of([{"n": 1}])))
        assert host.exit("a") == 1
    assert host.quit() == 0
    first, second = [line.text for line in host.log("warn")]
    assert first == second
    assert re.fullmatch("collector: True, frozen: [1-9]", first)


@pytest.mark.slow
@pytest.mark.skipif(SANITIZED, reason="a sanitizer needs extra memory and time")
def test_further_outputs_cost_little(host: PluginHost, stream: LocalStream) -> None:
    names = [f"output {number}" for number in range(6)]
    resident = host.resident()
    for name in names:
        assert host.init(name, stream.target) == 1
        assert_ok(host.flush(name, chunk_of([{"n": 1}])))
    assert host.resident() - resident <= MAX_IDLE
    assert_clean_end(host, *names)


def test_the_signal_handlers_of_the_host_stay(host: PluginHost, stream: LocalStream) -> None:
    before = host.signals()
    assert host.init("a", stream.target) == 1
    assert_ok(host.flush("a", chunk_of([{"n": 1}])))
    assert host.signals() == before
    assert all(before)
    assert_clean_end(host, "a")


def test_a_fork_between_register_and_init(new_host: NewHost, stream: LocalStream) -> None:
    host = new_host(daemon=True)
    chunk, expected = golden_chunk("k8s_1", "plain")
    assert host.init("a", stream.target) == 1
    assert_ok(host.flush("a", chunk))
    assert_clean_end(host, "a")
    assert_holds(stream, expected)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer writes its own messages to descriptor 2")
def test_a_file_that_gets_the_number_of_standard_error_stays_empty(
    new_host: NewHost, stream: LocalStream
) -> None:
    host = new_host(daemon=True)
    assert host.init("a", stream.target) == 1
    assert_ok(host.flush("a", chunk_of([{"n": 1}])))
    assert_clean_end(host, "a")
    assert host.in_place_of_stderr.read_bytes() == b""
    assert any("delivered=1" in line.text for line in host.log("info"))


def test_a_crash_of_the_forked_host_is_noticed(new_host: NewHost) -> None:
    host = new_host(daemon=True)
    os.kill(host.pid, signal.SIGKILL)
    assert host.wait() == 128 + signal.SIGKILL


def test_reloads_where_the_old_output_goes_first(host: PluginHost, stream: LocalStream) -> None:
    n_reloads = 4
    n_threads = []
    for number in range(n_reloads + 1):
        options = {**stream.target, "partition_key": "n"}
        assert host.init(f"output {number}", options) == 1
        assert_ok(host.flush(f"output {number}", chunk_of([{"n": f"n{number}"}])))
        host.load()
        host.register()
        assert host.exit(f"output {number}") == 1
        host.stop_engine()
        host.unload()
        host.start_engine()
        n_threads.append(host.n_threads())
    assert_clean_end(host)
    assert max(n_threads) <= n_threads[0] + 1  # a late thread may have caused a new one
    wanted = sorted(f"n{number}" for number in range(n_reloads + 1))
    assert sorted(record.partition_key for record in stream.read()) == wanted


def test_reload_where_the_new_output_comes_first(host: PluginHost, stream: LocalStream) -> None:
    assert host.init("old", stream.target) == 1
    assert_ok(host.flush("old", chunk_of([{"n": 1}])))
    host.load()
    host.register()
    host.start_engine()
    assert host.init("new", {**stream.target, "append_newline": "true"}) == 1
    assert_ok(host.flush("old", chunk_of([{"n": 2}])))
    assert host.exit("old") == 1
    host.unload()
    assert_ok(host.flush("new", chunk_of([{"n": 3}])))
    assert_clean_end(host, "new")
    data = sorted(record.data for record in stream.read())
    assert data == [b'{"n":1}', b'{"n":2}', b'{"n":3}\n']


def test_the_library_is_still_there_after_it_was_closed(
    host: PluginHost, stream: LocalStream
) -> None:
    assert host.init("a", stream.target) == 1
    assert host.exit("a") == 1
    host.stop_engine()
    host.unload()
    host.load()
    host.register()
    host.start_engine()
    assert host.init("b", stream.target) == 1
    assert_ok(host.flush("b", chunk_of([{"n": 1}])))
    assert_clean_end(host, "b")
    assert [record.data for record in stream.read()] == [b'{"n":1}']


def test_exit_waits_for_flushes_and_they_succeed(host: PluginHost) -> None:
    with SlowService() as service:
        assert host.init("a", service.target) == 1
        host.start(1, "a", chunk_of([{"n": 1}]))
        assert service.arrived.wait(PATIENCE_S)
        host.send("exit", "a")
        service.release()
        assert host.reply() == "1"
        assert_ok(host.join(1))
    assert_clean_end(host)
    assert service.accepted == [b'{"n":1}']
    assert host.log()[-1].text.startswith("records: in=1 delivered=1 skipped=0 dead=0 pending=0")


@pytest.mark.slow
def test_exit_gives_up_after_5_s_and_the_process_ends_while_answers_come(
    new_host: NewHost,
) -> None:
    """No Python thread runs during the destructors, although responses arrive for them."""
    with SlowService() as service:
        hosts = [new_host(), new_host()]
        for host, concurrency in zip(hosts, "01", strict=True):
            service.arrived.clear()
            options = {**service.target, "experimental_concurrency": concurrency}
            assert host.init("a", options) == 1
            host.start(1, "a", chunk_of([{"n": 1}, {"n": 2}]) + MALFORMED)
            assert service.arrived.wait(PATIENCE_S)
        assert_ok(hosts[1].join(1))
        began = time.monotonic()
        for host in hosts:
            host.send("exit", "a")
        assert [host.reply() for host in hosts] == ["1", "1"]
        assert 4.9 < time.monotonic() - began < MAX_EXIT_S
        for host in hosts:
            host.send("quit")
        service.release()
        assert [host.wait() for host in hosts] == [0, 0]
    for host in hosts:
        (line,) = host.log("error")
        assert line.text == "closed; records that were not delivered: 2"
        assert "delivered=0 skipped=1 dead=0 pending=2" in host.log()[-1].text  # the last line


def test_a_flush_after_exit_is_an_error_and_does_not_crash(
    host: PluginHost, stream: LocalStream
) -> None:
    assert host.init("a", stream.target) == 1
    assert host.init("b", stream.target) == 1
    assert host.exit("a") == 1
    assert host.flush("a", chunk_of([{"n": 1}]))[:4] == (1, 0, 0, 0)
    assert host.exit("b") == 1
    assert host.flush("b", chunk_of([{"n": 1}]))[:4] == (1, 0, 0, 0)
    assert host.quit() == 0
    (line,) = host.log("error")
    assert line.text == "flush called with unknown handle 1"
