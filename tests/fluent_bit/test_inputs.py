"""Records from Fluent Bit's inputs arrive, each once, and the process ends cleanly."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
from fluent_bit_process import FluentBit, classic, kinesis, needs_fluent_bit, tail, wait_until, yaml
from local_stream import LocalStream
from numbered_lines import each_once, numbers_in, write_lines

pytestmark = needs_fluent_bit

SERVICE = {"flush": 0.2, "grace": 5}
N_RECORDS = 3000
TAG = "forwarded"
LEVELS = 60


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("write", [classic, yaml])
def test_a_file_arrives(
    write: Callable[..., Path], workers: int, stream: LocalStream, tmp_path: Path
) -> None:
    write_lines(tmp_path / "log", numbers := range(N_RECORDS))
    outputs = [kinesis(stream.target, workers=workers)]
    config = write(SERVICE, [tail(tmp_path / "log")], outputs, tmp_path)
    with FluentBit(config, tmp_path) as fluent_bit:
        fluent_bit.wait_for_records(stream, N_RECORDS)
        assert fluent_bit.stop() == 0
    assert numbers_in(stream) == each_once(numbers)
    (account,) = fluent_bit.accounts()
    assert (account["in"], account["delivered"]) == (N_RECORDS, N_RECORDS)
    assert fluent_bit.complaints() == []


@pytest.mark.parametrize("workers", [0, 4])
def test_what_is_forwarded_arrives(workers: int, stream: LocalStream, tmp_path: Path) -> None:
    port = free_port()
    forward = {"name": "forward", "listen": "127.0.0.1", "port": port}
    config = classic(SERVICE, [forward], [kinesis(stream.target, workers=workers)], tmp_path)
    with FluentBit(config, tmp_path) as fluent_bit:
        fluent_bit.wait_for_log("listening on")
        with closing(connection(port)) as sender:
            for start in range(0, N_RECORDS, 100):
                forwarded = [{"log": f"{n} line"} for n in range(start, start + 100)]
                forward_chunk(sender, forwarded)
        fluent_bit.wait_for_records(stream, N_RECORDS)
        assert fluent_bit.stop() == 0
    assert numbers_in(stream) == each_once(range(N_RECORDS))
    assert fluent_bit.complaints() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_nested_records_arrive(workers: int, stream: LocalStream, tmp_path: Path) -> None:
    """Flushes run on a stack of 64 KiB; this is the deepest nesting that Fluent Bit parses."""
    deep = [{"log": f"{n} line", "a.b": nested(LEVELS)} for n in range(200)]
    (tmp_path / "log").write_text("".join(json.dumps(record) + "\n" for record in deep))
    (tmp_path / "parsers").write_text("[PARSER]\n    Name json\n    Format json\n")
    service = {**SERVICE, "parsers_file": tmp_path / "parsers"}
    outputs = [kinesis(stream.target, workers=workers, replace_dots="_")]
    config = classic(service, [tail(tmp_path / "log", parser="json")], outputs, tmp_path)
    with FluentBit(config, tmp_path) as fluent_bit:
        fluent_bit.wait_for_records(stream, len(deep))
        assert fluent_bit.stop() == 0
    assert numbers_in(stream) == each_once(range(len(deep)))
    assert all(json.loads(record)["a_b"] == nested(LEVELS) for record in data(stream))


def test_two_outputs_each_with_its_options(stream: LocalStream, tmp_path: Path) -> None:
    other = LocalStream(stream.local)
    write_lines(tmp_path / "log", range(500))
    outputs = [
        kinesis(stream.target, log_key="log", append_newline="on", partition_key="name"),
        kinesis(other.target, time_key="at", partition_key="name", workers=1),
    ]
    config = classic(SERVICE, [tail(tmp_path / "log", path_key="name")], outputs, tmp_path)
    with FluentBit(config, tmp_path) as fluent_bit:
        for target in (stream, other):
            fluent_bit.wait_for_records(target, 500)
        assert fluent_bit.stop() == 0
    assert sorted(data(stream)) == sorted((tmp_path / "log").read_bytes().splitlines(True))
    assert numbers_in(other) == each_once(range(500))
    assert all(list(json.loads(record)) == ["name", "log", "at"] for record in data(other))
    assert {record.partition_key for record in stream.read()} == {str(tmp_path / "log")}
    assert [account["delivered"] for account in fluent_bit.accounts()] == [500, 500]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"append_newline": "maybe"}, "option append_newline is 'maybe'"),
        ({"stream": "no stream"}, "option stream is 'no stream'"),
        ({"compression": "lz4"}, "option compression is 'lz4'"),
        ({"python": "/nowhere/python3"}, "/nowhere/python3"),
        ({"libpython": "/nowhere/libpython3.so"}, "/nowhere/libpython3.so"),
    ],
)
def test_a_wrong_option_stops_fluent_bit(
    options: dict[str, str], line: str, tmp_path: Path
) -> None:
    target = {"region": "us-east-1", "stream": "logs", **options}
    inputs: list[dict[str, object]] = [{"name": "dummy"}]
    with FluentBit(classic(SERVICE, inputs, [kinesis(target)], tmp_path), tmp_path) as fluent_bit:
        assert fluent_bit.wait() != 0
    (complaint,) = [text for text in fluent_bit.complaints() if "[error] [kinesis" in text]
    assert line in complaint


def test_in_the_background(stream: LocalStream, tmp_path: Path) -> None:
    """With -d the process forks between the registration and the start of the plugin."""
    write_lines(tmp_path / "log", numbers := range(200))
    log = tmp_path / "log_of_child"
    config = classic(
        {**SERVICE, "log_file": log}, [tail(tmp_path / "log")], [kinesis(stream.target)], tmp_path
    )
    with FluentBit(config, tmp_path, "-d") as starter:
        assert starter.wait() == 0
    wait_until(lambda: log.is_file() and "pid=" in log.read_text(), "the process")
    child = int(log.read_text().partition("pid=")[2].split()[0])
    try:
        wait_until(lambda: len(stream.read()) >= len(numbers), "the records")
    finally:
        os.kill(child, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "its end")
    assert numbers_in(stream) == each_once(numbers)
    assert "caught signal (SIGSEGV)" not in log.read_text()


def data(stream: LocalStream) -> list[bytes]:
    """Return the data of all records in a stream."""
    return [record.data for record in stream.read()]


def nested(levels: int) -> object:
    """Return maps in maps."""
    value: object = "end"
    for _ in range(levels):
        value = {"m": value}
    return value


def free_port() -> int:
    """Return a loopback port without a listener."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def connection(port: int) -> socket.socket:
    """Connect to Fluent Bit's forward input."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def forward_chunk(sender: socket.socket, records: Sequence[Mapping[str, object]]) -> None:
    """Send records in the forward protocol's forward mode, and wait until they are taken."""
    entries = [[1_700_000_000, record] for record in records]
    sender.sendall(msgpack.packb([TAG, entries, {"chunk": "id"}], use_bin_type=True))
    assert msgpack.unpackb(sender.recv(4096)) == {"ack": "id"}
