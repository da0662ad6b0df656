"""After a flush no request keeps its memory, and the chunk is released, whatever happened."""

import gc
from collections.abc import Callable, Iterator, Sequence

import pytest
from chunks import output_config
from fake_transport import FakeTime, FakeTransport, accept, error, fail, raise_it
from outputs import assert_stats, numbered

from kinesis_fast import FlushResult, KinesisOutput, OutputConfig, RecordEncoder
from kinesis_fast._core.request_stream import RequestStream
from kinesis_fast._core.tally import Packing, Tally
from kinesis_fast.delivery.protocols import Chunk, Request
from kinesis_fast.transport import Response


class CountedRequest:
    """A request that reports when it is made and when its memory is released."""

    def __init__(self, request: Request, account: "Encoder") -> None:
        self._request = request
        self._account = account
        account.n_requests += 1
        self._number = account.n_requests
        account.unreleased.add(self._number)

    @property
    def n_records(self) -> int:
        return self._request.n_records

    @property
    def n_entries(self) -> int:
        return self._request.n_entries

    @property
    def n_bytes(self) -> int:
        return self._request.n_bytes

    @property
    def body(self) -> memoryview:
        return self._request.body

    @property
    def lane(self) -> int:
        return self._request.lane

    @property
    def is_cbor(self) -> bool:
        return self._request.is_cbor

    def n_bytes_of(self, index: int, /) -> int:
        return self._request.n_bytes_of(index)

    def events_of(self, index: int, /) -> list[tuple[int, int]]:
        return self._request.events_of(index)

    def mark_events(self, bits: bytearray, kept: Sequence[int], /) -> tuple[int, int]:
        return self._request.mark_events(bits, kept)

    def retain(self, indexes: Sequence[int], /) -> None:
        self._account.call("retain")
        self._request.retain(indexes)

    def renew_random_keys(self) -> None:
        self._request.renew_random_keys()

    def subset(self, indexes: Sequence[int], /) -> "CountedRequest":
        self._account.call("subset")
        return CountedRequest(self._request.subset(indexes), self._account)

    def as_json(self) -> "CountedRequest":
        self._account.call("as_json")
        return CountedRequest(self._request.as_json(), self._account)

    def release(self) -> None:
        self._request.release()
        self._account.unreleased.discard(self._number)


class CountedStream:
    """A stream of counted requests that can fail."""

    def __init__(self, stream: RequestStream, account: "Encoder") -> None:
        self._stream = stream
        self._account = account

    @property
    def n_lanes(self) -> int:
        return self._stream.n_lanes

    @property
    def n_events(self) -> int:
        return self._stream.n_events

    @property
    def is_exhausted(self) -> bool:
        return self._stream.is_exhausted

    def take(self, max_open: int, /) -> CountedRequest | None:
        self._account.call("take")
        request = self._stream.take(max_open)
        return CountedRequest(request, self._account) if request is not None else None

    def __iter__(self) -> "Iterator[CountedRequest]":
        return (CountedRequest(request, self._account) for request in self._stream)

    def take_skipped(self) -> list[tuple[str, int, int, int]]:
        return self._stream.take_skipped()

    def mark_skipped(self, bits: bytearray, /) -> None:
        self._stream.mark_skipped(bits)

    def take_tally(self) -> Tally:
        return self._stream.take_tally()

    def take_packing(self) -> Packing:
        return self._stream.take_packing()

    def close(self) -> None:
        self._stream.close()


class Encoder:
    """The real encoder, whose methods fail at the nth call as `fail_at` says."""

    def __init__(self, config: OutputConfig) -> None:
        self._encoder = RecordEncoder(config)
        self.n_requests = 0
        self.unreleased: set[int] = set()
        self.fail_at: dict[str, int] = {}

    def call(self, method: str) -> None:
        left = self.fail_at.get(method)
        if left is not None:
            self.fail_at[method] = left - 1
            if left == 1:
                raise MemoryError(f"no memory in {method}")

    def requests(
        self,
        chunk: Chunk,
        /,
        *,
        max_lanes: int,
        settled: bytes | None,
        keep_skipped: bool,
        alone: bool = False,
        as_cbor: bool = False,
    ) -> CountedStream:
        self.call("requests")
        stream = self._encoder.requests(
            chunk, max_lanes=max_lanes, settled=settled, alone=alone, as_cbor=as_cbor
        )
        return CountedStream(stream, self)

    def count(self, chunk: Chunk, /, settled: bytes | None = None) -> int:
        self.call("count")
        return self._encoder.count(chunk, settled)

    def span(self, chunk: Chunk, start: int, /) -> tuple[int, int]:
        return self._encoder.span(chunk, start)


def new_output(
    transport: FakeTransport, fail_at: dict[str, int] | None = None, **options: str
) -> tuple[KinesisOutput, Encoder]:
    config = output_config({"max_in_flight": "1", **options})
    encoder = Encoder(config)
    encoder.fail_at = fail_at or {}
    output = KinesisOutput(
        config,
        transport,
        make_encoder=lambda _: encoder,
        timing=FakeTime(chance=0.0).timing(),
    )
    return output, encoder


@pytest.mark.parametrize(
    "transport",
    [
        FakeTransport,
        lambda: FakeTransport(fail(1), fail(0)),
        lambda: FakeTransport(accept, then=fail(0)),
        lambda: FakeTransport(then=raise_it(TimeoutError())),
        lambda: FakeTransport(then=error(400, "AccessDeniedException")),
        lambda: FakeTransport(error(400, "ValidationException")),
    ],
)
def test_a_flush_releases_everything(transport: Callable[[], FakeTransport]) -> None:
    output, encoder = new_output(transport())
    gc.disable()
    try:
        chunk = bytearray(numbered(range(1200)))
        output.flush(chunk)
        chunk.append(0)  # BufferError while a view of it exists
        assert encoder.unreleased == set()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("fail_at", "delivered"),
    [
        ({"requests": 1}, {0}),
        ({"take": 1}, {0}),
        ({"take": 2}, {0, 500}),  # the second request is written while the first is sent
        ({"retain": 1}, {999}),
        ({"take": 2, "count": 1}, {0, 500}),
    ],
)
def test_out_of_memory(fail_at: dict[str, int], delivered: set[int]) -> None:
    output, encoder = new_output(FakeTransport(accept, fail(1)), dict(fail_at))
    chunk = bytearray(numbered(range(1200)))
    with pytest.raises(MemoryError) as caught:
        output.flush(chunk)
    assert "no memory in" in str(caught.value)
    assert_stats(output, pending=0, dead=0)
    n_delivered = output.stats()["delivered"]
    assert n_delivered in delivered
    if "requests" in fail_at:
        assert output.stats()["in"] == 0
    elif "count" not in fail_at:
        assert_stats(output, in_=1200, returned=1200 - n_delivered)
    assert encoder.unreleased == set()
    chunk.append(0)


def test_an_interrupted_flush_keeps_the_account() -> None:
    output, encoder = new_output(FakeTransport(accept, raise_it(KeyboardInterrupt())))
    chunk = bytearray(numbered(range(1200)))
    with pytest.raises(KeyboardInterrupt):
        output.flush(chunk)
    assert_stats(output, in_=1200, delivered=500, returned=700)
    assert encoder.unreleased == set()
    chunk.append(0)
    assert output.flush(bytes(chunk[:-1])) is FlushResult.OK


@pytest.mark.parametrize("fail_at", [{"requests": 1}, {"take": 1}, {"retain": 1}, {"count": 2}])
def test_out_of_memory_in_the_background(fail_at: dict[str, int]) -> None:
    output, encoder = new_output(
        FakeTransport(accept, fail(1)), dict(fail_at), experimental_concurrency="1"
    )
    chunk = bytearray(numbered(range(1200)))
    assert output.flush(chunk) is FlushResult.OK
    chunk.append(0)
    output.close()
    assert_stats(output, in_=1200, delivered=1200, dead=0)
    assert encoder.unreleased == set()


def test_records_that_are_given_up_or_left_release_their_memory() -> None:
    denied = error(400, "AccessDeniedException")
    for retries in ("0", "4"):
        output, encoder = new_output(
            FakeTransport(accept, then=denied),
            experimental_concurrency="1",
            experimental_concurrency_retries=retries,
        )
        output.flush(numbered(range(1200)))
        output.close()
        assert_stats(output, in_=1200, delivered=500)
        assert encoder.unreleased == set()


def test_a_transport_that_keeps_the_body_keeps_only_its_memory() -> None:
    views: list[memoryview] = []

    class Keeper(FakeTransport):
        def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
            views.append(memoryview(body))
            return super().send(body, n_records, timeout_s)

    transport = Keeper(fail(0))
    output, encoder = new_output(transport)
    assert output.flush(numbered(range(600))) is FlushResult.OK
    assert_stats(output, delivered=600)
    assert bytes(views[0][:12]) == b'{"Records":['
    assert len(encoder.unreleased) == 3
