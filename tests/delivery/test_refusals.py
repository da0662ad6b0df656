"""A record that is refused alone, again and again: dead once the service has accepted others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_transport import (
    FakeTime,
    FakeTransport,
    Reply,
    Step,
    accept,
    entries_answer,
    fail_all,
    raise_it,
    raw,
    refuse_if,
)
from outputs import assert_stats, eventually, new_output, numbered, numbers

from kinesis_fast import FlushResult, TransportError
from kinesis_fast.delivery.refusals import MAX_RECORDS, Refusals
from kinesis_fast.limits import MAX_REFUSALS
from kinesis_fast.storage.dead_letters import FILE

OK, RETRY = FlushResult.OK, FlushResult.RETRY
CODE = "InvalidArgumentException"


def by_request(*bad: int) -> Step:
    """Return a step that refuses each request with a bad record."""
    return refuse_if(lambda data: numbers([data])[0] in bad, CODE)


def by_entry(*bad: int) -> Step:
    """Return a step that refuses each bad entry."""

    def step(records: list[bytes]) -> Reply:
        codes = [CODE if number in bad else None for number in numbers(records)]
        kept = [index for index, code in enumerate(codes) if code is None]
        return Reply(entries_answer(codes), kept)

    return step


REFUSALS = pytest.mark.parametrize("refuse", [by_request, by_entry])


@REFUSALS
@pytest.mark.parametrize("in_flight", ["1", "4"])
def test_a_chunk_of_one_refused_record(
    refuse: Callable[..., Step], in_flight: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transport = FakeTransport(then=refuse(7))
    output = new_output(transport, max_in_flight=in_flight, dead_letter_dir=str(tmp_path / "dead"))
    assert output.flush(numbered([1, 2])) is OK
    for _ in range(3):  # accepted before the refusal: the service may have gone bad since
        assert output.flush(numbered([7]), "app") is RETRY
    assert CODE in caplog.messages[-1]
    assert output.flush(numbered([3])) is OK
    assert output.flush(numbered([7]), "app") is OK
    assert_stats(output, delivered=3, dead=1, returned=3)
    (line,) = [line for line in caplog.messages if "is lost" in line]
    assert line.startswith("event 0 of chunk 'app' (15 bytes) was refused by the service")
    assert CODE in line
    (letter,) = map(json.loads, (tmp_path / "dead" / FILE).read_text().splitlines())
    assert letter["reason"] == "refused"


def test_the_others_of_its_chunk_were_accepted_before() -> None:
    transport = FakeTransport(then=by_request(500))
    output = new_output(transport)
    for _ in range(2):
        assert output.flush(numbered(range(501))) is RETRY
    assert transport.sizes == [500, 1, 1]
    assert output.flush(numbered([1000])) is OK
    assert output.flush(numbered(range(501))) is OK
    assert_stats(output, delivered=501, dead=1, returned=2, resumed=1000)


@REFUSALS
def test_a_chunk_of_refused_records_comes_to_its_end(refuse: Callable[..., Step]) -> None:
    """One record at a time, each after another acceptance."""
    transport = FakeTransport(then=refuse(0, 1, 2))
    output = new_output(transport)
    results = []
    for number in range(4):
        results.append(output.flush(numbered(range(3))))
        assert output.flush(numbered([10 + number])) is OK
    assert results == [RETRY, RETRY, RETRY, OK]
    assert_stats(output, delivered=4, dead=3)
    assert len(transport.requests) <= 4 + 4 * (MAX_REFUSALS + 1)


@pytest.mark.parametrize("everything", [refuse_if(lambda _: True), fail_all(CODE)])
def test_a_service_that_refuses_everything_kills_nothing(everything: Step) -> None:
    output = new_output(FakeTransport(then=everything))
    for _ in range(5):
        for first in (0, 10, 20):
            assert output.flush(numbered(range(first, first + 2))) is RETRY
    assert_stats(output, in_=30, returned=30, dead=0)


def test_a_service_that_goes_bad_again_kills_one_record_at_most() -> None:
    bad = refuse_if(lambda _: True)
    transport = FakeTransport(*[bad] * 6, accept, then=bad)
    output = new_output(transport)
    for number in range(6):
        assert output.flush(numbered([number])) is RETRY
    assert output.flush(numbered([100])) is OK
    results = [output.flush(numbered([number])) for number in range(6)]
    assert results.count(RETRY) == 5
    assert_stats(output, delivered=1, dead=1)


@REFUSALS
@pytest.mark.parametrize("slots", ["1", "3"])
def test_a_spool_behind_a_refused_record(
    refuse: Callable[..., Step], slots: str, tmp_path: Path
) -> None:
    """Each tag has its delivery. The chunk at the head goes back, the others go first."""
    transport = FakeTransport(then=refuse(7))
    options = {"spool_dir": str(tmp_path / "spool"), "dead_letter_dir": str(tmp_path / "dead")}
    output = new_output(transport, FakeTime(), experimental_concurrency=slots, **options)
    for number in (7, 1, 2):
        assert output.flush(numbered([number]), f"tag {number}") is OK
    eventually(lambda: output.stats()["pending"] == 0)
    output.close()
    assert sorted(numbers(transport.kept)) == [1, 2]
    assert_stats(output, delivered=2, dead=1, pending=0)
    assert not list((tmp_path / "spool").glob("*/*.chunk"))
    (letter,) = map(json.loads, (tmp_path / "dead" / FILE).read_text().splitlines())
    assert letter["tag"] == "tag 7"


@pytest.mark.parametrize(
    "answer", [fail_all("InternalFailure"), raw(b"<html>", 403), raise_it(TransportError("reset"))]
)
@pytest.mark.parametrize("slots", ["1", "2"])
def test_a_spool_behind_a_chunk_that_always_fails(answer: Step, slots: str, tmp_path: Path) -> None:
    """A proxy or the service takes one chunk for an attack, for instance. The others arrive."""

    def step(records: list[bytes]) -> Reply:
        return answer(records) if 7 in numbers(records) else accept(records)

    transport = FakeTransport(then=step)
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": slots}
    output = new_output(transport, FakeTime(), **options)
    for number in (7, *range(20, 40)):
        assert output.flush(numbered([number]), "app") is OK
    eventually(lambda: output.stats()["delivered"] == 20)
    output.close()
    assert sorted(numbers(transport.kept)) == list(range(20, 40))
    assert_stats(output, delivered=20, dead=0, pending=1)
    assert len(list((tmp_path / "spool").glob("*/*.chunk"))) == 1


def test_a_spool_whose_service_refuses_everything_keeps_everything(tmp_path: Path) -> None:
    transport = FakeTransport(then=refuse_if(lambda _: True))
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
    output = new_output(transport, FakeTime(chance=0.0), **options)
    for number in range(3):
        assert output.flush(numbered([number]), f"tag {number}") is OK
    eventually(lambda: len(transport.requests) > 20)
    output.close()
    assert_stats(output, in_=3, pending=3, dead=0)
    assert len(list((tmp_path / "spool").glob("*/*.chunk"))) == 3


def test_what_is_remembered_is_bounded() -> None:
    n_accepted = 0
    refusals = Refusals(lambda: n_accepted)
    for number in range(MAX_RECORDS + 1):
        assert not refusals.refused(b"%d" % number)
    n_accepted += 1
    assert not refusals.refused(b"0")  # the oldest is forgotten
    n_accepted += 1
    assert refusals.refused(b"0")
    assert not refusals.refused(b"0")  # an equal one starts anew
