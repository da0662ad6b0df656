"""A forked child starts anew. Each test runs in its own process, because a fork copies threads."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

SUPPORT = Path(__file__).parent.parent / "support"
PREAMBLE = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from chunks import output_config
from fake_transport import FakeTransport, accept
from outputs import numbered
from raw_server import RawServer, http
from fake_transport import entries_answer
from kinesis_fast import ClosedError, FlushResult, KinesisOutput

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
"""


def run(script: str) -> None:
    program = PREAMBLE + textwrap.dedent(script)
    # Python 3.12 and later warn about forks of processes with threads; they are the point here.
    command = [sys.executable, "-P", "-W", "ignore", "-c", program, str(SUPPORT)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr


def test_a_child_has_an_account_and_connections_of_its_own() -> None:
    run(
        """
        with RawServer(lambda _: http(200, entries_answer([None]).body)) as server:
            output = KinesisOutput(output_config(endpoint=server.url))
            assert output.flush(numbered([1])) is FlushResult.OK

            def check():
                assert not any(output.stats().values())
                assert output.flush(numbered([2])) is FlushResult.OK
                assert output.stats()["delivered"] == 1
                output.close()

            in_child(check)
            assert output.flush(numbered([3])) is FlushResult.OK
            assert output.stats()["delivered"] == 2
            output.close()
        assert [arrived.connection for arrived in server.arrived] == [1, 2, 1]
        """
    )


def test_what_is_pending_belongs_to_the_parent() -> None:
    run(
        """
        gate = threading.Event()

        def wait(records):
            gate.wait(10)
            return accept(records)

        transport = FakeTransport(wait)
        output = KinesisOutput(output_config(experimental_concurrency="1"), transport)
        assert output.flush(numbered([1, 2])) is FlushResult.OK
        while not transport.requests:
            time.sleep(0.001)

        def check():
            assert output.stats()["pending"] == 0
            assert output.flush(numbered([3])) is FlushResult.OK
            output.close()
            assert output.stats()["delivered"] == 1
            assert transport.kept == [b'{"n":3}']

        in_child(check)
        gate.set()
        output.close()
        assert output.stats()["delivered"] == 2
        """
    )


def test_locks_that_other_threads_held_are_replaced() -> None:
    run(
        """
        output = KinesisOutput(output_config(), FakeTransport())
        locks = [output._changed]
        taken = threading.Event()

        def hold():
            for lock in locks:
                lock.__enter__()
            taken.set()
            time.sleep(30)

        threading.Thread(target=hold, daemon=True).start()
        taken.wait()

        def check():
            assert output.flush(numbered([1])) is FlushResult.OK
            assert output.stats()["delivered"] == 1
            output.close()

        in_child(check)
        os._exit(0)
        """
    )


def test_a_closed_output_stays_closed() -> None:
    run(
        """
        output = KinesisOutput(output_config(), FakeTransport())
        output.close()

        def check():
            output.close()
            try:
                output.flush(numbered([1]))
            except ClosedError:
                return
            raise AssertionError("it is open")

        in_child(check)
        """
    )


def test_a_transport_that_was_passed_in_connects_anew() -> None:
    run(
        """
        from kinesis_fast.transport.client import open_transport

        with RawServer(lambda arrived: http(200, arrived.body)) as server:
            transport = open_transport(output_config(endpoint=server.url, transport="direct"))

            def send(body):
                assert transport.send(memoryview(body), 1, 10.0).body == body

            def check():
                assert transport._context_lock.locked()  # as it was when the process was forked
                send(b"2")
                send(b"3")
                transport.close()

            send(b"1")
            with transport._context_lock:
                in_child(check)
            send(b"4")
            transport.close()
        assert [(a.body, a.connection) for a in server.arrived] == [
            (b"1", 1), (b"2", 2), (b"3", 2), (b"4", 1)
        ]
        """
    )
