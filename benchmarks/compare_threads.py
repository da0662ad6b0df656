"""How much more work two threads do than one, by the clock.

Everything is measured with one thread and with two, in turns, each thread doing the same work.
Other load on the machine can only make a sample longer, so the shortest ones are compared.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import baselines
import loopback
from compare_encode import baseline_pass, exhaust
from compare_flush import expect, flush, output_to
from counting_sink import Certificate, CountingSink
from memory_transport import HashingTransport
from workloads import BASE_OPTIONS, captured, events_of

from kinesis_fast import KinesisOutput, OutputConfig, RecordEncoder
from kinesis_fast.cli.expectation import first_events

TARGET = 1.9
N_THREADS = 2
RECORDS, RECORD_BYTES = 2000, 10_000

Work = Callable[[], object]


@dataclass(frozen=True)
class ThreadRow:
    """Seconds for the same work per thread: the shortest with one thread, and with two.

    target: the scaling to reach; own code alone has one.
    """

    name: str
    one_s: float
    two_s: float
    target: float | None

    @property
    def scaling(self) -> float:
        """How many times as much work two threads do."""
        return N_THREADS * self.one_s / self.two_s

    @property
    def missed(self) -> list[str]:
        """The target, in words, when it is not reached."""
        if self.target is None or self.scaling >= self.target:
            return []
        return [f"{self.name} {self.scaling:.2f}x with 2 threads (target {self.target:g}x)"]


def measure(rounds: int) -> list[ThreadRow]:
    """Measure everything; HTTPS only where counting_sink.tls_obstacle() is None."""
    with loopback.applied() as certificates, ExitStack() as opened:
        own = _own_works(opened)
        plain = baseline_pass(captured("access_0"), baselines.baselines()["json"], None)
        works = own | {"msgpack + json, 200 B": plain} | _sending_works(opened, certificates)
        return [
            ThreadRow(name, one_s, two_s, TARGET if name in own else None)
            for name, (one_s, two_s) in _interleave(works, rounds).items()
        ]


def _own_works(opened: ExitStack) -> dict[str, Work]:
    """Own code and SHA-256 only; one request a flush, because several would use both cores."""
    chunk = events_of(RECORDS, RECORD_BYTES)
    access = captured("access_0")
    small, large = first_events(access, 500), events_of(500, RECORD_BYTES)
    config = OutputConfig.from_options(BASE_OPTIONS)
    encoder = RecordEncoder(config)
    output = opened.enter_context(KinesisOutput(config, HashingTransport()))
    return {
        "encode, 200 B": _repeated(lambda: exhaust(encoder, access), 10),
        "encode, 10 KB": _repeated(lambda: exhaust(encoder, chunk), 8),
        "flush into SHA-256, 200 B": _repeated(lambda: flush(output, small), 100),
        "flush into SHA-256, 10 KB": _repeated(lambda: flush(output, large), 6),
    }


def _sending_works(
    opened: ExitStack, certificates: Sequence[Certificate | None]
) -> dict[str, Work]:
    """Flushes into a sink, which takes CPU time of the same machine."""
    chunk = events_of(RECORDS, RECORD_BYTES)
    works: dict[str, Work] = {}
    for tls in certificates:
        sink = opened.enter_context(CountingSink(tls))
        scheme = "https" if tls else "http"
        for transport in ("direct", "botocore"):
            output = opened.enter_context(output_to(sink.url, transport))
            works[f"flush into the sink, {scheme}, {transport}"] = _flushing(output, sink, chunk)
    return works


def _flushing(output: KinesisOutput, sink: CountingSink, chunk: bytes) -> Work:
    before = sink.totals().records
    flush(output, chunk)
    expect(sink.totals().records - before, RECORDS, "records in the sink")
    return lambda: flush(output, chunk)


def _repeated(work: Work, n_times: int) -> Work:
    def run() -> None:
        for _ in range(n_times):
            work()

    return run


def _interleave(works: Mapping[str, Work], rounds: int) -> dict[str, tuple[float, float]]:
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            samples[name].append((_seconds(work, 1), _seconds(work, N_THREADS)))
    return {
        name: (min(one for one, _ in taken), min(two for _, two in taken))
        for name, taken in samples.items()
    }


def _seconds(work: Work, n_threads: int) -> float:
    """Seconds until all threads have done the work; raises the first error of a thread."""
    errors: list[BaseException] = []

    def run() -> None:
        gate.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    gate = threading.Barrier(n_threads + 1)
    threads = [threading.Thread(target=run) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    gate.wait()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - start
