"""Several threads share one encoder, one request or one stream."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable

import pytest
from chunks import event, load_chunk, output_config
from encoded import requests_of

from kinesis_fast import RecordEncoder
from kinesis_fast._core.request import Request
from kinesis_fast._core.request_stream import RequestStream

CHUNK = b"".join(event({"i": i}) for i in range(1200))


def run_in_threads(n_threads: int, work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads)


def test_many_threads_share_one_encoder() -> None:
    shared = RecordEncoder(output_config({"partition_key": "pk", "time_key": "t"}))
    chunks = [load_chunk(name) for name in ("fwd_weird_0", "dummy_0", "access_1", "x_otel_0")]
    with_keys = [b"".join(event({"pk": f"{i}", "n": i}) for i in range(n)) for n in (700, 1500)]
    expected = [[bytes(r.body) for r in shared.requests(chunk)] for chunk in with_keys]
    counts = [sum(r.n_records for r in shared.requests(chunk)) for chunk in chunks]

    def work(number: int) -> None:
        for i in range(30):
            at = (number + i) % 2
            found = [bytes(request.body) for request in shared.requests(with_keys[at])]
            assert found == expected[at]
            at = (number + i) % len(chunks)
            assert sum(r.n_records for r in shared.requests(chunks[at])) == counts[at]

    run_in_threads(6, work)


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd", "snappy"])
@pytest.mark.parametrize("aggregation", ["aggregation", "simple_aggregation"])
def test_threads_share_an_encoder_that_aggregates_and_compresses(
    aggregation: str, codec: str
) -> None:
    """Its aggregators and compressors are kept and change hands, also of streams closed early."""
    options = {aggregation: "true", "compression": codec, "partition_key": "pk"}
    core = RecordEncoder(output_config(options))._core
    chunks = [b"".join(event({"pk": f"{i % 90}", "n": i}) for i in range(n)) for n in (300, 1500)]

    def bodies(chunk: bytes) -> list[bytes]:
        return [bytes(request.body) for request in core.requests(chunk, now_ns=0, seed=3)]

    expected = [bodies(chunk) for chunk in chunks]

    def work(number: int) -> None:
        for i in range(6):
            at = (number + i) % 2
            stream = core.requests(chunks[at], now_ns=0, seed=3)
            if i % 3 == 0:
                assert stream.count_rest() == (300, 1500)[at]
            assert bodies(chunks[at]) == expected[at]

    run_in_threads(3, work)


def test_requests_are_released_in_other_threads() -> None:
    shared = RecordEncoder(output_config())
    queues: list[list[Request]] = [[] for _ in range(4)]

    def work(number: int) -> None:
        for i in range(60):
            for request in shared.requests(CHUNK):
                part = request.subset([0, request.n_records - 1])
                assert part.n_records == 2
                queues[(number + i) % 4].append(request)
            while queues[number]:
                other = queues[number].pop()
                assert len(json.loads(bytes(other.body))["Records"]) == other.n_records
                other.release()

    run_in_threads(4, work)


def test_one_stream_in_several_threads_loses_nothing() -> None:
    """A call during another call is refused and does not disturb it."""
    stream = requests_of(CHUNK * 40, output_config())
    n_records: list[int] = []

    def work(_: int) -> None:
        while True:
            try:
                n_records.append(next(stream).n_records)
            except RuntimeError:
                continue
            except StopIteration:
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        run_in_threads(4, work)
    finally:
        sys.setswitchinterval(interval)

    assert sum(n_records) == 48_000


def test_several_threads_set_bits_in_the_same_bytes() -> None:
    """Without a GIL, the bits move to new memory while another thread sets some."""
    for _ in range(5):
        stream = requests_of(CHUNK * 20, output_config())
        requests = list(stream)
        bits = bytearray()

        def work(
            number: int,
            requests: list[Request] = requests,
            bits: bytearray = bits,
            stream: RequestStream = stream,
        ) -> None:
            for request in requests[number::4]:
                request.mark_events(bits)
            if number == 0:
                stream.mark_skipped(bits)

        run_in_threads(4, work)
        assert int.from_bytes(bits, "little").bit_count() == 24_000


def test_a_request_is_read_while_another_thread_changes_it() -> None:
    """Every reader sees the request before or after a change, or hears that it is released."""
    requests = list(requests_of(CHUNK * 20, output_config()))
    readers: list[Callable[[Request], object]] = [
        lambda request: json.loads(request.entry(request.n_records - 1)),
        lambda request: json.loads(bytes(request.subset(range(request.n_records)).body)),
        lambda request: (
            request.events_of(0)[0][0],
            request.events_of(0)[0][1],
            request.n_bytes_of(0),
        ),
        lambda request: (len(request), repr(request), request.mark_events(bytearray())),
    ]

    def work(number: int) -> None:
        for request in requests:
            try:
                if number == len(readers):
                    request.renew_random_keys()
                    request.retain(range(0, request.n_records, 2))
                    request.release()
                for _ in range(20):
                    readers[number % len(readers)](request)
            except (ValueError, IndexError, BufferError):
                continue  # released or reduced in between, or a view was in use

    run_in_threads(len(readers) + 1, work)
    for request in requests:
        request.release()
        assert request.n_records == 0
