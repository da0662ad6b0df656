"""The end of the interpreter, of an output or of a process while requests are in flight."""

import signal
import time

import pytest
from fault_flushes import TRANSPORTS, assert_arrived
from fault_program import assert_clean, end, run, start
from fault_server import FaultServer

# How botocore ends its connections is not ours to test often.
with_each_transport = pytest.mark.parametrize(
    "transport",
    [
        pytest.param(name, marks=[pytest.mark.long] if name == "botocore" else [])
        for name in TRANSPORTS
    ],
)
HANG = {"kind": "hang"}


# --- the end of the interpreter ---


@with_each_transport
def test_main_returns_while_everything_hangs(transport: str, server: FaultServer) -> None:
    """The interpreter does not wait for daemon threads of the caller or of the package."""
    server.plan(then=HANG)
    ended = run(
        """
        background = new_output(experimental_concurrency="2")
        assert [background.flush(numbered(range(1200))) for _ in range(2)] == [OK, OK]
        output = new_output()
        in_threads(3, lambda i: output.flush(numbered(range(1200))))
        while background.stats()["requests"] < 2 or output.stats()["requests"] < 3:
            time.sleep(0.001)
        """,
        server.url,
        transport,
    )
    assert_clean(ended)
    assert ended.seconds < 15


@with_each_transport
@pytest.mark.parametrize(
    "attempt", [0, *(pytest.param(number, marks=pytest.mark.long) for number in range(1, 30))]
)
def test_main_returns_at_full_speed(attempt: int, transport: str, server: FaultServer) -> None:
    """Threads are stopped anywhere: in the encoder, in a socket, while they hold a lock."""
    ended = run(
        f"""
        output = new_output()
        background = new_output(experimental_concurrency="4", partition_key="n")
        chunk = numbered(range(3000))

        def flush(number):
            while True:
                (background if number % 2 else output).flush(chunk)

        in_threads(4, flush)
        time.sleep(0.05 + 0.017 * {attempt})
        """,
        server.url,
        transport,
    )
    assert_clean(ended)
    assert ended.seconds < 15


@with_each_transport
def test_flush_and_close_at_exit(transport: str, server: FaultServer) -> None:
    """Handlers of atexit run when no thread can be started any more (Python 3.12 and later)."""
    ended = run(
        """
        output = new_output()
        output.flush(numbered(range(100)))

        def last():
            print(output.flush(numbered(range(100, 1700))).name)
            output.close()
            print(output.stats()["delivered"])

        atexit.register(last)
        """,
        server.url,
        transport,
    )
    assert_clean(ended)
    assert ended.output.split() == ["OK", "1700"]
    assert_arrived(server.seen(), range(1700))


@with_each_transport
def test_outputs_that_are_never_closed(transport: str, server: FaultServer) -> None:
    ended = run(
        """
        from kinesis_fast.delivery import thread_pool
        thread_pool.IDLE_S = 0.2  # an idle thread keeps its last task alive

        def n_fds():
            return len(os.listdir("/proc/self/fd"))

        def use(first):
            output = new_output()
            assert output.flush(numbered(range(first, first + 600))) is OK

        use(0)
        gc.collect()
        before = n_fds()
        for number in range(1, 21):
            use(600 * number)
        deadline = time.monotonic() + 20
        while threading.active_count() > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        gc.collect()
        print(n_fds() - before)
        """,
        server.url,
        transport,
    )
    assert_clean(ended)
    assert int(ended.output) <= 4
    assert_arrived(server.seen(), range(21 * 600))


# --- close ---


@with_each_transport
def test_close_from_many_threads_while_others_flush(transport: str, server: FaultServer) -> None:
    ended = run(
        """
        output = new_output()
        sent = []

        def flush(number):
            try:
                for first in range(100_000 * number, 100_000 * number + 100_000, 500):
                    assert output.flush(numbered(range(first, first + 500))) is OK
                    sent.append(first)
            except ClosedError:
                pass

        flushing = in_threads(4, flush)
        time.sleep(0.2)
        join(in_threads(8, lambda _: output.close()))
        join(flushing)
        output.close()
        stats = output.stats()
        assert_balanced(stats)
        assert stats["delivered"] == stats["in"] == 500 * len(sent)
        try:
            output.flush(numbered([1]))
        except ClosedError:
            print(*sent)
        """,
        server.url,
        transport,
    )
    assert_clean(ended)
    chunks = map(int, ended.output.split())
    assert_arrived(server.seen(), [n for first in chunks for n in range(first, first + 500)])


@with_each_transport
def test_close_while_a_flush_hangs(transport: str, server: FaultServer) -> None:
    server.plan(then=HANG)
    ended = run(
        """
        output = new_output(http_request_timeout="0.5")
        results = []
        flushing = in_threads(2, lambda _: results.append(output.flush(numbered(range(900)))))
        while output.stats()["requests"] < 2:
            time.sleep(0.001)
        started = time.monotonic()
        output.close(0.2)
        assert time.monotonic() - started < 1.5, "close() takes longer than it was told"
        output.close(0.2)
        join(flushing)
        assert results == [RETRY, RETRY], results
        stats = output.stats()
        assert_balanced(stats)
        assert stats["returned"] == 1800, stats
        assert stats["pending"] == 0, stats
        """,
        server.url,
        transport,
    )
    assert ended.status == 0, ended


# --- signals ---


def wait_for_requests(server: FaultServer, number: int) -> None:
    deadline = time.monotonic() + 30
    while server.seen().counts["requests"] < number:
        assert time.monotonic() < deadline, "no request comes"
        time.sleep(0.005)


@with_each_transport
def test_sigterm_ends_at_once(transport: str, server: FaultServer) -> None:
    server.plan(then=HANG)
    process = start("new_output().flush(numbered(range(1200)))", server.url, transport)
    wait_for_requests(server, 1)
    started = time.monotonic()
    process.terminate()
    ended = end(process, started)
    assert ended.status == -signal.SIGTERM
    assert ended.seconds < 5


@with_each_transport
def test_ctrl_c_during_a_flush(transport: str, server: FaultServer) -> None:
    """It takes no longer than the requests in flight; the next flush works as usual."""
    server.plan(then=HANG)
    process = start(
        """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored by inheritance
        output = new_output(http_request_timeout="1")
        try:
            output.flush(numbered(range(1200)))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        stats = output.stats()
        assert_balanced(stats)
        assert stats["returned"] == 1200, stats
        bring(output, numbered(range(1200)), on_retry=lambda: time.sleep(0.2))
        output.close()
        """,
        server.url,
        transport,
    )
    wait_for_requests(server, 3)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "interrupted\n", process.communicate()[1]
    assert time.monotonic() - started < 8
    server.heal()
    assert_clean(end(process))
    assert_arrived(server.seen(), range(1200))


@with_each_transport
def test_many_signals_during_a_flush(transport: str, server: FaultServer) -> None:
    """A signal handler of the host runs every millisecond and interrupts system calls."""
    ended = run(
        """
        n_signals = 0

        def count(*_):
            global n_signals
            n_signals += 1

        signal.signal(signal.SIGALRM, count)
        signal.siginterrupt(signal.SIGALRM, True)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        output = new_output(partition_key="n")
        for first in range(0, 30_000, 3000):
            assert output.flush(numbered(range(first, first + 3000))) is OK
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert n_signals > 50, n_signals
        assert output.stats()["delivered"] == 30_000
        """,
        server.url,
        transport,
    )
    assert_clean(ended)
    assert_arrived(server.seen(), range(30_000))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_broken_connection_raises_no_sigpipe(scheme: str, server: FaultServer) -> None:
    """A host with the default action of SIGPIPE survives a broken connection.

    Only with the direct transport: botocore writes without MSG_NOSIGNAL.
    """
    server.plan(*[{"kind": "reset", "when": "before", "end": True}] * 15)
    ended = run(
        """
        from chunks import chunk_of
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        output = new_output()
        chunk = chunk_of({"n": n, "text": "x" * 2000} for n in range(500))
        bring(output, chunk)
        """,
        server.url if scheme == "http" else server.tls_url,
        "direct",
    )
    assert ended.status == 0, ended
    assert server.seen().accepted.keys() == set(range(500))


@with_each_transport
def test_sigchld_is_ignored(transport: str, server: FaultServer) -> None:
    ended = run(
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        output = new_output()
        assert output.flush(numbered(range(1200))) is OK
        output.close()
        """,
        server.url,
        transport,
    )
    assert_clean(ended)
    assert_arrived(server.seen(), range(1200))


# --- forks ---


@with_each_transport
@pytest.mark.parametrize("scheme", [pytest.param("http", marks=pytest.mark.long), "https"])
def test_forks_while_flushes_are_in_progress(
    scheme: str, transport: str, server: FaultServer
) -> None:
    """Parent and children never share a connection, and each delivers its own chunks."""
    ended = run(
        """
        output = new_output()
        background = new_output(experimental_concurrency="2")
        assert output.flush(numbered(range(60_000, 60_100))) is OK  # all modules are imported now

        def flush(number):
            for first in range(10_000 * number, 10_000 * number + 10_000, 1000):
                assert bring(output, numbered(range(first, first + 1000))) == [OK]

        flushing = in_threads(3, flush)
        bring(background, numbered(range(50_000, 53_000)))
        children = []
        for number in range(6):
            time.sleep(0.02)
            child = os.fork()
            if child == 0:
                first = 100_000 + 2000 * number
                assert not any(output.stats().values())
                assert output.flush(numbered(range(first, first + 1000))) is OK
                assert background.flush(numbered(range(first + 1000, first + 2000))) is OK
                for one in (output, background):
                    one.close()
                    assert one.stats()["delivered"] == 1000
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0, "a child failed"
        join(flushing)
        for one, number in ((output, 30_100), (background, 3000)):
            one.close()
            assert one.stats()["delivered"] == number, one.stats()
        """,
        server.url if scheme == "http" else server.tls_url,
        transport,
    )
    assert_clean(ended)
    sent = [*range(30_000), *range(50_000, 53_000), *range(60_000, 60_100)]
    assert_arrived(server.seen(), [*sent, *range(100_000, 112_000)])


def test_no_module_is_imported_by_a_flush(server: FaultServer) -> None:
    """A child that is forked while a thread imports a module would wait for it for ever."""
    server.plan({"kind": "partial", "indexes": [0]}, {"kind": "reset"}, {"kind": "garbage"})
    ended = run(
        """
        output = new_output()
        before = set(sys.modules)
        bring(output, numbered(range(1200)))
        print(*sorted(sys.modules.keys() - before))
        """,
        server.url,
        "direct",
    )
    assert_clean(ended)
    assert ended.output == "\n"
