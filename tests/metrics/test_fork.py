"""A forked child has none of its parent's endpoints and files, and may have its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

from loopback_settings import program_environment

PREAMBLE = """
import logging, os, socket, sys, threading
from chunks import output_config
from fake_transport import FakeTransport
from outputs import eventually, numbered
from scraping import free_port, scrape, samples_of, value
from kinesis_fast import FlushResult, KinesisOutput

logging.basicConfig(level="INFO", format="%(process)d %(message)s", filename=sys.argv[1])
port = free_port()
PATH = sys.argv[1] + ".prom"

def new(**options):
    return KinesisOutput(output_config(options), FakeTransport())

def in_child(check):
    pid = os.fork()
    if pid == 0:
        try:
            check()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"

def log():
    return open(sys.argv[1]).read()

def sockets():
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return [link for link in links if os.path.exists(link) or os.path.islink(link)
            and os.readlink(link).startswith("socket:")]
"""


def run(script: str, tmp_path: Path) -> None:
    program = PREAMBLE + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", program, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=program_environment(),
    )
    assert done.returncode == 0, done.stderr


def test_a_child_keeps_no_server_of_its_parent(tmp_path: Path) -> None:
    run(
        """
        before = len(sockets())
        output = new(metrics_listen=str(port))
        scrape(port)

        def check():
            assert len(sockets()) == before
            assert "kinesis-fast-metrics" not in [t.name for t in threading.enumerate()]
            assert scrape(port).status == 200  # the parent's
            output.close()
            assert scrape(port).status == 200

        in_child(check)
        assert scrape(port).status == 200
        output.close()
        """,
        tmp_path,
    )


def test_a_child_serves_the_address_once_its_parent_does_not(tmp_path: Path) -> None:
    run(
        """
        from kinesis_fast.metrics import services
        services.LISTEN_AGAIN_S = 0.01
        output = new(metrics_listen=str(port))
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            assert output.flush(numbered([1, 2])) is FlushResult.OK
            assert f"cannot serve metrics at 127.0.0.1:{port}: Address already in use" in log()
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            eventually(lambda: f"{os.getpid()} metrics are served" in log())
            assert value(scrape(port).samples, "records_in_total") == 2
            output.close()
            os._exit(0)
        os.read(ready[0], 1)
        assert value(scrape(port).samples, "records_in_total") == 0
        output.close()
        os.write(go[1], b"x")
        assert os.waitpid(pid, 0)[1] == 0, "the child failed"
        """,
        tmp_path,
    )


def test_a_child_does_nothing_of_what_its_parent_does_now_and_then(tmp_path: Path) -> None:
    run(
        """
        from kinesis_fast.metrics.ticker import shared_ticker
        output = new(stats_interval="3600", metrics_file=PATH)

        def check():
            ticker = shared_ticker()
            assert not ticker._tasks
            assert output.flush(numbered([1])) is FlushResult.OK
            assert len(ticker._tasks) == 2
            output.close()
            assert not ticker._tasks

        with shared_ticker()._changed:  # held for ever in the child
            in_child(check)
        output.close()
        """,
        tmp_path,
    )


def test_a_child_does_not_write_its_parents_file(tmp_path: Path) -> None:
    run(
        """
        output = new(metrics_file=PATH)
        eventually(lambda: os.path.exists(PATH))

        def check():
            assert output.flush(numbered([1, 2])) is FlushResult.OK
            output.close()
            assert "another process writes it" in log()
            assert value(samples_of(open(PATH).read(), is_openmetrics=False), "requests_total") == 0

        in_child(check)
        output.close()
        pid = os.fork()
        if pid == 0:
            with new(metrics_file=PATH) as own:
                assert own.flush(numbered([1, 2])) is FlushResult.OK
            assert value(samples_of(open(PATH).read(), is_openmetrics=False), "requests_total") == 1
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0, "the second child failed"
        """,
        tmp_path,
    )


def test_a_daemon_writes_the_file_of_the_parent_that_has_ended(tmp_path: Path) -> None:
    run(
        """
        output = new(metrics_file=PATH)
        eventually(lambda: os.path.exists(PATH))
        ended = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ended[0])
            grandchild = os.fork()
            if grandchild:
                os._exit(0)
            os.close(ended[1])
            os._exit(0)
        os.close(ended[1])
        assert os.read(ended[0], 1) == b""  # both have ended
        os.waitpid(pid, 0)
        output.close()
        """,
        tmp_path,
    )
