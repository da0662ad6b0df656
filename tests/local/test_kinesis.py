"""The local Kinesis: start and end, limits, and isolation from real accounts."""

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_stream import LocalStream
from started import Started

from kinesis_fast.local import kinesis
from kinesis_fast.local.kinesis import LocalKinesis, LocalKinesisError, plain_client
from kinesis_fast.local.server import OneAtATime

MIB = 1024 * 1024
PATIENCE_S = 10.0


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for_end(pid: int) -> bool:
    """Tell whether a process ends in time."""
    deadline = time.monotonic() + PATIENCE_S
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def put(stream: LocalStream, data: bytes, partition_key: str = "a") -> None:
    """Put one record with plain boto3."""
    client = plain_client(stream.local.endpoint, stream.local.region)
    try:
        client.put_records(
            StreamName=stream.name, Records=[{"Data": data, "PartitionKey": partition_key}]
        )
    finally:
        client.close()


def test_what_is_put_can_be_read(stream: LocalStream) -> None:
    assert stream.read() == []
    for number in range(8):
        put(stream, b"data %d \xff\x00" % number, f"k\u00e9y {number}")
    records = stream.read()
    assert {(r.partition_key, r.data) for r in records} == {
        (f"k\u00e9y {number}", b"data %d \xff\x00" % number) for number in range(8)
    }
    assert len({record.shard_id for record in records}) > 1
    for shard_id in {record.shard_id for record in records}:
        numbers = [int(r.sequence_number) for r in records if r.shard_id == shard_id]
        assert numbers == sorted(set(numbers))


def test_parallel_senders_lose_nothing(stream: LocalStream) -> None:
    client = plain_client(stream.local.endpoint, stream.local.region)

    def put_many(sender: int) -> None:
        for batch in range(5):
            entries = [
                {"Data": b"%d/%d/%d" % (sender, batch, i), "PartitionKey": "same shard"}
                for i in range(50)
            ]
            client.put_records(StreamName=stream.name, Records=entries)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put_many, range(4)))
    client.close()
    assert len({record.data for record in stream.read()}) == 4 * 5 * 50


def test_moto_gets_one_request_at_a_time() -> None:
    active = most = 0

    def app(environ: dict[str, Any], _start_response: object) -> list[bytes]:
        nonlocal active, most
        active += 1
        most = max(most, active)
        time.sleep(0.005)
        active -= 1
        return [environ["wsgi.input"].read()]

    def call(number: int) -> bytes:
        body = str(number).encode()
        environ = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body + b"next")}
        return b"".join(guarded(environ, lambda *_: None))

    guarded = OneAtATime(app)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(20))) == [str(n).encode() for n in range(20)]
    assert most == 1


def test_ctrl_c_at_the_terminal_is_not_for_it(stream: LocalStream) -> None:
    # A terminal sends the signal to a whole process group.
    assert os.getpgid(stream.local.pid) != os.getpgid(0)


def test_records_beyond_1_mib_are_refused_as_by_the_service(stream: LocalStream) -> None:
    put(stream, b"x" * (MIB - 1))
    with pytest.raises(ClientError, match="ValidationException"):
        put(stream, b"x" * MIB)
    assert len(stream.read()) == 1


def test_the_limit_of_records_can_be_raised() -> None:
    with LocalKinesis(max_record_size=10 * MIB) as large:
        stream = LocalStream(large)
        put(stream, b"x" * (10 * MIB - 1))
        with pytest.raises(ClientError, match="InvalidArgumentException"):
            put(stream, b"x" * 10 * MIB)
        assert [len(record.data) for record in stream.read()] == [10 * MIB - 1]


def test_it_ends_with_its_block() -> None:
    with LocalKinesis() as running:
        pid = running.pid
        assert is_running(pid)
    assert wait_for_end(pid)
    running.stop()
    with pytest.raises(LocalKinesisError, match="not running"):
        _ = running.endpoint


def test_it_ends_with_its_parent_however_that_dies() -> None:
    program = (
        "import time\n"
        "from kinesis_fast.local.kinesis import LocalKinesis\n"
        "with LocalKinesis() as local:\n"
        "    print(local.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with Started[str](
        [sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
    assert wait_for_end(pid)


def test_two_at_once_do_not_share_anything(stream: LocalStream) -> None:
    with LocalKinesis() as other:
        assert other.endpoint != stream.local.endpoint
        twin = LocalStream(other)
        put(twin, b"there")
        assert len(twin.read()) == 1
    assert stream.read() == []


@pytest.mark.slow
def test_no_setting_of_the_user_reaches_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "config"
    settings.write_text("[default]\nregion = nowhere-1\nendpoint_url = http://127.0.0.1:1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("EKS_POD_EXECUTION_ROLE", "arn:aws:iam::123456789012:role/real")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.org")
    before = dict(os.environ)
    with LocalKinesis() as running:
        assert dict(os.environ) == before
        stream = LocalStream(running)
        put(stream, b"x")
        assert len(stream.read()) == 1
        environment = running.environment()
        with running.applied_environment():
            assert dict(os.environ) == environment
    assert dict(os.environ) == before
    assert environment["AWS_SECRET_ACCESS_KEY"].startswith("made-up-")
    assert environment["NO_PROXY"] == "example.org,127.0.0.1"
    assert environment["AWS_CONFIG_FILE"] == os.devnull
    assert not {"AWS_PROFILE", "EKS_POD_EXECUTION_ROLE"} & environment.keys()


def test_without_moto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)
    with (
        pytest.raises(
            LocalKinesisError, match=r"moto cannot be found: pip install 'kinesis-fast\["
        ),
        LocalKinesis(),
    ):
        pass


def test_a_server_that_breaks_at_its_start_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "server.py"
    broken.write_text("raise SystemExit(7)\n")
    monkeypatch.setattr(kinesis, "_SERVER", broken)
    with pytest.raises(LocalKinesisError, match="status 7"), LocalKinesis():
        pass


def test_a_server_that_never_starts_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stuck = tmp_path / "server.py"
    stuck.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(kinesis, "_SERVER", stuck)
    monkeypatch.setattr(kinesis, "START_TIMEOUT_S", 0.2)
    monkeypatch.setattr(kinesis, "STOP_TIMEOUT_S", 0.2)
    with pytest.raises(LocalKinesisError, match="did not start"), LocalKinesis():
        pass
