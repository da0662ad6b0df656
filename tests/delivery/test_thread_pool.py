"""Threads that run the tasks of deliveries."""

import gc
import threading
import weakref

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
    for n_tasks in range(1, 4):
        pool.run(lambda: idents.append(threading.get_ident()))
        eventually(lambda n=n_tasks: len(idents) == n and pool._n_idle == 1)
    assert len(set(idents)) == 1
    pool.close()


def test_a_task_does_not_wait_for_another() -> None:
    pool, together = ThreadPool("kinesis-fast-test"), threading.Barrier(3)
    for _ in range(2):
        pool.run(lambda: together.wait(PATIENCE_S) and None)
    together.wait(PATIENCE_S)
    pool.close()
