"""How many functions of Python a request calls, besides what is compiled."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from chunks import output_config
from outputs import numbered
from raw_server import Arrived, RawServer, http
from self_signed import self_signed

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery import leader_followers

MOST_PLAIN, MOST_TLS = 40, 60
N_RECORDS = 500  # of a request
FEW, MANY = 2, 6  # requests of a flush: the difference leaves out what a flush calls once


def accept(arrived: Arrived) -> bytes:
    """Respond as the service does when it accepts every entry."""
    n_entries = arrived.body.count(b'"Data"')
    entries = [{"SequenceNumber": "1" * 56, "ShardId": "shardId-000000000000"}] * n_entries
    response = {"FailedRecordCount": 0, "Records": entries}
    return http(200, json.dumps(response, separators=(",", ":")).encode())


class Profile:
    """Counts the calls of Python functions in this thread and in those of deliveries."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._is_on = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """Count within this block."""
        self.calls.clear()
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Take in an event, as a function of sys.setprofile does."""
        name = threading.current_thread().name
        if self._is_on and event == "call" and not name.startswith("Thread-"):  # a server's
            self.calls[frame.f_code.co_qualname] += 1


@pytest.mark.parametrize(("scheme", "most"), [("http", MOST_PLAIN), ("https", MOST_TLS)])
def test_calls_of_a_request(
    scheme: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_followers, "PATIENCE_S", 60.0)  # no thread takes over
    tls, certificate = self_signed(tmp_path) if scheme == "https" else (None, None)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate or ""))
    profile = Profile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        with RawServer(accept, tls) as server:
            config = output_config(endpoint=server.url, transport="direct")
            with KinesisOutput(config) as output:
                counted = [calls_of_flush(output, profile, n) for n in (1, FEW, MANY)]
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    more = counted[2] - counted[1]
    each = sum(more.values()) / (MANY - FEW)
    assert each <= most, more.most_common()
    assert each > most / 3, "the profile misses most of the calls"


def calls_of_flush(output: KinesisOutput, profile: Profile, n_requests: int) -> Counter[str]:
    """Return what a flush of so many requests calls."""
    chunk = numbered(range(n_requests * N_RECORDS))
    with profile.on():
        assert output.flush(chunk) is FlushResult.OK
    return Counter(profile.calls)
