"""The lifetime of a stream and its requests: memory, buffers, subsets."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from chunks import event, output_config

from kinesis_fast import RecordEncoder
from kinesis_fast._core.request import Request

CHUNK = b"".join(event({"i": i}) for i in range(1200))
PAGE = 4096


def encoder() -> RecordEncoder:
    return RecordEncoder(output_config())


def first_request(chunk: Any = CHUNK) -> Request:
    return next(encoder().requests(chunk))


def parsed(request: Request) -> list[Any]:
    records = json.loads(bytes(request.body))["Records"]
    assert isinstance(records, list)
    return records


# --- subset -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "indexes", [[0], [499], [3, 1, 2], list(range(500)), list(range(0, 500, 7)), [5, 5]]
)
def test_a_subset_has_only_the_chosen_entries_in_the_given_order(indexes: list[int]) -> None:
    request = first_request()
    whole = parsed(request)

    part = request.subset(indexes)

    assert parsed(part) == [whole[i] for i in indexes]
    assert part.n_records == len(indexes)
    assert part.n_bytes == sum(request.n_bytes_of(i) for i in indexes)
    for i, index in enumerate(indexes):
        assert part.entry(i) == request.entry(index)
        assert part.n_bytes_of(i) == request.n_bytes_of(index)
        assert part.events_of(i)[0][0] == request.events_of(index)[0][0]
    assert json.loads(bytes(part.body)).keys() == {"Records", "StreamName"}
    assert parsed(request) == whole


def test_a_subset_and_its_request_may_outlive_each_other() -> None:
    request = first_request()
    whole = parsed(request)
    part = request.subset([1, 2])
    request.release()
    assert parsed(part) == whole[1:3]
    again = part.subset([1])
    part.release()
    assert parsed(again) == [whole[2]]

    request = first_request()
    whole = parsed(request)
    request.subset(range(250)).release()
    assert parsed(request) == whole


def test_a_subset_of_a_subset() -> None:
    request = first_request()
    part = request.subset(range(100, 200)).subset(range(10, 20))

    assert [part.events_of(i)[0][0] for i in range(10)] == list(range(110, 120))


@pytest.mark.parametrize("indexes", [[-1], [500], [0, 500], [2**40]])
def test_a_subset_of_unknown_entries_is_rejected(indexes: list[int]) -> None:
    with pytest.raises(IndexError):
        first_request().subset(indexes)


def test_an_empty_subset_is_rejected() -> None:
    with pytest.raises(ValueError, match="0 indexes"):
        first_request().subset([])


class Unstable:
    """Indexes that differ on each read, like a list that another thread changes."""

    def __init__(self, *looks: list[int]) -> None:
        self._looks = list(looks)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return iter(self._looks.pop(0) if len(self._looks) > 1 else self._looks[0])


def test_indexes_that_change_while_they_are_read() -> None:
    request = first_request()
    whole = parsed(request)
    too_many: Any = Unstable([0] * 501)
    with pytest.raises(ValueError, match="501 indexes"):
        request.subset(too_many)

    changing: Any = Unstable([1], [10**6])
    assert parsed(request.subset(changing)) == [whole[1]]


def test_indexes_are_checked() -> None:
    request = first_request()
    methods: list[Callable[[int], Any]] = [request.entry, request.events_of, request.n_bytes_of]
    for method in methods:
        for index in (-1, 500, 10**9):
            with pytest.raises(IndexError):
                method(index)


# --- memory -------------------------------------------------------------------------------------


def test_a_request_with_a_view_cannot_be_released() -> None:
    request = first_request()
    body = request.body
    before = bytes(body)

    with pytest.raises(BufferError):
        request.release()
    assert bytes(body) == bytes(request.body) == before

    body.release()
    request.release()
    request.release()


def test_the_body_is_read_only() -> None:
    with pytest.raises(TypeError):
        first_request().body[0] = 1


def test_a_released_request_is_empty() -> None:
    request = first_request()
    request.release()

    with pytest.raises((BufferError, ValueError)):
        bytes(request.body)
    with pytest.raises((BufferError, ValueError)):
        request.entry(0)
    with pytest.raises((BufferError, ValueError)):
        request.subset([0])


def test_a_view_keeps_the_body_alive() -> None:
    body = first_request().body
    gc.collect()
    for _ in range(20):
        first_request(event({"a": "z" * 100}) * 500)

    assert json.loads(bytes(body))["StreamName"] == "logs"


def test_several_requests_are_alive_at_once() -> None:
    chunk = CHUNK * 8
    requests = list(encoder().requests(chunk))
    bodies = [bytes(request.body) for request in requests]

    assert len(requests) == 20
    for request in requests[::2]:
        request.release()
    others = list(encoder().requests(chunk))
    assert [bytes(request.body) for request in requests[1::2]] == bodies[1::2]
    assert [request.n_records for request in others] == [500] * 19 + [100]


def test_memory_is_reused() -> None:
    """This fails if the pool does not take buffers back, or hands out one buffer twice."""
    shared = encoder()
    big = event({"a": "x" * 10_000}) * 500
    kept = [request.body for request in shared.requests(CHUNK)]
    before = [bytes(body) for body in kept]
    low = 0
    for i in range(60):
        for request in shared.requests(big):
            if i % 2:
                request.release()
        if i == 20:
            low = resident_bytes()

    assert [bytes(body) for body in kept] == before
    assert resident_bytes() < low + 60 * len(big) / 4


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc, which only Linux has")
    return int(statm.read_text().split()[1]) * PAGE


def test_only_a_stream_makes_requests() -> None:
    with pytest.raises(TypeError):
        Request()


# --- the chunk's buffer -------------------------------------------------------------------------


def is_held(chunk: bytearray) -> bool:
    try:
        chunk.append(0)
    except BufferError:
        return True
    chunk.pop()
    return False


def test_the_chunk_is_held_until_the_stream_is_exhausted() -> None:
    chunk = bytearray(CHUNK)
    stream = encoder().requests(chunk)

    assert is_held(chunk)
    n_records = sum(request.n_records for request in stream)
    assert n_records == 1200
    assert not is_held(chunk)


@pytest.mark.parametrize("n_read", [0, 1, 2])
@pytest.mark.parametrize("end", ["close", "count_rest", "collect"])
def test_the_chunk_is_released(end: str, n_read: int) -> None:
    chunk = bytearray(CHUNK)
    stream = encoder().requests(chunk)
    requests = [next(stream) for _ in range(n_read)]
    assert is_held(chunk)

    if end == "collect":
        del stream
        gc.collect()
    else:
        getattr(stream, end)()

    assert not is_held(chunk)
    assert [request.n_records for request in requests] == [500] * n_read


def test_the_chunk_is_released_after_a_malformed_tail() -> None:
    for tail in (b"\xc1", b"\x92\x01\x81"):
        chunk = bytearray(CHUNK + tail)
        list(encoder().requests(chunk))
        assert not is_held(chunk)


def test_the_chunk_is_released_when_the_reader_fails() -> None:
    chunk = bytearray(CHUNK)

    def read() -> None:
        for request in encoder().requests(chunk):
            raise KeyError(request.n_records)

    with pytest.raises(KeyError):
        read()
    gc.collect()
    assert not is_held(chunk)


def test_counting_releases_the_chunk() -> None:
    chunk = bytearray(CHUNK)

    assert encoder().count(chunk) == 1200
    assert not is_held(chunk)


def test_records_hold_the_chunk_only_while_they_are_read() -> None:
    chunk = bytearray(CHUNK)
    records = encoder().records(chunk)
    next(records)
    assert is_held(chunk)
    assert len(list(records)) == 1199
    assert not is_held(chunk)


def test_records_that_are_not_read_to_the_end_release_the_chunk() -> None:
    chunk = bytearray(CHUNK)
    records = encoder().records(chunk)
    next(records)
    del records
    gc.collect()
    assert not is_held(chunk)


@pytest.mark.parametrize("seed", range(20))
def test_a_chunk_may_be_overwritten_while_it_is_read(seed: int) -> None:
    """The records may then be wrong, but requests stay complete and reads stay in bounds."""
    rng = Random(seed)
    chunk = bytearray(CHUNK)
    stream = encoder().requests(chunk)
    n_records = next(stream).n_records
    for _ in range(200):
        chunk[rng.randrange(len(chunk))] = rng.randrange(256)

    for request in stream:
        assert len(parsed(request)) == request.n_records
        n_records += request.n_records
    assert n_records == stream.take_tally().records


def test_requests_outlive_chunk_stream_and_encoder() -> None:
    chunk = bytearray(CHUNK)
    requests = list(RecordEncoder(output_config()).requests(chunk))
    bodies = [bytes(request.body) for request in requests]
    chunk[:] = bytes(len(chunk))
    gc.collect()

    assert [bytes(request.body) for request in requests] == bodies


def test_a_dropped_stream_frees_a_view_of_the_chunk() -> None:
    class Chunk(bytearray):
        """A bytearray that supports weak references."""

    chunk = Chunk(CHUNK)
    watched = weakref.ref(chunk)
    stream = encoder().requests(chunk)
    next(stream)
    del chunk
    gc.collect()
    assert watched() is not None

    del stream
    gc.collect()
    assert watched() is None
