"""Chunk to finished PutRecords bodies: `encoder.requests(chunk)` against plain Python."""

import base64
import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import baselines
from timing import Effort, Series, Spread, interleave, ratio
from workloads import BASE_OPTIONS, SHA256, STREAM, Shape, Workload

from kinesis_fast import OutputConfig, RecordEncoder

OURS = "kinesis_fast"
MEMCPY = "memcpy"
RANDOM_KEY = re.compile(r"[A-Za-z0-9]{8}")


class WrongResultError(AssertionError):
    """The contenders make different records of a chunk, so timing them is pointless."""


@dataclass(frozen=True)
class EncodeResult:
    """What was measured for one chunk with one set of options."""

    workload: Workload
    options: str
    n_records: int
    series: dict[str, Series]

    @property
    def targets(self) -> Mapping[str, float]:
        """The ratios to reach, by contender; only plain records have some."""
        wanted = self.workload.targets if self.options == "plain" else {}
        return {name: ratio for name, ratio in wanted.items() if name in self.series}

    @property
    def missed(self) -> list[str]:
        """The targets that the median ratio does not reach, in words."""
        return [
            f"{self.workload.name} {self.ratio_to(name).median:.1f}x {name} (target {wanted:g}x)"
            for name, wanted in self.targets.items()
            if self.ratio_to(name).median < wanted
        ]

    def ratio_to(self, baseline: str) -> Spread:
        """How many times as fast as another contender the encoder is."""
        return ratio(self.series[baseline], self.series[OURS])

    def mb_per_s(self, contender: str) -> Spread:
        """10^6 bytes of msgpack per CPU second."""
        n_bytes = len(self.workload.chunk)
        return self.series[contender].spread.map(lambda cpu_ns: n_bytes * 1e3 / cpu_ns)

    def ns_per_record(self, contender: str) -> Spread:
        """CPU time for one record in ns."""
        return self.series[contender].spread.map(lambda cpu_ns: cpu_ns / self.n_records)


def measure(workload: Workload, *, shaped: bool, effort: Effort) -> EncodeResult:
    """Check that all contenders make the same records of a chunk, then time them.

    Raises WrongResultError when they do not.
    """
    shape = workload.shape if shaped else None
    chunk = workload.chunk
    encoder = RecordEncoder(
        OutputConfig.from_options(BASE_OPTIONS | (shape.options() if shape else {}))
    )
    bodies, copy = list(copied_bodies(encoder, chunk)), memoryview(bytearray(len(chunk)))

    def memcpy() -> None:
        copy[:] = chunk

    n_records = check(workload, encoder, shape)
    contenders: dict[str, Callable[[], object]] = {OURS: lambda: exhaust(encoder, chunk)}
    for name, baseline in baselines.baselines().items():
        contenders[name] = baseline_pass(chunk, baseline, shape)
    contenders[SHA256] = lambda: [hashlib.sha256(body).digest() for body in bodies]
    contenders[MEMCPY] = memcpy
    label = "shaped" if shaped else "plain"
    return EncodeResult(workload, label, n_records, interleave(contenders, effort))


def exhaust(encoder: RecordEncoder, chunk: bytes) -> None:
    """Make every request of a chunk and give its memory back."""
    for request in encoder.requests(chunk):
        request.release()


def baseline_pass(
    chunk: bytes, baseline: baselines.Baseline, shape: Shape | None
) -> Callable[[], object]:
    """A function that makes every request body of a chunk in plain Python."""
    return lambda: deque(baselines.bodies(chunk, baseline, shape), maxlen=0)


def check(workload: Workload, encoder: RecordEncoder, shape: Shape | None) -> int:
    """Compare the records of a chunk with those of plain Python; return their number.

    Raises WrongResultError when they differ.
    """
    ours = list(_entries(copied_bodies(encoder, workload.chunk)))
    for name, baseline in baselines.baselines().items():
        theirs = list(_entries(baselines.bodies(workload.chunk, baseline, shape)))
        what = f"{workload.name}: {OURS} and {name}"
        if len(ours) != len(theirs):
            raise WrongResultError(f"{what} make {len(ours)} and {len(theirs)} records")
        for number, (our_entry, their_entry) in enumerate(zip(ours, theirs, strict=True)):
            if not _agree(our_entry, their_entry, shape):
                raise WrongResultError(
                    f"{what} differ in record {number}: {our_entry} / {their_entry}"
                )
    return len(ours)


def copied_bodies(encoder: RecordEncoder, chunk: bytes) -> Iterator[bytes]:
    """Yield a copy of the body of every request of a chunk."""
    for request in encoder.requests(chunk):
        with request.body as view:
            body = bytes(view)
        request.release()
        yield body


def _entries(bodies: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    for body in bodies:
        request = json.loads(body)
        if request["StreamName"] != STREAM:
            raise WrongResultError(f"a request is for the stream {request['StreamName']!r}")
        n_bytes = 0
        for entry in request["Records"]:
            data, key = base64.b64decode(entry["Data"], validate=True), entry["PartitionKey"]
            n_bytes += len(data) + len(key.encode())
            yield data, key
        if len(request["Records"]) > baselines.MAX_REQUEST_RECORDS or (
            n_bytes > baselines.MAX_REQUEST_BYTES
        ):
            raise WrongResultError(f"a request of {len(request['Records'])} records, {n_bytes} B")


def _agree(ours: tuple[bytes, str], theirs: tuple[bytes, str], shape: Shape | None) -> bool:
    if json.loads(ours[0]) != json.loads(theirs[0]):
        return False
    if shape is None:
        return bool(RANDOM_KEY.fullmatch(ours[1])) and not ours[0].endswith(b"\n")
    return ours[1] == theirs[1] and ours[0].endswith(b"\n")
