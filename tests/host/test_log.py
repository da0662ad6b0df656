"""The lines on standard error, and the exit of the process after SEND_FAILURE_TIMEOUT."""

from __future__ import annotations

import time

import pytest
from chunks import chunk_of
from host_fixtures import NewHost
from local_stream import LocalStream
from plugin_host import LogLine, PluginHost, assert_ok
from slow_service import SlowService

MALFORMED = chunk_of([{"n": 1}]) + b"\xc1"
PATIENCE_S = 30.0


def lines_of(host: PluginHost, stream: LocalStream) -> list[LogLine]:
    """Let outputs start, warn, fail and end; return their log lines."""
    assert host.init("a", stream.target) == 1
    assert host.init("b", {**stream.target, "stream": "no-such-stream"}) == 1
    assert_ok(host.flush("a", MALFORMED, "tag\twith\x1b[31mcontrols\r".replace("\t", " ")))
    assert host.flush("b", chunk_of([{"n": 1}]))[:4] == (0, 0, 1, 0)
    assert host.exit("a") == 1
    assert host.exit("b") == 1
    assert host.quit() == 0
    return host.log()


def test_lines_have_the_layout_of_fluent_bit_and_the_number_of_the_output(
    host: PluginHost, stream: LocalStream
) -> None:
    now = time.strftime("[%Y/%m/%d", time.gmtime())
    lines = lines_of(host, stream)
    assert [(line.level, line.number) for line in lines] == [
        ("info", 0),
        ("info", 1),
        ("warn", 0),
        ("error", 1),
        ("info", 0),
        ("info", 1),
    ]
    assert f"stream={stream.name} " in lines[0].text
    assert lines[2].text.startswith("chunk 'tag with\\x1b[31mcontrols\\r': malformed or cut off")
    assert "ResourceNotFoundException" in lines[3].text
    assert lines[4].text == "records: in=2 delivered=1 skipped=1 dead=0 pending=0 returned=0"
    assert lines[5].text == "records: in=1 delivered=0 skipped=0 dead=0 pending=0 returned=1"
    assert host.log_text().startswith(now)


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        ("off", set()),
        ("error", {"error"}),
        ("warn", {"error", "warn"}),
        ("info", {"error", "warn", "info"}),
    ],
)
def test_the_level_comes_from_fluent_bit(
    new_host: NewHost, stream: LocalStream, level: str, levels: set[str]
) -> None:
    lines = lines_of(new_host(FLB_LOG_LEVEL=level), stream)
    assert {line.level for line in lines} == levels


def test_an_output_without_any_success_ends_the_process(new_host: NewHost) -> None:
    with SlowService() as service:
        host = new_host(SEND_FAILURE_TIMEOUT="2500ms")
        assert host.init("a", service.target) == 1
        host.start(1, "a", chunk_of([{"n": 1}]))
        assert service.arrived.wait(PATIENCE_S)
        assert host.wait() == 1
    (line,) = host.log("error")
    assert line.number == 0
    assert line.text.startswith("no record was acknowledged for ")
    assert line.text.endswith("(SEND_FAILURE_TIMEOUT is 2.5 s); exiting with status 1")
