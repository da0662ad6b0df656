"""The cost of delivery besides encoding: whole flushes into memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compare_encode import exhaust
from memory_transport import MemoryTransport
from timing import Effort, Series, Spread, interleave
from workloads import BASE_OPTIONS, Workload, captured

from kinesis_fast import FlushResult, KinesisOutput, OutputConfig, RecordEncoder
from kinesis_fast.cli.expectation import first_events


@dataclass(frozen=True)
class MemoryRow:
    """A chunk flushed into memory, and the same chunk only encoded."""

    name: str
    n_bytes: int
    n_requests: int
    flush: Series
    encode: Series

    @property
    def mb_per_s(self) -> Spread:
        """10^6 bytes of msgpack per CPU second of flush."""
        return self.flush.spread.map(lambda cpu_ns: self.n_bytes * 1e3 / cpu_ns)

    @property
    def fixed_us(self) -> Spread:
        """CPU time per request besides the encoding, in µs, round by round."""
        pairs = zip(self.flush.cpu_ns, self.encode.cpu_ns, strict=True)
        return Spread.of([(whole - part) / self.n_requests / 1e3 for whole, part in pairs])


def measure_memory(name: str, chunk: bytes, effort: Effort) -> MemoryRow:
    """Flush a chunk through KinesisOutput into memory, and encode it alone in turn."""
    config = OutputConfig.from_options(BASE_OPTIONS)
    encoder = RecordEncoder(config)
    transport = MemoryTransport()
    with KinesisOutput(config, transport) as output:
        flush(output, chunk)
        n_requests = len(transport.sent)
        expect(sum(transport.sent), encoder.count(chunk), name)
        ways: dict[str, Callable[[], object]] = {
            "flush": lambda: flush(output, chunk),
            "encode": lambda: exhaust(encoder, chunk),
        }
        taken = interleave(ways, effort)
    return MemoryRow(name, len(chunk), n_requests, taken["flush"], taken["encode"])


def measure_all_memory(workloads: Iterable[Workload], effort: Effort) -> list[MemoryRow]:
    """Flush every chunk, and a chunk of one small record, which is fixed cost only."""
    single = first_events(captured("access_0"), 1)
    rows = [measure_memory(workload.name, workload.chunk, effort) for workload in workloads]
    return [measure_memory("one record", single, effort), *rows]


def output_to(url: str, transport: str) -> KinesisOutput:
    """An output that sends to a sink."""
    options = BASE_OPTIONS | {"endpoint": url, "transport": transport}
    return KinesisOutput(OutputConfig.from_options(options))


def flush(output: KinesisOutput, chunk: bytes) -> None:
    """Flush a chunk and check that it was accepted."""
    expect(output.flush(chunk), FlushResult.OK, "flush")


def expect(found: object, wanted: object, where: str) -> None:
    """Raise AssertionError when a result is wrong, so that it is not worth timing."""
    if found != wanted:
        raise AssertionError(f"{where}: {found} instead of {wanted}")
