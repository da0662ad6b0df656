"""Threads that run the tasks of deliveries."""

import gc
import threading
import weakref
from functools import partial

from outputs import PATIENCE_S, eventually

from kinesis_fast.delivery.thread_pool import ThreadPool


def test_an_idle_thread_holds_nothing_of_its_last_task() -> None:
    class Held:
        pass

    threads, done, held = ThreadPool("kinesis-fast-test"), threading.Event(), Held()
    alive = weakref.ref(held)

    def task(held: Held | None = held) -> None:
        done.set()

    threads.run(task)
    assert done.wait(PATIENCE_S)
    del task, held
    eventually(lambda: gc.collect() >= 0 and alive() is None)
    threads.close()


def test_an_idle_thread_takes_the_next_task() -> None:
    pool, idents = ThreadPool("kinesis-fast-test"), list[int]()

    def task() -> None:
        idents.append(threading.get_ident())

    for _ in range(3):
        n_done = len(idents)
        pool.run(task)
        eventually(partial(is_idle, pool, idents, n_done + 1))
    assert len(set(idents)) == 1
    pool.close()


def is_idle(pool: ThreadPool, idents: list[int], n_done: int) -> bool:
    return len(idents) == n_done and pool._n_idle == 1


def test_tasks_do_not_wait_for_each_other() -> None:
    pool, together = ThreadPool("kinesis-fast-test"), threading.Barrier(3)

    def task() -> None:
        together.wait(PATIENCE_S)

    for _ in range(2):
        pool.run(task)
    together.wait(PATIENCE_S)
    pool.close()
