"""What metrics cost a request: a few calls, and without the options none at all."""

import sys
import threading
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from fake_transport import FakeTransport
from outputs import new_output, numbered
from scraping import free_port, scrape

from kinesis_fast import FlushResult
from kinesis_fast.delivery import leader_followers

MOST = 5  # functions of Python that metrics add to a request


class Profile:
    """Counts the calls of Python functions in the threads of deliveries and in this one."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Take in an event, as a function of sys.setprofile does."""
        if event == "call" and threading.current_thread().name != "kinesis-fast-metrics":
            self.calls[frame.f_code.co_filename.rpartition("/kinesis_fast/")[2]] += 1


def calls_of_metrics(n_requests: int, **options: str) -> int:
    """Return how many functions of metrics a flush of so many requests calls."""
    with new_output(FakeTransport(), **options) as output:
        profile = Profile()
        sys.setprofile(profile)
        try:
            assert output.flush(numbered(range(500 * n_requests))) is FlushResult.OK
        finally:
            sys.setprofile(None)
        if "metrics_listen" in options:
            assert scrape(int(options["metrics_listen"])).status == 200
    return sum(n for name, n in profile.calls.items() if name.startswith("metrics/"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no other thread take over."""
    monkeypatch.setattr(leader_followers, "PATIENCE_S", 60.0)


def test_without_metrics_nothing_is_called() -> None:
    assert calls_of_metrics(3) == calls_of_metrics(3, stats_interval="3600") == 0


def test_calls_of_a_request() -> None:
    port = str(free_port())
    few, many = (calls_of_metrics(n, metrics_listen=port) for n in (2, 6))
    assert 1 <= (many - few) / 4 <= MOST
