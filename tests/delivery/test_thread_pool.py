"""Threads that run the tasks of deliveries."""

import gc
import inspect
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from threading import Event
from types import FrameType
from typing import Any

import pytest
from outputs import PATIENCE_S, eventually

from kinesis_fast.delivery.thread_pool import Task, ThreadPool
from kinesis_fast.logs import LOGGER
from kinesis_fast.transport import secrets


def test_an_idle_thread_holds_nothing_of_its_last_task() -> None:
    class Held:
        pass

    threads, done, held = ThreadPool("kinesis-fast-test", LOGGER), threading.Event(), Held()
    alive = weakref.ref(held)

    def task(held: Held | None = held) -> None:
        done.set()

    threads.run(task)
    assert done.wait(PATIENCE_S)
    del task, held
    eventually(lambda: gc.collect() >= 0 and alive() is None)
    threads.close()


def test_an_idle_thread_takes_the_next_task() -> None:
    pool, idents = ThreadPool("kinesis-fast-test", LOGGER), list[int]()

    def task() -> None:
        idents.append(threading.get_ident())

    for _ in range(3):
        n_done = len(idents)
        pool.run(task)
        eventually(partial(is_idle, pool, idents, n_done + 1))
    assert len(set(idents)) == 1
    pool.close()


def is_idle(pool: ThreadPool, idents: list[int], n_done: int) -> bool:
    return len(idents) == n_done and not pool._running


def test_tasks_do_not_wait_for_each_other() -> None:
    pool, together = ThreadPool("kinesis-fast-test", LOGGER), threading.Barrier(3)

    def task() -> None:
        together.wait(PATIENCE_S)

    for _ in range(2):
        pool.run(task)
    together.wait(PATIENCE_S)
    pool.close()


def test_a_task_that_raises_goes_on_in_another_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(secrets, "_lasting", ["a/secret+key"])
    pool, threads = ThreadPool("kinesis-fast-test", LOGGER), list[threading.Thread]()

    def task() -> None:
        threads.append(threading.current_thread())
        if len(threads) == 1:
            raise SystemExit("a/secret+key")

    pool.run(task)
    eventually(lambda: len(threads) == 2 and not pool._running)
    assert threads[0] is not threads[1]
    assert "unexpected failure: SystemExit('***'); what was begun goes on" in caplog.messages
    pool.close()


def test_the_task_of_a_thread_that_died_is_revived() -> None:
    """As a thread dies that gets no memory: it runs nothing of ours any more."""
    pool, done = ThreadPool("kinesis-fast-test", LOGGER), threading.Event()
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    pool._running[dead] = done.set
    pool.revive()
    assert done.wait(PATIENCE_S)
    pool.close()


def test_a_task_runs_once_if_the_start_of_its_thread_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread has started nevertheless, and takes the next task."""
    pool, done, may_end = ThreadPool("kinesis-fast-test", LOGGER), list[int](), threading.Event()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise MemoryError

    def task(number: int) -> None:
        done.append(number)
        assert may_end.wait(PATIENCE_S)

    pool.run(partial(task, 1))
    eventually(lambda: done)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(MemoryError):
            pool.run(partial(task, 2))
        patch.setattr(threading.Thread, "start", lambda _: None)  # no further thread is needed
        pool.run(partial(task, 3))
    eventually(lambda: len(done) == len(pool._running) == 2)
    pool.revive()
    may_end.set()
    eventually(lambda: not pool._running)
    assert done == [1, 3]
    pool.close()


def test_a_task_runs_once_if_a_thread_is_interrupted_while_it_takes_it() -> None:
    class Tasks(deque[Task]):
        is_sound = False

        def popleft(self) -> Task:
            if self.is_sound:
                return super().popleft()
            self.is_sound = True
            raise MemoryError

    pool, done = ThreadPool("kinesis-fast-test", LOGGER), list[int]()
    pool._tasks = Tasks()
    pool.run(lambda: done.append(1))
    eventually(lambda: done and not pool._running)
    pool.close()
    eventually(lambda: not pool._threads)
    assert done == [1]


def test_a_task_runs_if_its_thread_has_no_memory_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """No later call of the pool is needed, so the last chunk of an idle host is sent, too."""
    pool, done = ThreadPool("kinesis-fast-test", LOGGER), threading.Event()
    real, n_calls = threading.current_thread, 0

    def current_thread() -> threading.Thread:
        nonlocal n_calls
        n_calls += real().name == "kinesis-fast-test"
        if n_calls == 1:
            raise MemoryError
        return real()

    monkeypatch.setattr(threading, "current_thread", current_thread)
    pool.run(done.set)
    assert done.wait(PATIENCE_S)
    pool.close()


def test_a_task_without_a_thread_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool, done = ThreadPool("kinesis-fast-test", LOGGER), list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            pool.run(lambda: done.append(1))
    pool.run(lambda: done.append(2))
    eventually(lambda: done == [2])
    pool.close()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="is_alive() is one step there")
def test_a_signal_handler_that_raises_does_not_make_a_thread_look_dead() -> None:
    """Otherwise another thread runs the same task at the same time."""
    pool, begun, may_end = ThreadPool("kinesis-fast-test", LOGGER), Event(), Event()

    def task() -> None:
        begun.set()
        may_end.wait(PATIENCE_S)

    def raise_in_the_look(frame: FrameType, event: str, _: object) -> Any:
        lines, first = inspect.getsourcelines(frame.f_code)
        if frame.f_code.co_name == "_wait_for_tstate_lock":
            if event == "line" and "acquire(" in lines[frame.f_lineno - first]:
                raise KeyboardInterrupt
            return raise_in_the_look
        return None

    pool.run(task)
    assert begun.wait(PATIENCE_S)
    (thread,) = pool._running
    try:
        sys.settrace(raise_in_the_look)
        with suppress(KeyboardInterrupt):
            pool.revive()
    finally:
        sys.settrace(None)
    pool.revive()
    assert list(pool._running) == [thread]
    may_end.set()
    pool.close()
