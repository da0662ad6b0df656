"""Which thread begins the next job: the leader, or the follower that watches it."""

import random
import sys
import threading
import time
from collections.abc import Callable

import pytest
from outputs import PATIENCE_S

from kinesis_fast.delivery import leader_followers, thread_pool
from kinesis_fast.delivery.leader_followers import LeaderFollowers


class Jobs:
    """Jobs for several threads, which begin them as a delivery does.

    Args:
        n_jobs: their number.
        max_workers: threads at most.
        job: what each of them does.
    """

    def __init__(self, n_jobs: int, max_workers: int, job: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._workers = LeaderFollowers(self._lock, max_workers)
        self._n_left = n_jobs
        self._job = job
        self.begun: list[int] = []
        self.n_at_work = self.most_at_work = self.n_started = 0

    def run(self) -> None:
        self._work()
        with self._lock:
            self._workers.wait_for_all()

    def _work(self) -> None:
        with self._lock:
            assert self._workers.join()
        while (has_to_start := self._begin()) is not None:
            if has_to_start:
                threading.Thread(target=self._help).start()
            self._job()
            with self._lock:
                self.n_at_work -= 1
        with self._lock:
            self._workers.leave()

    def _help(self) -> None:
        with self._lock:
            self._workers.start_up()
        self._work()

    def _begin(self) -> bool | None:
        """Return whether a new thread has to start as well; None when no job is left."""
        with self._lock:
            self._workers.resign()
            while self._n_left:
                wait_s = self._workers.s_until_lead()
                if wait_s == 0:
                    self._workers.lead()
                    self._n_left -= 1
                    self.begun.append(threading.get_ident())
                    self.n_at_work += 1
                    self.most_at_work = max(self.most_at_work, self.n_at_work)
                    has_to_start = self._n_left > 0 and self._workers.want_watcher()
                    self.n_started += has_to_start
                    return has_to_start
                self._workers.follow(wait_s)
            return None


def test_quick_jobs_stay_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_followers, "PATIENCE_S", PATIENCE_S)
    jobs = Jobs(200, 5, lambda: None)
    jobs.run()
    assert jobs.begun == [threading.get_ident()] * 200
    assert jobs.n_started == 1  # the watcher


@pytest.mark.parametrize("max_workers", [1, 2, 5])
def test_slow_jobs_overlap(max_workers: int) -> None:
    together = threading.Barrier(max_workers)
    jobs = Jobs(4 * max_workers, max_workers, lambda: together.wait(PATIENCE_S))
    jobs.run()
    assert jobs.most_at_work == max_workers
    assert len(set(jobs.begun)) == max_workers


@pytest.mark.parametrize("seed", range(8))
def test_all_jobs_are_done_however_long_each_takes(seed: int) -> None:
    rng = random.Random(seed)
    jobs = Jobs(100, 4, lambda: time.sleep(rng.choice([0.0, 0.0, 0.0005, 0.002, 0.004])))
    jobs.run()
    assert len(jobs.begun) == 100
    assert jobs.n_at_work == 0
    assert jobs.most_at_work <= 4
    assert jobs.n_started <= 3


def test_a_thread_that_could_not_start_is_not_waited_for() -> None:
    lock = threading.Lock()
    workers = LeaderFollowers(lock, 2)
    with lock:
        assert workers.join()
        workers.lead()
        assert workers.want_watcher()
        assert not workers.want_watcher()  # one is about to start
        workers.start_up()
        assert workers.want_watcher()
        workers.wait_for_all()
        assert not workers.join()


def test_a_thread_that_died_without_leaving_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leader_followers, "LOOK_S", 0.01)
    lock = threading.Lock()
    workers = LeaderFollowers(lock, 2)
    thread = threading.Thread(target=workers.join)
    thread.start()
    thread.join()
    with lock:
        workers.wait_for_all()


def test_a_follower_that_is_never_woken_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that was to wake it may have died."""
    monkeypatch.setattr(leader_followers, "LOOK_S", 0.001)
    lock = threading.Lock()
    workers = LeaderFollowers(lock, 2)
    with lock:
        workers.join()
        workers.follow(None)
        assert workers.want_watcher()  # it does not count as one that waits


def test_a_thread_that_only_looks_dead_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to Python 3.12 a signal handler that raises in Thread.is_alive() makes it look so."""
    lock = threading.Lock()
    workers = LeaderFollowers(lock, 2)
    has_joined, may_leave = threading.Event(), threading.Event()
    has_left = False

    def work() -> None:
        nonlocal has_left
        with lock:
            assert workers.join()
        has_joined.set()
        may_leave.wait(PATIENCE_S)
        with lock:
            has_left = True
            workers.leave()

    def look(thread: threading.Thread) -> bool:
        is_alive = thread_pool.is_alive(thread)
        may_leave.set()
        return is_alive

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert has_joined.wait(PATIENCE_S)
    monkeypatch.setattr(leader_followers, "LOOK_S", 0.001)
    monkeypatch.setattr(leader_followers, "is_alive", look, raising=False)
    monkeypatch.setattr(threading.Thread, "is_alive", lambda _: sys.version_info >= (3, 13))
    with lock:
        workers.wait_for_all()
        assert has_left
