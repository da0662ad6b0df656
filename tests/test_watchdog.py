"""SEND_FAILURE_TIMEOUT: the variable, the rules of the watchdog, and a process that ends."""

import logging
import re
import subprocess
import sys
import threading

import pytest

from kinesis_fast import watchdog
from kinesis_fast.errors import ConfigError, SendFailureTimeout
from kinesis_fast.logs import LOGGER
from kinesis_fast.watchdog import Watchdog, exit_process, send_failure_timeout

TIMEOUT_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dog(clock: Clock) -> Watchdog:
    return Watchdog(TIMEOUT_S, clock=clock)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m30s", 330.0), ("300ms", 0.3), ("1.5h", 5400.0), ("", None), ("0", None), ("0s", None)],
)
def test_the_variable(text: str, seconds: float | None) -> None:
    assert send_failure_timeout({"SEND_FAILURE_TIMEOUT": text}) == seconds
    assert send_failure_timeout({}) is None


def test_the_variable_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "2m")
    assert send_failure_timeout() == 120.0
    monkeypatch.delenv("SEND_FAILURE_TIMEOUT")
    assert send_failure_timeout() is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("-5s", "it is negative"), ("5 minutes\n", "the unit ' minutes\\n' is unknown")],
)
def test_a_wrong_variable_is_a_config_error(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        send_failure_timeout({"SEND_FAILURE_TIMEOUT": text})
    message = str(caught.value)
    assert message.startswith("environment variable SEND_FAILURE_TIMEOUT is '")
    assert reason in message
    assert "allowed: a duration such as 5m30s" in message
    assert message.isprintable()


def test_raises_when_nothing_was_acknowledged_for_too_long(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    clock.advance(59.9)
    dog.check()
    clock.advance(0.1)
    with pytest.raises(SendFailureTimeout) as caught:
        dog.check()
    assert str(caught.value) == (
        "no record was acknowledged for 60.0 s while there were records to send "
        "(SEND_FAILURE_TIMEOUT is 60 s)"
    )


def test_stays_expired_until_something_is_acknowledged(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    clock.advance(61)
    for _ in range(2):
        with pytest.raises(SendFailureTimeout):
            dog.check()
    dog.progress()
    dog.check()


def test_progress_starts_the_time_anew(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    for _ in range(10):
        clock.advance(59)
        dog.check()
        dog.progress()
    clock.advance(60)
    with pytest.raises(SendFailureTimeout):
        dog.check()


def test_the_time_goes_on_while_the_host_holds_records(dog: Watchdog, clock: Clock) -> None:
    for _ in range(3):
        dog.begin()
        clock.advance(5)
        dog.check()
        dog.end(returned=True)
        clock.advance(15)
    dog.begin()
    with pytest.raises(SendFailureTimeout):
        dog.check()


def test_progress_before_a_return_counts(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    clock.advance(50)
    dog.progress()
    dog.end(returned=True)
    clock.advance(50)
    dog.begin()
    clock.advance(9)
    dog.check()
    clock.advance(1)
    with pytest.raises(SendFailureTimeout):
        dog.check()


def test_nothing_is_overdue_after_all_was_settled(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    dog.progress()
    dog.end(returned=False)
    clock.advance(59)
    dog.begin()
    clock.advance(59)
    dog.check()
    clock.advance(1)
    with pytest.raises(SendFailureTimeout):
        dog.check()


def test_nothing_is_overdue_after_a_returned_chunk_was_settled(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    dog.end(returned=True)
    dog.begin()
    dog.end(returned=False)
    clock.advance(59)
    dog.begin()
    clock.advance(59)
    dog.check()


def test_an_idle_time_longer_than_the_timeout_starts_anew(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    clock.advance(30)
    dog.end(returned=True)
    clock.advance(60.1)
    dog.begin()
    clock.advance(59)
    dog.check()


def test_overlapping_deliveries_share_the_time(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    clock.advance(30)
    dog.begin()
    dog.end(returned=True)
    clock.advance(20)
    dog.end(returned=False)
    clock.advance(9)
    dog.begin()
    dog.check()
    clock.advance(1)
    with pytest.raises(SendFailureTimeout):
        dog.check()


def test_progress_of_one_delivery_counts_for_all(dog: Watchdog, clock: Clock) -> None:
    dog.begin()
    dog.begin()
    clock.advance(59)
    dog.progress()
    clock.advance(59)
    dog.check()


def test_check_before_anything_was_to_be_sent(dog: Watchdog, clock: Clock) -> None:
    clock.advance(1e6)
    dog.check()


def test_end_without_begin_is_a_mistake(dog: Watchdog) -> None:
    with pytest.raises(RuntimeError, match="without begin"):
        dog.end(returned=False)


def test_without_a_timeout_nothing_happens(clock: Clock) -> None:
    before = threading.active_count()
    dog = Watchdog(None, clock=clock, on_expired=pytest.fail)
    dog.begin()
    clock.advance(1e9)
    dog.check()
    dog.progress()
    dog.end(returned=True)
    dog.close()
    assert threading.active_count() == before


def test_the_library_starts_no_thread(dog: Watchdog) -> None:
    before = threading.active_count()
    dog.begin()
    assert threading.active_count() == before


class Expiry:
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.happened = threading.Event()

    def __call__(self, message: str) -> None:
        self.messages.append(message)
        self.happened.set()


def test_on_expired_is_called_once_before_check_raises(clock: Clock) -> None:
    expiry = Expiry()
    dog = Watchdog(TIMEOUT_S, clock=clock, on_expired=expiry)
    dog.begin()
    clock.advance(60)
    for _ in range(2):
        with pytest.raises(SendFailureTimeout):
            dog.check()
    dog.close()
    assert len(expiry.messages) == 1
    assert "no record was acknowledged for 60.0 s" in expiry.messages[0]


def test_the_thread_notices_a_request_that_hangs() -> None:
    expiry = Expiry()
    dog = Watchdog(0.05, on_expired=expiry)
    dog.begin()
    assert expiry.happened.wait(10)
    dog.close()
    assert "SEND_FAILURE_TIMEOUT is 0.05 s" in expiry.messages[0]


def test_the_thread_goes_by_the_clock(clock: Clock) -> None:
    expiry = Expiry()
    dog = Watchdog(0.02, clock=clock, on_expired=expiry)
    dog.begin()
    assert not expiry.happened.wait(0.2)
    clock.advance(0.02)
    assert expiry.happened.wait(10)


@pytest.mark.parametrize("returned", [True, False])
def test_the_thread_leaves_an_idle_process_alone(clock: Clock, returned: bool) -> None:
    expiry = Expiry()
    dog = Watchdog(0.02, clock=clock, on_expired=expiry)
    dog.begin()
    dog.end(returned=returned)
    clock.advance(100)
    assert not expiry.happened.wait(0.2)
    dog.begin()
    clock.advance(0.02)
    assert expiry.happened.wait(10)


def test_the_thread_lets_a_late_retry_try_first(clock: Clock) -> None:
    expiry = Expiry()
    dog = Watchdog(0.02, clock=clock, on_expired=expiry)
    dog.begin()
    clock.advance(0.01)
    dog.end(returned=True)
    clock.advance(0.015)
    dog.begin()
    assert not expiry.happened.wait(0.2)
    with pytest.raises(SendFailureTimeout):
        dog.check()
    assert expiry.happened.is_set()


def test_a_thread_that_does_not_start_leaves_nothing_behind(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    dog = Watchdog(10.0, clock=clock, on_expired=lambda _: None)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="start new thread"):
        dog.begin()
    with pytest.raises(RuntimeError, match="without begin"):
        dog.end(returned=False)


def test_what_is_closed_ends_no_process(clock: Clock) -> None:
    reasons: list[str] = []
    dog = Watchdog(10.0, clock=clock, on_expired=reasons.append)
    dog.begin()
    dog.close()
    clock.now += 11.0
    with pytest.raises(SendFailureTimeout):
        dog.check()
    assert reasons == []


def test_close_ends_the_thread() -> None:
    dog = Watchdog(TIMEOUT_S, on_expired=pytest.fail)
    before = set(threading.enumerate())
    dog.begin()
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    dog.close()
    dog.close()
    thread.join(10)
    assert not thread.is_alive()
    dog.begin()
    assert set(threading.enumerate()) <= before


def test_many_threads(clock: Clock) -> None:
    dog = Watchdog(TIMEOUT_S, clock=clock)

    def deliver() -> None:
        for _ in range(500):
            dog.begin()
            dog.check()
            dog.progress()
            dog.end(returned=False)

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    clock.advance(1e6)
    dog.check()
    with pytest.raises(RuntimeError, match="without begin"):
        dog.end(returned=False)


def test_exit_process_says_why(caplog: pytest.LogCaptureFixture) -> None:
    statuses: list[int] = []
    exit_process("nothing arrived", exit_now=statuses.append)
    assert statuses == [1]
    assert [record.getMessage() for record in caplog.records] == [
        "nothing arrived; exiting with status 1"
    ]


def test_exit_process_does_not_wait_for_a_stuck_log(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    written: list[logging.LogRecord] = []

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            release.wait(5)
            written.append(record)

    monkeypatch.setattr(watchdog, "_LINE_WAIT_S", 0.05)
    handler = Stuck()
    statuses: list[int] = []
    LOGGER.addHandler(handler)
    try:
        exit_process("nothing arrived", exit_now=statuses.append)
        assert written == []
    finally:
        release.set()
        LOGGER.removeHandler(handler)
    assert statuses == [1]


HANGING_PROGRAM = """
import atexit, sys, threading
from kinesis_fast import logs
from kinesis_fast.watchdog import Watchdog, exit_process, send_failure_timeout

logs.configure()
logs.to_stderr()
atexit.register(print, "exit handlers ran")
dog = Watchdog(send_failure_timeout(), on_expired=exit_process)
dog.begin()
threading.Event().wait(60)  # a request that never comes back
sys.exit(5)
"""


def test_a_real_process_ends_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_FAILURE_TIMEOUT", "200ms")
    monkeypatch.delenv("FLB_LOG_LEVEL", raising=False)

    done = subprocess.run(
        [sys.executable, "-P", "-c", HANGING_PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.search(
        r"\[error\] \[kinesis:0\] no record was acknowledged for \d+\.\d s while there were "
        r"records to send \(SEND_FAILURE_TIMEOUT is 0\.2 s\); "
        r"exiting with status 1$",
        line,
    )
